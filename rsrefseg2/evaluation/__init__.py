"""Scores of the paper: Eq. 13, Pr@X and the category means of Table IV."""
from .metric import COLUMNS, THRESHOLDS, RefSegMetric, category_scores, score_table, scores

__all__ = ['COLUMNS', 'THRESHOLDS', 'RefSegMetric', 'category_scores', 'score_table', 'scores']
