"""A detector finds the box of a sentence, SAM draws its mask."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import (
    GroundingDinoForObjectDetection,
    MMGroundingDinoForObjectDetection,
    Owlv2ForObjectDetection,
    OwlViTForObjectDetection,
)

from ...bounds import Fraction
from ...registry import MODELS
from ..mask_generator import MaskGenerator
from .hub_models import find_folder, load_hub_image_processor, load_hub_model, load_hub_tokenizer
from .sam_prompts import draw
from .zero_shot_inputs import Pixels, ZeroShotDataPreprocessor
from .zero_shot_model import ZeroShotModel, ZeroShotOutputs, hold_back

DETECTORS = {  # model_type in config.json -> class
    'grounding-dino': GroundingDinoForObjectDetection,
    'mm-grounding-dino': MMGroundingDinoForObjectDetection,
    'owlv2': Owlv2ForObjectDetection,
    'owlvit': OwlViTForObjectDetection,
}


class DetectorImages(NamedTuple):
    """What depends on U images alone. A detector reads image and sentence together."""

    pixels: list[Pixels]
    sam: tuple[Tensor, list[Tensor]]  # of `MaskGenerator.encode_images`


@MODELS.register_module()
class BoxToMask(ZeroShotModel):
    """mask_logits = SAM(I_2, box*), box* = the box with the highest score.

    Parts: `detector`, `mask_generator`. Grounding DINO scores a box by its best token, OWL by the
    whole sentence. Grounding DINO reads the sentence in lower case with a full stop at its end.

    Args:
        detector: hub name or folder of a Grounding DINO, MM Grounding DINO, OWLv2 or OWL-ViT.
        sam: arguments of `MaskGenerator`.
        threshold: a best box of a lower score gives an empty mask; box and score stay in the dump.
    Raises:
        UserError: a checkpoint is not available, or of another kind.
    """

    def __init__(self, *, detector: str, sam: dict, threshold: Fraction = 0.0) -> None:
        folder = find_folder(detector, DETECTORS)
        mask_generator = MaskGenerator(**sam)
        model = load_hub_model(folder, DETECTORS)
        self_is_dino = 'dino' in model.config.model_type
        longest = (
            model.config.max_text_len
            if self_is_dino
            else model.config.text_config.max_position_embeddings
        )
        super().__init__(
            ZeroShotDataPreprocessor(
                prepare_image=partial(prepare, load_hub_image_processor(folder)),
                tokenizer=load_hub_tokenizer(folder),
                max_length=longest,
                prepare_sentence=with_full_stop if self_is_dino else str.strip,
                size_sam=mask_generator.input_size[0],
            )
        )
        self.is_dino, self.pads_to_square = self_is_dino, model.config.model_type == 'owlv2'
        self.detector, self.threshold = model, threshold
        self.mask_generator = mask_generator.requires_grad_(False)
        self.input_size, self.mask_size = mask_generator.input_size, mask_generator.prompt_size

    def encode_images(self, first: list[Pixels], images_sam: Tensor | None) -> DetectorImages:
        """U images -> as they are for the detector, encoded for SAM."""
        assert images_sam is not None
        return DetectorImages(first, self.mask_generator.encode_images(images_sam))

    def segment(
        self,
        images: DetectorImages,
        image_index: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        dense_prior: Tensor | None = None,
    ) -> ZeroShotOutputs:
        """See `ZeroShotModel.segment`; there is no p_dense."""
        found = [
            self.detect(images.pixels[image], ids[:length])
            for image, ids, length in zip(
                image_index.tolist(), input_ids, lengths.tolist(), strict=True
            )
        ]
        boxes, scores = (torch.stack(values) for values in zip(*found, strict=True))
        logits = draw(self.mask_generator, images.sam, image_index, boxes=boxes)
        return ZeroShotOutputs(hold_back(logits, scores, self.threshold), scores, boxes)

    def detect(self, pixels: Pixels, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """One image, the ids (L,) of one sentence -> box (4,) in shares of the image, score ()."""
        pixels = dict(pixels)
        height, width = pixels.pop('shape').tolist()
        ids = input_ids[None]
        found = self.detector(**pixels, input_ids=ids, attention_mask=torch.ones_like(ids))
        scores = found.logits[0].sigmoid().amax(-1)  # (queries,)
        centre, size = found.pred_boxes[0].split(2, -1)
        if self.pads_to_square:  # OWLv2: the image lies at the upper left of a square
            sides = max(height, width) / centre.new_tensor([width, height])
            centre, size = centre * sides, size * sides
        boxes = torch.cat([centre - size / 2, centre + size / 2], -1).clamp(0, 1)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(-1)  # not on OWLv2's border
        best = torch.where(inside, scores, -1).argmax()
        return boxes[best], scores[best]


def prepare(processor: Any, image: Any) -> Pixels:
    """(H, W, 3) uint8 -> the detector's arguments, and `shape`: (H, W)."""
    made = processor(images=[image], return_tensors='pt', input_data_format='channels_last')
    pixels = {name: made[name] for name in ('pixel_values', 'pixel_mask') if name in made}
    return {**pixels, 'shape': torch.tensor(image.shape[:2])}


def with_full_stop(sentence: str) -> str:
    """As Grounding DINO was trained: lower case, one phrase that ends with a full stop."""
    return sentence.strip().lower().rstrip('. ') + '.'
