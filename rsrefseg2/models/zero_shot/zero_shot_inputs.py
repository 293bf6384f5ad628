"""From uint8 images and sentences to what a model of the hub reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ...errors import UserError
from ..data_preprocessor import IMAGENET_MEAN, IMAGENET_STD, normalise, squash

Pixels = dict[str, Tensor]  # what the model's own image processor makes of one image


class ZeroShotInputs(NamedTuple):
    """One batch: U unique images, B sentences."""

    pixels: list[Pixels]  # U
    images_sam: Tensor | None  # (U, 3, H2, W2) I_2, for SAM; None: not read
    image_index: Tensor  # (B,) into U
    input_ids: Tensor  # (B, L) padded on the right
    lengths: Tensor  # (B,) tokens, the tokenizer's marks included


class ZeroShotDataPreprocessor(BaseDataPreprocessor):
    """The checkpoint's own image processor and tokenizer; SAM's square as the framework makes it.

    Each image is prepared by itself, so that no answer depends on its batch.

    Args:
        prepare_image: (H, W, 3) uint8 array -> the model's arguments, on the CPU.
        tokenizer: of the hub.
        max_length: tokens; a longer sentence is cut, its end mark kept.
        prepare_sentence: a sentence -> the text that the model was trained on.
        size_sam: H2 = W2 of I_2; None: there is no SAM.
    """

    def __init__(
        self,
        *,
        prepare_image: Callable[[Any], Pixels],
        tokenizer: Any,
        max_length: int,
        prepare_sentence: Callable[[str], str] = str.strip,
        size_sam: int | None = None,
    ) -> None:
        super().__init__()
        self.prepare_image, self.prepare_sentence = prepare_image, prepare_sentence
        self.tokenizer, self.max_length, self.size_sam = tokenizer, max_length, size_sam
        self.n_cut = 0  # sentences that were cut, reported by TruncatedSentenceHook

    def forward(self, data: dict, training: bool = False) -> dict:
        """{'inputs': U uint8 (3, H, W), 'image_index': (B,), 'data_samples': B}
        -> {'inputs': ZeroShotInputs, 'data_samples': B}."""
        data = self.cast_data(data)
        samples = data['data_samples']
        pixels, images_sam = self.images(data['inputs'])
        ids, lengths = self.tokenize([sample.text for sample in samples])
        inputs = ZeroShotInputs(pixels, images_sam, data['image_index'], ids, lengths)
        return {'inputs': inputs, 'data_samples': samples}

    def images(self, images: Sequence[Tensor]) -> tuple[list[Pixels], Tensor | None]:
        """U uint8 (3, H, W) RGB -> U arguments of the model, I_2 (U, 3, H2, H2) normalised."""
        pixels = []
        for image in images:
            made = self.prepare_image(image.movedim(0, -1).cpu().numpy())
            pixels.append({key: value.to(self.device) for key, value in made.items()})
        if self.size_sam is None:
            return pixels, None
        size = (self.size_sam, self.size_sam)
        squares = [
            normalise(
                squash(image.to(self.device, torch.float32)[None] / 255, size),
                IMAGENET_MEAN,
                IMAGENET_STD,
            )
            for image in images
        ]
        return pixels, torch.cat(squares)

    def tokenize(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B sentences -> ids (B, L) padded on the right, lengths (B,), on the device.

        Raises:
            UserError: a sentence is empty.
        """
        for i, sentence in enumerate(sentences):
            if not sentence.strip():
                raise UserError(f'sentence {i} of the batch is empty: give it at least one word')
        texts = [self.prepare_sentence(sentence) for sentence in sentences]
        whole = self.tokenizer(texts)['input_ids']
        n_cut = sum(len(ids) > self.max_length for ids in whole)
        if n_cut and not self.n_cut:
            print_log(
                f"a sentence is longer than the model's {self.max_length} tokens: cut",
                'current',
                logging.WARNING,
            )
        self.n_cut += n_cut
        encoded = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, return_tensors='pt'
        )
        lengths = encoded['attention_mask'].sum(1)
        return encoded['input_ids'].to(self.device), lengths.to(self.device)

    def content_size(self, shape: Sequence[int], side: int) -> tuple[int, int]:
        """Height and width of an image within a square of `side`: it fills it."""
        return side, side

    def crop_border(self, maps: Tensor, shape: Sequence[int]) -> Tensor:
        """Maps (..., h, w) cover the image: as they are."""
        return maps

    def unknown_words(self, sentence: str) -> tuple[str, ...]:
        """None: these tokenizers have pieces of every word."""
        return ()
