"""Ask a trained model about one's own image: encode it once, ask many sentences.

In Python:

    predictor = Predictor('configs/rrsisd_siglip2_sam21l.py', 'work_dirs/.../best.pth')
    predictor.set_image('harbour.png')
    for answer in predictor.predict(['the ship at the lower left', 'a storage tank']):
        print(answer.text, answer.mask.sum())
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from PIL import Image, ImageOps
from torch import Tensor

from ..confidence import Verdict as Verdict
from ..confidence import verdict_of
from ..datasets import read_image
from ..datasets.images import rgb_of, rgb_of_array
from ..directions import rewrite
from ..engine import load_config, load_model
from ..engine.calibration_files import calibration_of, threshold_of
from ..errors import UserError
from ..models.encoded_before import EncodedBefore
from ..models.losses.segmentation import upsample, upsample_each
from ..models.placement_average import back_from, mean_of
from ..models.placements import Placement
from ..models.symbols import EncodedImages, RefSegOutputs
from ..models.towers.tokenizers import words_in
from ..publishing import find_pretrained

MOST_CHARACTERS = 10_000  # of a sentence; a text tower reads 16 to 77 tokens of it


class Prediction(NamedTuple):
    """The answer to one sentence, as arrays."""

    text: str
    mask: np.ndarray  # (H, W) bool at the image's size: logits > 0; empty where it is not found
    logits: np.ndarray  # (H, W) float32
    dense_prompt: np.ndarray | None  # (h, w) float32 logits p_dense; None: the model has none
    verdict: Verdict | None = None  # None: the model has no threshold


Scores = tuple[float | None, float | None]  # presence and predicted IoU, each None if not given


class Segment(NamedTuple):
    """The answer to one sentence as the decoder gives it; the maps cover the image."""

    logits: np.ndarray  # (h, w) float32 of the mask
    dense_prompt: np.ndarray | None  # (h, w) float32 logits p_dense
    presence: float | None = None  # 0 to 1, of SAM's object score
    predicted_iou: float | None = None  # 0 to 1, of SAM's IoU score


class EncodedImage(NamedTuple):
    """One image as the towers see it, and its size."""

    features: EncodedImages
    shape: tuple[int, int]  # (H, W)
    # of `model.test_placements`, less the first
    turned: tuple[tuple[Placement, EncodedImage], ...] = ()


class Predictor:
    """One model, any number of images and sentences.

    Several threads may share a Predictor. Each asks about the image that it set itself, and one
    pass runs at a time. To set in one thread and ask in others, hand the image over:

        image = predictor.encode('harbour.png')
        answers = predictor.predict('a ship', image)  # in any thread

    Where a calibration lies beside the checkpoint (`rsrefseg2 analysis calibrate`), answers have its
    confidence, and an object whose presence is below its threshold is not found.

    Args:
        config: path of a config, or a Config.
        checkpoint: path of the weights that belong to it; None for a zero-shot model.
        device: where to run; the first GPU if there is one, else the CPU.
        batch_size: sentences per pass of the prompter and the mask decoder. Answers do not depend
            on it, memory does.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str | torch.device | None = None,
        *,
        batch_size: int = 16,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}')
        if not isinstance(config, Config):
            config = load_config(str(config))
        self.model = load_model(config, checkpoint, device)
        self.calibration = None if checkpoint is None else calibration_of(self.model, checkpoint)
        self.threshold = threshold_of(self.model, self.calibration)
        self.batch_size = batch_size
        self._before = EncodedBefore()  # a sentence that is asked of many pictures
        self._lock = threading.Lock()  # one pass at a time: tokenizer and memory are shared
        self._own = threading.local()  # .image: the one that this thread has set
        self._setters = 0  # threads that have set an image ...
        self._only: EncodedImage | None = None  # ... and the last image, while that is one thread

    @classmethod
    def from_pretrained(
        cls, name: str | Path, device: str | torch.device | None = None, *, batch_size: int = 16
    ) -> Predictor:
        """The model of that name (`publishing.find_pretrained`): rsrefseg2-rrsisd, -refsegrs or
        -risbench, a name of the hub (owner/name), or a folder of `publish`.

        Raises:
            UserError: nothing has that name, or the hub does not give it.
        """
        found = find_pretrained(name)
        return cls(found.config, found.checkpoint, device, batch_size=batch_size)

    def encode(self, image: str | Path | np.ndarray | Image.Image) -> EncodedImage:
        """An image file, an array or Pillow's Image (`as_rgb`), seen by both image towers.

        A photograph whose EXIF orientation turns it is turned, as viewers do; masks lie on that.

        Raises:
            UserError: it cannot be read as an image.
        """
        image = as_rgb(image)
        with self._lock, torch.inference_mode():
            turned = tuple(
                (placement, self._encode(placement.picture(image, y=0, x=1)))
                for placement in self.model.test_placements[1:]
            )
            return self._encode(image)._replace(turned=turned)

    def _encode(self, image: np.ndarray) -> EncodedImage:
        # (H, W, 3) -> (3, H, W)
        tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
        features = self.model.encode_images(*self.model.data_preprocessor.images([tensor]))
        return EncodedImage(features, image.shape[:2])

    def set_image(self, image: str | Path | np.ndarray | Image.Image) -> Predictor:
        """`encode` it; this thread's next sentences are about it."""
        encoded = self.encode(image)
        with self._lock:
            self._setters += not hasattr(self._own, 'image')
            self._only = encoded if self._setters == 1 else None
        self._own.image = encoded
        return self

    def predict(
        self, sentences: str | Sequence[str], image: EncodedImage | None = None
    ) -> list[Prediction]:
        """One Prediction for each sentence, in their order.

        Args:
            image: of `encode`; None: the one that this thread has set, or else the one of the only
                thread that has set any.

        Raises:
            RuntimeError: no image was set, or only by several other threads.
            UserError: a sentence is empty, too long or no text; the model gives NaN.
        """
        image = self._image() if image is None else image
        sentences = check_sentences([sentences] if isinstance(sentences, str) else sentences)
        with self._lock, torch.inference_mode():
            return [
                answer
                for start in range(0, len(sentences), self.batch_size)
                for answer in self._answer(sentences[start : start + self.batch_size], image)
            ]

    def _image(self) -> EncodedImage:
        if hasattr(self._own, 'image'):
            return self._own.image
        if self._only is not None:
            return self._only
        if self._setters:
            raise RuntimeError(
                'several threads have set images, this one has not: call set_image '
                'in it, or give predict the image of encode'
            )
        raise RuntimeError('call set_image before predict')

    def _answer(self, sentences: list[str], image: EncodedImage) -> list[Prediction]:
        maps, dense, scores = self._maps(sentences, image)
        logits = upsample_each(maps, [image.shape] * len(sentences))
        found = []
        for text, mask, prompt, own in zip(sentences, logits, dense, scores, strict=True):
            drawn = (mask > 0).cpu().numpy()
            verdict = None
            if self.threshold is not None:
                sure = float(mask[mask > 0].sigmoid().mean()) if drawn.any() else 0.0
                verdict = self.verdict(*own, sure)
            if verdict is not None and not verdict.found:
                drawn = np.zeros_like(drawn)
            found.append(Prediction(text, drawn, mask.float().cpu().numpy(), prompt, verdict))
        return found

    def verdict(
        self, presence: float | None, predicted_iou: float | None, mean_probability: float
    ) -> Verdict | None:
        """Whether an object counts as found, and how sure its mask is; None without a threshold.

        Args:
            mean_probability: of the mask as drawn, 0 of an empty one.
        """
        return verdict_of(
            presence,
            predicted_iou,
            mean_probability,
            threshold=self.threshold,
            calibration=self.calibration,
        )

    def segment(
        self, sentences: Sequence[str], image: EncodedImage, dense_prior: np.ndarray | None = None
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """For each sentence the mask's logits (h, w) as the decoder gives them, not upsampled, and
        the logits p_dense (h, w), or None; both cover the image.

        Args:
            dense_prior: (h, w) logits that cover the image, of what is known of the place; added
                to p_dense of every sentence. Any size.
        """
        return [one[:2] for one in self.segment_scored(sentences, image, dense_prior)]

    def segment_scored(
        self, sentences: Sequence[str], image: EncodedImage, dense_prior: np.ndarray | None = None
    ) -> list[Segment]:
        """`segment`, with SAM's scores where the model gives them."""
        found: list[Segment] = []
        with self._lock, torch.inference_mode():
            for start in range(0, len(sentences), self.batch_size):
                part = list(sentences[start : start + self.batch_size])
                logits, dense, scores = self._maps(part, image, dense_prior)
                maps = [one.float().cpu().numpy() for one in logits]
                found += map(Segment, maps, dense, *zip(*scores, strict=True))
        return found

    def cells(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the logits that `segment` gives of an image of `shape` (H, W)."""
        return self.model.data_preprocessor.content_size(shape, self.model.mask_size[0])

    def unknown_words(self, sentence: str) -> tuple[str, ...]:
        """The words, lower case, that no training sentence had, as far as the checkpoint says, or
        that the tokenizer has no token for; a tokenizer of word pieces knows every word."""
        known = self.model.known_words
        if known is not None:
            return tuple(word for word in words_in(sentence) if word not in known)
        with self._lock:
            return self.model.data_preprocessor.unknown_words(sentence)

    def _maps(
        self, sentences: list[str], image: EncodedImage, dense_prior: np.ndarray | None = None
    ) -> tuple[list[Tensor], list[np.ndarray | None], list[Scores]]:
        """For each sentence the mask's logits (h, w) and SAM's scores, the means over `image.turned`
        as `predict_with_placements` takes them, and p_dense of the picture as it is."""
        outputs = self._outputs(sentences, image, dense_prior)
        maps = self.model.without_border(outputs.mask_logits, [image.shape] * len(sentences))
        scores = _scores_of(outputs)
        if not image.turned:
            return maps, self._dense(outputs, image), [_as_scores(own) for own in scores]
        passes = [
            ([back_from(self.model, Placement(), one, image.shape)], [own])
            for one, own in zip(maps, scores, strict=True)
        ]
        for placement, turned in image.turned:
            texts = {k: rewrite(text, placement.symmetry) for k, text in enumerate(sentences)}
            told = {k: text for k, text in texts.items() if text is not None}
            if not told:
                continue
            prior = None if dense_prior is None else placement.prior(dense_prior, image.shape)
            again = self._outputs(list(told.values()), turned, prior)
            found = self.model.without_border(again.mask_logits, [turned.shape] * len(told))
            for k, one, own in zip(told, found, _scores_of(again), strict=True):
                passes[k][0].append(back_from(self.model, placement, one, image.shape))
                passes[k][1].append(own)
        maps = [mean_of(self.model, found, image.shape) for found, _ in passes]
        means = [_as_scores(torch.stack(own).mean(0)) for _, own in passes]
        return maps, self._dense(outputs, image), means

    def _outputs(
        self, sentences: list[str], image: EncodedImage, dense_prior: np.ndarray | None = None
    ) -> RefSegOutputs:
        """B sentences on the one image: image_index is 0 for each."""
        input_ids, lengths = self.model.data_preprocessor.tokenize(sentences)
        prior = None
        if dense_prior is not None:
            prior = self._with_border(torch.from_numpy(dense_prior).to(lengths.device), image.shape)
        index = torch.zeros_like(lengths)
        with self._remembering():
            return self.model.segment(image.features, index, input_ids, lengths, prior)

    def _remembering(self) -> AbstractContextManager:
        """Sentences are encoded once for all pictures; nothing for a model that encodes none."""
        if not hasattr(self.model, 'remembering'):
            return nullcontext()
        return self.model.remembering(self._before)

    def _with_border(self, prior: Tensor, shape: tuple[int, int]) -> Tensor:
        """(h, w) logits of an image of `shape` -> (1, H2/4, W2/4), as p_dense lies."""
        height, width = self.model.mask_generator.prompt_size
        content = self.model.data_preprocessor.content_size(shape, height)
        prior = upsample(prior[None], content)
        # what lies on the border of `fit` is not of the image
        return F.pad(prior, (0, width - content[1], 0, height - content[0]))

    def _dense(self, outputs: RefSegOutputs, image: EncodedImage) -> list[np.ndarray | None]:
        dense = outputs.p_dense
        if dense is None:
            return [None] * len(outputs.mask_logits)
        dense = self.model.data_preprocessor.crop_border(dense.float(), image.shape)
        return list(dense.cpu().numpy())


def _scores_of(outputs: RefSegOutputs) -> list[Tensor]:
    """B times (2,): SAM's object score and its predicted IoU; NaN where the model gives none."""
    none = torch.full((len(outputs.mask_logits),), torch.nan)
    found = (getattr(outputs, name, None) for name in ('object_score', 'iou_score'))
    return list(torch.stack([none if x is None else x.float().cpu() for x in found], 1))


def _as_scores(scores: Tensor) -> Scores:
    presence, iou = scores[0].sigmoid().item(), scores[1].item()
    return None if math.isnan(presence) else presence, None if math.isnan(iou) else iou


def as_rgb(image: str | Path | np.ndarray | Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a file, an array (`rgb_of_array`) or one of Pillow's pictures, which
    is turned as its EXIF orientation says.

    Raises:
        UserError: it is none of them, or cannot be read.
    """
    if isinstance(image, (str, Path)):
        return read_image(str(image), upright=True)
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)
        if image.mode[0] not in 'IF':
            return rgb_of(image, 'the picture')
        image = np.asarray(image)
    if not isinstance(image, np.ndarray):
        raise UserError(
            f"an image is a path, a numpy array or Pillow's Image, not {type(image).__name__}"
        )
    return rgb_of_array(image)


def check_sentences(sentences: Sequence[str]) -> list[str]:
    """The sentences as a list.

    Raises:
        UserError: there is none, or one is empty, too long or no text.
    """
    sentences = list(sentences)
    if not sentences:
        raise UserError('no sentence was given; say what to look for')
    for i, sentence in enumerate(sentences, start=1):
        where = f'sentence {i} of {len(sentences)}'
        if not isinstance(sentence, str):
            raise UserError(f'{where} is no text but a {type(sentence).__name__}: give a str')
        if not sentence.strip():
            raise UserError(f'{where} is empty; say what to look for')
        if len(sentence) > MOST_CHARACTERS:
            raise UserError(
                f'{where} has {len(sentence)} characters, at most {MOST_CHARACTERS} '
                'are read: name the object in one sentence'
            )
        try:
            sentence.encode('utf-8')
        except UnicodeEncodeError:
            raise UserError(
                f'{where} is not UTF-8: type it in a terminal that is set to UTF-8, or '
                'save its file as UTF-8'
            ) from None
    return sentences
