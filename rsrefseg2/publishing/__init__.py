"""Sharing a trained model: the published folder, its card, and the authors' own layout."""

from .card_facts import read_scores, score_dump
from .official_checkpoint import RELEASED, from_release, to_release
from .publish import Published, publish

__all__ = [
    'RELEASED',
    'Published',
    'from_release',
    'publish',
    'read_scores',
    'score_dump',
    'to_release',
]
