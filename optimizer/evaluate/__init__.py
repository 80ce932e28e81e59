"""Turns two models and samples into a verdict: what the candidate loses, with its interval."""

from optimizer.evaluate.batches import Call, Runs, calls
from optimizer.evaluate.bootstrap import bca_auc, bca_auc_drop, bca_mean, bca_of_means
from optimizer.evaluate.families import MetricFamily, metric_family
from optimizer.evaluate.fidelity import agreement, max_norm, relative_l2
from optimizer.evaluate.intervals import clopper_pearson, student_ratio_interval, tango
from optimizer.evaluate.judge import Judging, judge, judging_from
from optimizer.evaluate.output_kinds import declared_kinds, output_kinds
from optimizer.evaluate.split import split_samples
from optimizer.evaluate.verdicts import VERDICTS, over_budget, worst_verdict

__all__ = [
    "VERDICTS",
    "Call",
    "Judging",
    "MetricFamily",
    "Runs",
    "agreement",
    "bca_auc",
    "bca_auc_drop",
    "bca_mean",
    "bca_of_means",
    "calls",
    "clopper_pearson",
    "declared_kinds",
    "judge",
    "judging_from",
    "max_norm",
    "metric_family",
    "output_kinds",
    "over_budget",
    "relative_l2",
    "split_samples",
    "student_ratio_interval",
    "tango",
    "worst_verdict",
]
