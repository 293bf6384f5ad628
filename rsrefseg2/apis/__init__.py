"""What a user calls from Python."""
from .figures import ACTIVATION_HEADS, activation_rows, choose_ids, compare_rows, native_encoder
from .gallery import gather_cases, load_split, write_gallery
from .predictor import Prediction, Predictor, check_sentences, load_model
from .release import RELEASED, from_release, to_release
from .report import page_path, predict_dense, write_report

__all__ = ['ACTIVATION_HEADS', 'RELEASED', 'Prediction', 'Predictor', 'activation_rows',
           'check_sentences', 'choose_ids', 'compare_rows', 'from_release', 'gather_cases',
           'load_model', 'load_split', 'native_encoder', 'page_path', 'predict_dense',
           'to_release', 'write_gallery', 'write_report']
