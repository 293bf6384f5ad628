"""What a user calls from Python."""

from .figures import ACTIVATION_HEADS, activation_rows, choose_ids, compare_rows, native_encoder
from .gallery import find_indices, gather_cases, load_split, write_gallery
from .predictor import Prediction, Predictor, check_sentences
from .report_page import page_path, predict_dense, write_report
from .sources import Source, open_source
from .viewer import MODES, Answer, Viewer

__all__ = [
    'ACTIVATION_HEADS',
    'MODES',
    'Answer',
    'Prediction',
    'Predictor',
    'Source',
    'Viewer',
    'activation_rows',
    'check_sentences',
    'choose_ids',
    'compare_rows',
    'find_indices',
    'gather_cases',
    'load_split',
    'native_encoder',
    'open_source',
    'page_path',
    'predict_dense',
    'write_gallery',
    'write_report',
]
