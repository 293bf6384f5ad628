"""SAM 3: every instance of a noun phrase, with its mask, by one model."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import Sam3Model

from ...bounds import Fraction
from ...registry import MODELS
from ..data_preprocessor import SIGLIP_MEAN, SIGLIP_STD, normalise, squash
from .hub_models import find_folder, load_hub_model, load_hub_tokenizer
from .zero_shot_inputs import Pixels, ZeroShotDataPreprocessor
from .zero_shot_model import ZeroShotModel, ZeroShotOutputs, hold_back

KINDS = {'sam3': Sam3Model, 'sam3_video': Sam3Model}  # the hub keeps it as a video model


@MODELS.register_module()
class SAM3Concepts(ZeroShotModel):
    """score_q = sigmoid(query_q) sigmoid(presence); mask = that of the best query, or of all.

    SAM 3 reads noun phrases, not relations. The image is squashed to its square by the framework
    and normalised with mean and std 0.5, as the released processor does: that one needs
    torchvision, this does not.

    Args:
        checkpoint: hub name or folder. facebook/sam3 asks for one's consent first.
        instances: 'best': one mask; 'all': the union of those of at least `threshold`.
        threshold: where no instance reaches it the mask is empty.
    Raises:
        ValueError: other `instances`.
        UserError: the checkpoint is not available, or of another kind.
    """

    def __init__(
        self,
        *,
        checkpoint: str,
        instances: Literal['best', 'all'] = 'best',
        threshold: Fraction = 0.0,
    ) -> None:
        if instances not in ('best', 'all'):
            raise ValueError(f"instances is 'best' or 'all', not {instances!r}")
        folder = find_folder(checkpoint, KINDS)
        model = load_hub_model(folder, KINDS)
        side = int(model.config.vision_config.backbone_config.image_size)
        super().__init__(
            ZeroShotDataPreprocessor(
                prepare_image=partial(prepare, side),
                tokenizer=load_hub_tokenizer(folder),
                max_length=model.config.text_config.max_position_embeddings,
            )
        )
        self.sam3, self.instances, self.threshold = model, instances, threshold
        cells = 4 * side // model.config.vision_config.backbone_config.patch_size
        self.input_size, self.mask_size = (side, side), (cells, cells)

    def encode_images(self, first: list[Pixels], images_sam: Tensor | None) -> list:
        """U images -> what `Sam3Model.get_vision_features` makes of each."""
        return [self.sam3.get_vision_features(**pixels) for pixels in first]

    def segment(
        self,
        images: list,
        image_index: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        dense_prior: Tensor | None = None,
    ) -> ZeroShotOutputs:
        """See `ZeroShotModel.segment`; there is no p_dense. The box is the best instance's."""
        found = [
            self._answer(images[image], ids[None, :length])
            for image, ids, length in zip(
                image_index.tolist(), input_ids, lengths.tolist(), strict=True
            )
        ]
        logits, scores, boxes = (torch.stack(values) for values in zip(*found, strict=True))
        return ZeroShotOutputs(hold_back(logits, scores, self.threshold), scores, boxes)

    def _answer(self, features: object, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One encoded image, ids (1, L) -> logits (h, w), the best score (), its box (4,)."""
        found = self.sam3(
            vision_embeds=features, input_ids=ids, attention_mask=torch.ones_like(ids)
        )
        scores = (found.pred_logits.sigmoid() * found.presence_logits.sigmoid())[0]
        best = scores.argmax()
        masks = found.pred_masks[0]  # (queries, h, w)
        if self.instances == 'best':
            logits = masks[best]
        else:
            taken = scores >= min(self.threshold, float(scores[best]))
            logits = masks[taken].amax(0)
        return logits, scores[best], found.pred_boxes[0, best].clamp(0, 1)


def prepare(side: int, image: Any) -> Pixels:
    """(H, W, 3) uint8 -> pixel_values (1, 3, side, side)."""
    pixels = torch.from_numpy(image).movedim(-1, 0)[None].float() / 255
    return {'pixel_values': normalise(squash(pixels, (side, side)), SIGLIP_MEAN, SIGLIP_STD)}
