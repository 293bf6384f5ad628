"""Scores of the paper: Eq. 13, Pr@X and the category means of Table IV, by named protocols."""
from .bootstrap import Difference, ImageSums, Interval, score_differences, score_intervals
from .dump import decode, encode, read_dump
from .localisation import coarse_localisation
from .metric import RefSegMetric
from .protocols import PROTOCOLS, Protocol, find_protocol
from .report import Report
from .scoring import annotated_samples, compare, dumped_samples, score, with_masks
from .sums import COLUMNS, RATES, THRESHOLDS, Sums, score_table

__all__ = ['COLUMNS', 'PROTOCOLS', 'RATES', 'THRESHOLDS', 'Difference', 'ImageSums', 'Interval',
           'Protocol', 'RefSegMetric', 'Report', 'Sums', 'annotated_samples', 'coarse_localisation',
           'compare', 'decode', 'dumped_samples', 'encode', 'find_protocol', 'read_dump', 'score',
           'score_differences', 'score_intervals', 'score_table', 'with_masks']
