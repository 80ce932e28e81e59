"""Turns a goal into candidates worth making, and measured candidates into a choice with its reasons."""

from optimizer.search.choose import BASELINE, choose, confirm
from optimizer.search.explain import with_original
from optimizer.search.recipes import candidate_recipes

__all__ = ["BASELINE", "candidate_recipes", "choose", "confirm", "with_original"]
