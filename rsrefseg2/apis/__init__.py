"""What a user calls from Python."""
from .figures import ACTIVATION_HEADS, activation_rows, choose_ids, compare_rows, native_encoder
from .gallery import find_indices, gather_cases, load_split, write_gallery
from .model_card import read_scores, score_dump
from .predictor import Prediction, Predictor, check_sentences, load_model
from .publish import Published, publish
from .release import RELEASED, from_release, to_release
from .report import page_path, predict_dense, write_report

__all__ = ['ACTIVATION_HEADS', 'RELEASED', 'Prediction', 'Predictor', 'Published',
           'activation_rows', 'check_sentences', 'choose_ids', 'compare_rows', 'find_indices',
           'from_release', 'gather_cases', 'load_model', 'load_split', 'native_encoder',
           'page_path', 'predict_dense', 'publish', 'read_scores', 'score_dump', 'to_release',
           'write_gallery', 'write_report']
