"""Scores of the paper: Eq. 13, Pr@X and the category means of Table IV, by named protocols."""

from .bootstrap import Difference, ImageSums, Interval, score_differences, score_intervals
from .breakdowns import kind
from .calibration import Calibration, fit_calibration
from .calibration_report import CalibrationReport, judge_dump
from .curves import Curves
from .dump_records import read_dump
from .failure_causes import (
    CAUSES,
    Thresholds,
    cause_from_masks,
    cause_from_prompt,
    fails,
    fit_thresholds,
)
from .failure_report import ErrorReport, attribute_dump, has_prompts, read_thresholds
from .localisation import coarse_localisation, cover, mask_agreement, mask_localisation
from .metric import RefSegMetric
from .protocols import PRESENCE, PROTOCOLS, TENTHS, Protocol, find_protocol
from .score_report import Report, score_title
from .score_sums import COLUMNS, RATES, THRESHOLDS, Sums, score_table
from .scoring import (
    Sample,
    annotated_samples,
    compare,
    dumped_samples,
    sample_of,
    score,
    score_record,
    with_masks,
)

__all__ = [
    'CAUSES',
    'COLUMNS',
    'PRESENCE',
    'PROTOCOLS',
    'RATES',
    'TENTHS',
    'THRESHOLDS',
    'Calibration',
    'CalibrationReport',
    'Curves',
    'Difference',
    'ErrorReport',
    'ImageSums',
    'Interval',
    'Protocol',
    'RefSegMetric',
    'Report',
    'Sample',
    'Sums',
    'Thresholds',
    'annotated_samples',
    'attribute_dump',
    'cause_from_masks',
    'cause_from_prompt',
    'coarse_localisation',
    'compare',
    'cover',
    'dumped_samples',
    'fails',
    'find_protocol',
    'fit_calibration',
    'fit_thresholds',
    'has_prompts',
    'judge_dump',
    'kind',
    'mask_agreement',
    'mask_localisation',
    'read_dump',
    'read_thresholds',
    'sample_of',
    'score',
    'score_differences',
    'score_intervals',
    'score_record',
    'score_table',
    'score_title',
    'with_masks',
]
