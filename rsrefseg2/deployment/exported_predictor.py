"""What every predictor of an exported model shares; without torch.

It needs numpy, Pillow and tokenizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..confidence import Verdict, sigmoid, verdict_of
from ..errors import UserError
from .exported_model import TOKENIZER, Description, read_description


class Answer(NamedTuple):
    """The answer to one sentence, as `apis.Prediction`."""

    text: str
    mask: np.ndarray  # (H, W) bool at the image's size: logits > 0; empty where it is not found
    logits: np.ndarray  # (H, W) float32
    dense_prompt: np.ndarray | None  # (h, w) float32 logits p_dense; None: the model has none
    verdict: Verdict | None = None  # None: the model has no threshold


class SeenImage(NamedTuple):
    """One image as the image encoder sees it, by the names of the graphs, and its size."""

    features: dict[str, np.ndarray]
    shape: tuple[int, int]  # (H, W)


class ExportedPredictor:
    """One exported model, any number of images and sentences. A subclass runs the graphs.

    Args:
        folder: of `rsrefseg2 export`.
        formats: that the subclass runs.
        batch_size: sentences per pass. Answers do not depend on it, memory does.
    Raises:
        UserError: the folder holds no such export.
    """

    def __init__(self, folder: str | Path, *, formats: Sequence[str], batch_size: int = 16) -> None:
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}')
        self.description: Description = read_description(folder)
        self.batch_size = batch_size
        if self.description.format not in formats:
            raise UserError(
                f'{folder} holds graphs of format {self.description.format!r}: '
                f'export with --format {" or ".join(formats)}'
            )
        self._tokenizer = _read_tokenizer(Path(folder) / TOKENIZER)
        self._image: SeenImage | None = None

    def encode(self, image: str | Path | np.ndarray | Image.Image) -> SeenImage:
        """A file, Pillow's Image, or an array uint8 (H, W), (H, W, 3) or (H, W, 4), seen by both
        image towers.

        Raises:
            UserError: it cannot be read as an 8-bit image.
        """
        pixels = read_rgb(image)
        siglip, sam = self.description.images(pixels)
        features = self._run('image_encoder', {'images_siglip': siglip, 'images_sam': sam})
        return SeenImage(features, (pixels.shape[0], pixels.shape[1]))

    def set_image(self, image: str | Path | np.ndarray | Image.Image) -> Self:
        """`encode` it; the next sentences are about it."""
        self._image = self.encode(image)
        return self

    def predict(
        self, sentences: str | Sequence[str], image: SeenImage | None = None
    ) -> list[Answer]:
        """One Answer for each sentence, in their order.

        Args:
            image: of `encode`; None: the one that was set.
        Raises:
            RuntimeError: no image was set.
            UserError: there is no sentence, one is empty, or the model gives NaN.
        """
        image = self._image if image is None else image
        if image is None:
            raise RuntimeError('no image is set: call set_image first')
        asked = [sentences] if isinstance(sentences, str) else list(sentences)
        answers: list[Answer] = []
        for start in range(0, len(asked), self.batch_size):
            answers += self._answer(asked[start : start + self.batch_size], image)
        if not answers:
            raise UserError('no sentence was given; say what to look for')
        return answers

    def tokenize(self, sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """B sentences -> ids (B, max_length), lengths (B,); see `Description.pad`.

        Raises:
            UserError: a sentence has no word.
        """
        tokens = []
        for sentence in sentences:
            text = sentence.lower() if self.description.lower_case else sentence
            tokens.append(self._tokenizer.encode(text, add_special_tokens=False).ids)
            if not sentence.strip() or not tokens[-1]:
                raise UserError(f'sentence {sentence!r} is empty: give it at least one word')
        return self.description.pad(tokens)

    def _answer(self, sentences: list[str], image: SeenImage) -> list[Answer]:
        """B sentences in one pass."""
        ids, lengths = self.tokenize(sentences)
        text = self._run('text_encoder', {'input_ids': ids, 'lengths': lengths})

        longest = int(text['word_mask'].sum(1).max())  # the padding of all is not read
        for name in ('t_word', 'word_mask'):
            text[name] = text[name][:, :longest]
        found = self._run('decoder', {**image.features, **text})

        logits = self.description.masks(found['mask_logits'], image.shape)
        if np.isnan(logits).any():
            raise UserError("the model's mask logits are NaN: export sound weights")
        dense: Sequence[np.ndarray | None] = [None] * len(sentences)
        if 'p_dense' in found:
            dense = list(self.description.without_border(found['p_dense'], image.shape))
        presence, predicted = (
            found.get(name, [None] * len(sentences)) for name in ('presence', 'predicted_iou')
        )
        return [
            self._judged(Answer(sentence, one > 0, one, prompt), there, iou)
            for sentence, one, prompt, there, iou in zip(
                sentences, logits, dense, presence, predicted, strict=True
            )
        ]

    def _judged(
        self, answer: Answer, presence: float | None, predicted_iou: float | None
    ) -> Answer:
        """With its verdict; without its mask where that says that nothing is found."""
        drawn = answer.logits[answer.mask]
        verdict = verdict_of(
            presence,
            predicted_iou,
            float(sigmoid(drawn).mean()) if drawn.size else 0.0,
            threshold=self.description.presence_threshold,
            calibration=self.description.calibration,
        )
        if verdict is None or verdict.found:
            return answer._replace(verdict=verdict)
        return answer._replace(mask=np.zeros_like(answer.mask), verdict=verdict)

    def _run(self, graph: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a graph by name; it is fed what it reads of `given`."""
        raise NotImplementedError


def _read_tokenizer(path: Path) -> Any:
    """The tokenizer of a folder, neither cutting nor padding.

    Raises:
        UserError: it cannot be read.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a bare Exception
        raise UserError(f'{path} cannot be read ({error}): export the model again') from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_rgb(image: str | Path | np.ndarray | Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB; a photograph whose EXIF orientation turns it is turned, alpha dropped.

    Raises:
        UserError: no file, a damaged one, or more than 8 bits a channel.
    """
    if isinstance(image, (str, Path)):
        try:
            with Image.open(image) as file:
                file.load()
                image = file
        except (OSError, UnidentifiedImageError) as error:
            raise UserError(f'{str(image)!r} cannot be read as an image: {error}') from None
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)
        if image.mode == 'LA':  # alpha is dropped, never blended
            image = image.convert('L')
        if image.mode in ('P', 'PA'):
            image = image.convert('RGBA')
        if image.mode not in ('1', 'L', 'RGB', 'RGBA', 'RGBX'):
            raise UserError(f'images of mode {image.mode} are not read: convert it to 8-bit RGB')
        image = np.asarray(image.convert('RGB'))
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise UserError(
            f'an image is (H, W), (H, W, 3) or (H, W, 4) of uint8, not {image.shape} {image.dtype}'
        )
    return np.ascontiguousarray(np.broadcast_to(image[..., :3], (*image.shape[:2], 3)))
