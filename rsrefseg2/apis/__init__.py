"""What a user calls from Python."""
from .gallery import gather_cases, load_split, write_gallery
from .predictor import Prediction, Predictor, check_sentences, load_model

__all__ = ['Prediction', 'Predictor', 'check_sentences', 'gather_cases', 'load_model',
           'load_split', 'write_gallery']
