"""Scores of the paper: Eq. 13, Pr@X and the category means of Table IV, by named protocols."""
from .dump import decode, encode, read_dump
from .localisation import coarse_localisation, mask_agreement, mask_localisation
from .metric import RefSegMetric
from .protocols import PROTOCOLS, Protocol, find_protocol
from .report import Report
from .sums import COLUMNS, RATES, THRESHOLDS, Sums, score_table

__all__ = ['COLUMNS', 'PROTOCOLS', 'RATES', 'THRESHOLDS', 'Protocol', 'RefSegMetric', 'Report',
           'Sums', 'coarse_localisation', 'decode', 'encode', 'find_protocol', 'mask_agreement',
           'mask_localisation', 'read_dump', 'score_table']
