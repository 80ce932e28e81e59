"""Turns an outcome into report.html: one page for people, without scripts or outside resources."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from optimizer.package.fits import requirements, session_options, where_it_fits
from optimizer.package.manifest import PRODUCT, installed_version, package_versions, sample_facts
from optimizer.package.profile import gain_words, left_sentences, rewrite_sentences, time_table
from optimizer.package.rows import Row, judged, measured, table_rows
from optimizer.package.words import (
    island_words,
    latency_words,
    loss_words,
    metric_words,
    ratio_words,
    score_figure,
    score_words,
    size_words,
    times_words,
    verdict_words,
    worst,
)
from optimizer.results import Measurement, Outcome, Quality
from optimizer.rewriting import Counts

LONGEST_LIST = 8


@dataclass(frozen=True)
class Tile:
    """One figure of the headline."""

    figure: str
    meaning: str
    detail: str


def render_report(outcome: Outcome) -> str:
    """Make the page.

    Args:
        outcome: With texts that are `portable`. Names in it come from a stranger's file: all are escaped.

    Returns:
        A self-contained HTML document.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((files("optimizer.package") / "templates/report.html.j2").read_text())
    rows = table_rows(outcome)
    return template.render(
        made=made_rows(outcome),
        outcome=outcome,
        choice=outcome.confirmation.chosen,
        product=f"{PRODUCT} {installed_version(PRODUCT)}".strip(),
        headline=headline(outcome),
        tiles=tiles(outcome),
        rows=rows,
        simplified_is_slower=any(row.model == "simplified" for row in outcome.rows),
        bars=bars(rows),
        qualities=tuple(map(_quality_cells, outcome.confirmation.quality)),
        providers=tuple(map(_provider_cells, outcome.confirmation.measurements)),
        graph=graph_rows(outcome.simplification.before, outcome.simplification.after),
        rewrites=rewrite_sentences(outcome.simplification, outcome.rewritten),
        left=left_sentences(outcome.simplification),
        gain_words=gain_words,
        time_table=time_table,
        samples=sample_facts(outcome.samples),
        fits=where_it_fits(outcome),
        session=session_options(outcome),
        requirements=requirements(outcome),
        versions=package_versions(),
        size_words=size_words,
    )


def headline(outcome: Outcome) -> str:
    """The result in one sentence."""
    name, chosen = outcome.confirmation.chosen.name, _chosen(outcome)
    if chosen is None or chosen.ratio is None:
        return f"You get the {name}: no candidate is better by the rule"
    ratio, baseline = chosen.ratio, measured(outcome, "baseline")
    even = ratio.low <= 1 <= ratio.high  # a file chosen for its size may be
    speed = "about as fast as" if even else f"{ratio.estimate:.2f}x as fast as"
    times, way = _size_change(chosen, baseline) if baseline else ("", "")
    return f"{name} runs {speed} the baseline" + (f" and is {times} {way}" if way else "")


def tiles(outcome: Outcome) -> tuple[Tile, ...]:
    """The figures beside the headline; none for a baseline, which is compared with itself."""
    chosen, baseline = _chosen(outcome), measured(outcome, "baseline")
    if chosen is None or chosen.ratio is None:
        return ()
    ratio = chosen.ratio
    found = [
        Tile(
            f"{ratio.estimate:.2f}x",
            "as fast as the baseline",
            f"{ratio.low:.2f} to {ratio.high:.2f}, {ratio.n} launches",
        )
    ]
    original = measured(outcome, "original")
    if original is not None and original.ratio is not None:
        theirs = original.ratio  # baseline / original; the ends of both intervals make the widest one
        times = (ratio.estimate / theirs.estimate, ratio.low / theirs.high, ratio.high / theirs.low)
        estimate, low, high = (times_words(one, 1) for one in times)
        found.append(
            Tile(
                estimate,
                f"as fast as the upload in {original.runtime}",
                f"{low[:-1]} to {high[:-1]}, {theirs.n} launches",
            )
        )
    if baseline is not None:
        figure, way = _size_change(chosen, baseline)
        found.append(
            Tile(
                figure,
                f"{way} than the baseline" if way else "the size of the baseline",
                f"{size_words(baseline.size_bytes)} to {size_words(chosen.size_bytes)}",
            )
        )
    quality = _chosen_quality(outcome)
    if quality is not None:
        found.append(
            Tile(
                score_figure(quality),
                f"{metric_words(quality)}, {quality.verdict}",
                f"loss {loss_words(quality, budget=False)}",
            )
        )
    return tuple(found)


def bars(rows: tuple[Row, ...]) -> tuple[float | None, ...]:
    """Length of each row's latency bar, 0 to 100."""
    longest = max((row.latency_ms for row in rows if row.latency_ms is not None), default=0.0) or 1.0
    return tuple(None if row.latency_ms is None else round(100 * row.latency_ms / longest, 1) for row in rows)


def graph_rows(before: Counts, after: Counts) -> tuple[tuple[str, str, str], ...]:
    """What the lossless steps changed: totals, then each operator whose number changed."""

    def number(value: int | None) -> str:
        return "unknown" if value is None else f"{value:,}"

    totals = [
        ("nodes", number(before.nodes), number(after.nodes)),
        ("parameters", number(before.parameters), number(after.parameters)),
        ("multiply-accumulates per item", number(before.macs), number(after.macs)),
        ("file", size_words(before.file_bytes), size_words(after.file_bytes)),
    ]
    operators = sorted(before.operators.keys() | after.operators.keys())
    counts = [(name, before.operators.get(name, 0), after.operators.get(name, 0)) for name in operators]
    changed = [(f"{name} nodes", str(old), str(new)) for name, old, new in counts if old != new]
    return (*totals, *changed)


def made_rows(outcome: Outcome) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Per candidate, what was done to it, and what stays float between its integer operators."""
    rows = []
    for candidate in outcome.candidates:
        islands = candidate.measurement.islands if candidate.measurement else ()
        shown = (*_first(candidate.changes), *_first(tuple(map(island_words, islands))))
        if shown:
            rows.append((candidate.name, shown))
    return tuple(rows)


def _first(sentences: tuple[str, ...]) -> tuple[str, ...]:
    """As many as a page has room for; the manifest has all of them."""
    more = len(sentences) - LONGEST_LIST
    return sentences if more <= 0 else (*sentences[:LONGEST_LIST], f"and {more} more, in manifest.json")


def _chosen(outcome: Outcome) -> Measurement | None:
    return measured(outcome, outcome.confirmation.chosen.name)


def _size_change(chosen: Measurement, baseline: Measurement) -> tuple[str, str]:
    """How many times the one size is the other, and which way; no way within 1 %: ("3.5x", "smaller")."""
    smaller, larger = sorted((chosen.size_bytes, baseline.size_bytes))
    if larger <= 1.01 * smaller:
        return times_words(larger, smaller), ""
    return times_words(larger, smaller), "larger" if larger == chosen.size_bytes else "smaller"


def _chosen_quality(outcome: Outcome) -> Quality | None:
    name = outcome.confirmation.chosen.name
    return next((worst(judged(outcome, one)) for one in outcome.candidates if one.name == name), None)


def _quality_cells(quality: Quality) -> tuple[str, ...]:
    return quality.output, score_words(quality), loss_words(quality), verdict_words(quality)


def _provider_cells(row: Measurement) -> tuple[str, ...]:
    placement = ", ".join(f"{count} on {name}" for name, count in sorted(row.placement.items()))
    return (
        row.model,
        row.provider,
        str(row.threads),
        str(row.batch_size),
        latency_words(row.latency_ms),
        latency_words(row.device_ms) if row.device_ms is not None else "-",
        f"{row.throughput_items_per_s:,.0f}/s",
        ratio_words(row.ratio) if row.ratio else "-",
        placement or "-",
    )
