"""Scores of the paper: Eq. 13, Pr@X and the category means of Table IV, by named protocols."""
from .bootstrap import Difference, ImageSums, Interval, score_differences, score_intervals
from .breakdowns import kind
from .curves import Curves
from .dump import decode, encode, read_dump
from .localisation import coarse_localisation
from .metric import RefSegMetric
from .protocols import PROTOCOLS, TENTHS, Protocol, find_protocol
from .report import Report
from .scoring import (
    Sample,
    annotated_samples,
    compare,
    dumped_samples,
    score,
    score_record,
    with_masks,
)
from .sums import COLUMNS, RATES, THRESHOLDS, Sums, score_table

__all__ = ['COLUMNS', 'Curves', 'PROTOCOLS', 'RATES', 'TENTHS', 'THRESHOLDS', 'Difference',
           'ImageSums', 'Interval', 'Protocol', 'RefSegMetric', 'Report', 'Sample', 'Sums',
           'annotated_samples', 'coarse_localisation', 'compare', 'decode', 'dumped_samples',
           'encode', 'find_protocol', 'kind', 'read_dump', 'score', 'score_differences',
           'score_intervals', 'score_record', 'score_table', 'with_masks']
