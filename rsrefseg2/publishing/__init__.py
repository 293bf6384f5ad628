"""Sharing a trained model: the published folder, its card, and the authors' own layout."""

from .card_facts import read_scores, score_dump
from .official_checkpoint import RELEASED, from_release, to_release
from .pretrained import Pretrained, find_pretrained, load_pretrained
from .publish import Published, publish
from .share import push_to_hub, save_pretrained

__all__ = [
    'RELEASED',
    'Pretrained',
    'Published',
    'find_pretrained',
    'from_release',
    'load_pretrained',
    'publish',
    'push_to_hub',
    'read_scores',
    'save_pretrained',
    'score_dump',
    'to_release',
]
