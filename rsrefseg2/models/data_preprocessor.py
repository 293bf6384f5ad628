"""From uint8 images and strings to what the towers read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ..errors import UserError
from ..registry import MODELS
from .towers.load import Init, load_tokenizer
from .towers.tokenizers import words_in

SIGLIP_MEAN = SIGLIP_STD = (0.5, 0.5, 0.5)
MAX_WARNED = 10
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ModelInputs(NamedTuple):
    """One batch: U unique images, B sentences."""

    images_siglip: Tensor  # (U, 3, H1, W1)  I_1, for SigLIP or CLIP
    images_sam: Tensor  # (U, 3, H2, W2)  I_2, for SAM
    image_index: Tensor  # (B,) into U
    input_ids: Tensor  # (B, L) padded on the right to the tower's length
    lengths: Tensor  # (B,) tokens with eos, and CLIP's bos
    image_ids: Tensor  # (B,) int64, equal for equal images, on every rank


class BatchShape(NamedTuple):
    """What a batch's memory depends on."""

    images: int  # U
    sentences: int  # B
    size_siglip: int  # H1 = W1
    size_sam: int  # H2 = W2
    training: bool  # or validation, test, prediction


# The last batch that a model was given, for who must tell that it was too large.
current_batch: ContextVar[BatchShape | None] = ContextVar('current_batch', default=None)


@MODELS.register_module()
class RefSegDataPreprocessor(BaseDataPreprocessor):
    """I_1 (SigLIP's square), I_2 (SAM's square), token ids, unique images.

    Images are squashed to both squares, antialiased when they shrink. SigLIP: mean and std 0.5;
    CLIP: its own; SAM: ImageNet's.

    Args:
        tokenizer: the SigLIP checkpoint whose tokenizer is used; `RSRefSeg2` injects it.
        init: 'pretrained' or 'random', as of the towers.
        max_length: positions of the text tower; `RSRefSeg2` injects it.
        size_siglip, size_sam: H1 = W1 and H2 = W2; `RSRefSeg2` injects them.
        mean_siglip, std_siglip: of I_1's pixels, by channel; `RSRefSeg2` injects them.
        lower_case: lower-case sentences before the tokenizer; False (the release's variant): keep
            their case, in a tokenizer that would lower-case by itself, too.
        padding: pad the ids to the tower's positions ('full'), or to the longest sentence of the
            batch ('longest', the release's variant): SigLIP reads its padding, so a prediction
            then depends on its batch.
        siglip_from: I_1 is made from the original image, or from I_2 before it is normalised,
            without antialiasing ('sam_input', the release's variant).
        sam_resize: I_2 is resized in float32 with antialiasing, or as the release does
            ('uint8'): by OpenCV, bilinear without antialiasing, rounded to grey levels.
        fit: an image that is not square is squashed ('squash'), or keeps its aspect ratio and gets
            a black border at the right or the bottom ('pad', the release's variant).
    Raises:
        ValueError: another value than these.
    """

    def __init__(
        self,
        *,
        tokenizer: str | dict,
        init: Init,
        max_length: int,
        size_siglip: int,
        size_sam: int,
        mean_siglip: Sequence[float] = SIGLIP_MEAN,
        std_siglip: Sequence[float] = SIGLIP_STD,
        lower_case: bool = True,
        padding: Literal['full', 'longest'] = 'full',
        siglip_from: Literal['original', 'sam_input'] = 'original',
        sam_resize: Literal['float32', 'uint8'] = 'float32',
        fit: Literal['squash', 'pad'] = 'squash',
    ) -> None:
        super().__init__()
        for name, value, choices in (
            ('padding', padding, ('full', 'longest')),
            ('siglip_from', siglip_from, ('original', 'sam_input')),
            ('sam_resize', sam_resize, ('float32', 'uint8')),
            ('fit', fit, ('squash', 'pad')),
        ):
            if value not in choices:
                first, second = map(repr, choices)
                raise ValueError(f'{name} is {first} or {second}, not {value!r}')
        self.padding, self.siglip_from = padding, siglip_from
        self.sam_resize, self.fit = sam_resize, fit
        self.tokenizer = load_tokenizer(tokenizer, init=init, keep_case=not lower_case)
        self.max_length, self.lower_case = max_length, lower_case
        self.size_siglip, self.size_sam = size_siglip, size_sam
        self.mean_siglip, self.std_siglip = tuple(mean_siglip), tuple(std_siglip)
        self.n_cut = 0
        self._warned: set[str] = set()  # sentences without a known word that were warned of

    def forward(self, data: dict, training: bool = False) -> dict:
        """{'inputs': U uint8 (3, H, W), 'image_index': (B,), 'image_ids': (B,), 'data_samples': B}
        -> {'inputs': ModelInputs, 'data_samples': B}."""
        current_batch.set(
            BatchShape(
                len(data['inputs']),
                len(data['data_samples']),
                self.size_siglip,
                self.size_sam,
                training,
            )
        )
        data = self.cast_data(data)
        samples = data['data_samples']
        images_siglip, images_sam = self.images(data['inputs'])
        input_ids, lengths = self.tokenize([sample.text for sample in samples])
        return {
            'inputs': ModelInputs(
                images_siglip,
                images_sam,
                data['image_index'],
                input_ids,
                lengths,
                data['image_ids'],
            ),
            'data_samples': samples,
        }

    def images(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """U uint8 (3, H, W) RGB -> I_1 (U, 3, H1, H1), I_2 (U, 3, H2, H2), float32, normalised."""
        images_siglip, images_sam = [], []
        for image in images:
            large = self._square(image, self.size_sam, self.sam_resize)
            small = (
                self._square(image, self.size_siglip, 'float32')
                if self.siglip_from == 'original'
                else squash(large, (self.size_siglip, self.size_siglip), antialias=False)
            )
            images_siglip.append(normalise(small, self.mean_siglip, self.std_siglip))
            images_sam.append(normalise(large, IMAGENET_MEAN, IMAGENET_STD))
        return torch.cat(images_siglip), torch.cat(images_sam)

    def _square(self, image: Tensor, side: int, resize: str) -> Tensor:
        """uint8 (3, H, W) -> (1, 3, side, side) float32 in [0, 1], as `fit` says."""
        height, width = self.content_size(image.shape[-2:], side)
        if resize == 'uint8':
            image = squash_in_uint8(image, (height, width))
        image = squash(image.to(self.device, torch.float32)[None] / 255, (height, width))
        return F.pad(image, (0, side - width, 0, side - height))  # black

    def content_size(self, shape: Sequence[int], side: int) -> tuple[int, int]:
        """Height and width of an image of `shape` (H, W) within its square of `side`."""
        if self.fit == 'squash':
            return side, side
        scale = side / max(shape)
        height, width = (max(1, int(length * scale + 0.5)) for length in shape)
        return height, width

    def crop_border(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        """Maps (..., side, side) of an image of `shape` (H, W) without the border of `fit`."""
        height, width = self.content_size(shape, maps.shape[-1])
        return maps[..., :height, :width]

    def add_border(self, mask: Tensor) -> Tensor:
        """A mask (H, W) with the border of `fit`: (S, S), S = max(H, W); as it is when squashed."""
        if self.fit == 'squash':
            return mask
        height, width = mask.shape
        side = max(height, width)
        return F.pad(mask, (0, side - width, 0, side - height))

    def tokenize(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B sentences -> ids (B, max_length) padded right, lengths (B,) with eos, on the device;
        with padding='longest' ids (B, the longest length).

        A sentence longer than the tower's positions is cut, its eos kept; the cuts are counted
        (`n_cut`, reported by TruncatedSentenceHook) and warned of once. One whose words are all unknown to
        the tokenizer is warned of, up to MAX_WARNED different ones.

        Raises:
            UserError: a sentence is empty.
        """
        for i, sentence in enumerate(sentences):
            if not sentence.strip():
                raise UserError(f'sentence {i} of the batch is empty: give it at least one word')
        sentences = [s.lower() if self.lower_case else s for s in sentences]
        ids, lengths, n_cut = self.tokenizer.encode(list(sentences), self.max_length)
        self._warn_of_unknown(sentences, ids, lengths)
        if n_cut and not self.n_cut:
            print_log(
                f"a sentence is longer than the text tower's {self.max_length} positions: cut",
                'current',
                logging.WARNING,
            )
        self.n_cut += n_cut
        if self.padding == 'longest':
            ids = ids[:, : int(lengths.max())]
        return ids.to(self.device), lengths.to(self.device)

    def unknown_words(self, sentence: str) -> tuple[str, ...]:
        """The words of a sentence, lower case, that the tokenizer has no token for, in their order;
        a tokenizer of word pieces or bytes knows every word."""
        unknown = self.tokenizer.unk_id
        return tuple(
            word for word in words_in(sentence) if unknown in self.tokenizer.sentence_ids(word)
        )

    def _warn_of_unknown(self, sentences: Sequence[str], ids: Tensor, lengths: Tensor) -> None:
        marks = 1 if self.tokenizer.bos_id is None else 2  # eos, and bos
        unknown = (ids == self.tokenizer.unk_id).sum(1) == lengths - marks
        for row in unknown.nonzero().flatten().tolist():
            if sentences[row] not in self._warned and len(self._warned) < MAX_WARNED:
                self._warned.add(sentences[row])
                print_log(
                    f'the tokenizer knows no word of the sentence {sentences[row]!r}: the '
                    f'mask cannot follow it',
                    'current',
                    logging.WARNING,
                )


def squash(image: Tensor, size: tuple[int, int], *, antialias: bool = True) -> Tensor:
    """(1, 3, H, W) -> (1, 3, *size), bilinear, antialiased when shrinking."""
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image, size, mode='bilinear', align_corners=False, antialias=antialias)


def squash_in_uint8(image: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (3, H, W) -> uint8 (3, *size) on the CPU, by OpenCV: bilinear, not antialiased."""
    pixels = np.ascontiguousarray(image.movedim(0, -1).cpu().numpy())
    pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(pixels).movedim(-1, 0)


def normalise(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(1, 3, H, W) in [0, 1] -> zero mean, unit variance by channel."""
    mean, std = (image.new_tensor(values)[:, None, None] for values in (mean, std))
    return (image - mean) / std
