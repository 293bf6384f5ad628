"""What every trained model shares: modes, losses, masks at the original size, publishing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..errors import UserError
from ..registry import MODELS, PRETRAINED
from ..structures import RefSegDataSample
from .data_preprocessor import ModelInputs
from .distributed import weight_of_rank
from .losses.segmentation import upsample_each
from .placements import Placement
from .symbols import Targets, at_least_float32


def check_with_target(with_target: Sequence[str], losses: dict | None) -> None:
    """Raises a UserError where `with_target` names a loss that `losses`, if there are any, lacks."""
    unknown = set(with_target) - set(losses or with_target)
    if unknown:
        raise UserError(
            f'with_target names {", ".join(sorted(unknown))}: model.losses has no such loss, '
            f'but {", ".join(losses or ())}'
        )


class RefSegModel(BaseModel):
    """A model that is trained, tested, asked and published by the same calls.

    A subclass defines `encode_images` (images alone), `segment` (sentences on them) and
    `input_size`. `segment` gives a NamedTuple with at least `mask_logits` (B, h, w), `input_size`
    and `p_dense`, which losses read by name, and with `rows` for `with_target`.

    Args:
        data_preprocessor: config of a `RefSegDataPreprocessor`.
        autocast: 'bfloat16' or None.
    Raises:
        ValueError: another value than these.
    """

    cfg: Config | None = None  # the whole config, of a model that `engine.load_model` made
    whole_view: int | None = None
    with_target: tuple[str, ...] = ()
    presence_threshold: float | None = None
    score_heads: tuple[str, ...] = ()  # of SAM's
    PLAIN: ClassVar[str] = 'model.autocast=None'  # what computes in float32, for a message

    def __init__(
        self, data_preprocessor: dict, *, autocast: Literal['bfloat16'] | None = None
    ) -> None:
        if autocast not in (None, 'bfloat16'):
            raise ValueError(f"autocast is None or 'bfloat16', not {autocast!r}")
        super().__init__(data_preprocessor=data_preprocessor)
        self.autocast = autocast
        # words of the training sentences, lower case; None: the checkpoint does not say
        self.known_words: frozenset[str] | None = None

    def add_losses(self, losses: dict | None) -> None:
        """Set `losses` from name -> config of a loss or None (off); last of all parts."""
        self.losses = nn.ModuleDict(
            {name: MODELS.build(loss) for name, loss in (losses or {}).items() if loss is not None}
        )

    @property
    def test_placements(self) -> tuple[Placement, ...]:
        """How the passes that test and prediction average show the picture; () for one pass."""
        return ()

    @property
    def input_size(self) -> tuple[int, int]:
        """(H2, W2): the finest square that an image is brought to."""
        raise NotImplementedError

    def encode_images(self, images_siglip: Tensor, images_sam: Tensor) -> Any:
        """I_1 (U, 3, H1, W1), I_2 (U, 3, H2, W2) -> what depends on the U images alone."""
        raise NotImplementedError

    def segment(
        self,
        images: Any,
        image_index: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        dense_prior: Tensor | None = None,
    ) -> Any:
        """B sentences on U encoded images; image_index (B,) into U, ids (B, L), lengths (B,)."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, device: str | torch.device | None = 'cpu'
    ) -> RefSegModel:
        """`publishing.load_pretrained`: rsrefseg2-rrsisd, -refsegrs or -risbench, a name of the hub
        (owner/name), or a folder of `save_pretrained`; in eval mode."""
        return PRETRAINED.get('load_pretrained')(name, device)

    def save_pretrained(self, folder: str | Path) -> None:
        """`publishing.save_pretrained`: a new folder with weights, config and model card."""
        PRETRAINED.get('save_pretrained')(self, folder)

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """`publishing.push_to_hub`: the same to the hub, in one commit; returns its address."""
        return PRETRAINED.get('push_to_hub')(self, repository, **options)

    def forward(
        self,
        inputs: ModelInputs,
        data_samples: list[RefSegDataSample] | None = None,
        mode: Literal['tensor', 'predict', 'loss'] = 'tensor',
    ) -> Any | list[RefSegDataSample] | dict[str, Tensor]:
        """'tensor': every symbol by name; 'predict': the samples with their masks; 'loss': Eq. 9's
        terms as scalars."""
        images = self.images_of(inputs)
        outputs = self.segment(images, inputs.image_index, inputs.input_ids, inputs.lengths)
        if mode == 'tensor':
            return outputs
        if mode == 'predict' and data_samples is not None:
            return self.predict(outputs, data_samples)
        if mode == 'loss' and data_samples is not None:
            return self.loss(outputs, self.targets(data_samples, inputs.image_ids))
        raise ValueError(
            f"mode is 'tensor', or 'predict' or 'loss' with data_samples, not {mode!r}"
        )

    def images_of(self, inputs: ModelInputs) -> Any:
        """The images of a batch, encoded."""
        return self.encode_images(inputs.images_siglip, inputs.images_sam)

    def for_prediction(self) -> RefSegModel:
        """The model itself, made ready for what only predicts; see `RSRefSeg2`."""
        return self

    def precision(self, device: torch.device) -> AbstractContextManager:
        """What the parts run in: autocast, or nothing."""
        return (
            torch.autocast(device.type, dtype=getattr(torch, self.autocast))
            if self.autocast
            else nullcontext()
        )

    def targets(self, data_samples: list[RefSegDataSample], image_ids: Tensor) -> Targets:
        """The annotation of B samples, with the border of their images. The other objects are
        None unless every sample has them."""
        border = self.data_preprocessor.add_border
        others = None
        if all('other_mask' in sample for sample in data_samples):
            others = [border(sample.other_mask) for sample in data_samples]
        no_target = torch.tensor(
            ['no_target' in sample for sample in data_samples], device=image_ids.device
        )
        masks = [border(sample.gt_mask) for sample in data_samples]
        return Targets(masks, image_ids, others, no_target)

    def loss(self, outputs: Any, targets: Targets) -> dict[str, Tensor]:
        """Eq. 9: every term, already weighted; mmengine sums them.

        A mean over sentences is one over those of all ranks, however many each has; of the losses
        `with_target` over those with a target.
        """
        like = at_least_float32(outputs.mask_logits)
        every = kept = outputs, targets
        share = share_kept = weight_of_rank(len(like), like=like)
        if self.with_target and targets.no_target is not None:
            found = ~targets.no_target
            kept = outputs.rows(found), targets.rows(found)
            share_kept = weight_of_rank(int(found.sum()), like=like)
        terms: dict[str, Tensor] = {}
        with torch.autocast(like.device.type, enabled=False):
            for key, loss in self.losses.items():
                seen, weight = (kept, share_kept) if key in self.with_target else (every, share)
                if getattr(loss, 'over_all_ranks', False):  # weighs its own mean
                    terms |= loss(*seen)
                elif len(seen[0].mask_logits):
                    terms |= {name: weight * value for name, value in loss(*seen).items()}
                else:  # the graph of the other ranks, and no share in the mean
                    terms |= {name: 0 * value for name, value in loss(*every).items()}
        return terms

    def predict(self, outputs: Any, data_samples: list[RefSegDataSample]) -> list[RefSegDataSample]:
        """Give each sample what `answer` gives."""
        masks = self.masks(outputs.mask_logits, [s.ori_shape for s in data_samples])
        return self.answer(outputs, masks, data_samples)

    def answer(
        self, outputs: Any, masks: list[Tensor], data_samples: list[RefSegDataSample]
    ) -> list[RefSegDataSample]:
        """Give each sample `pred_mask` (H, W) bool, of `masks`, B times (H, W) logits at the
        original sizes, and `dense_prompt`."""
        for i, (sample, mask) in enumerate(zip(data_samples, masks, strict=True)):
            sample.pred_mask = mask > 0
            if outputs.p_dense is not None:
                dense = outputs.p_dense[i].float()
                sample.dense_prompt = self.data_preprocessor.crop_border(dense, sample.ori_shape)
        return data_samples

    def masks(self, mask_logits: Tensor, ori_shapes: list[tuple[int, int]]) -> list[Tensor]:
        """(B, h, w) -> B times (H, W) logits, upsampled once to the original sizes.

        Raises:
            UserError: see `without_border`.
        """
        return upsample_each(self.without_border(mask_logits, ori_shapes), ori_shapes)

    def without_border(
        self, mask_logits: Tensor, ori_shapes: list[tuple[int, int]]
    ) -> list[Tensor]:
        """(B, h, w) -> B times (h, w) logits that cover the original images, as they come from the
        decoder.

        Raises:
            UserError: a logit is NaN, of which `> 0` would make an empty mask.
        """
        bad = int(mask_logits.isnan().flatten(1).any(1).sum())
        if bad:
            raise UserError(
                f"the model's mask logits are NaN for {bad} of {len(mask_logits)} "
                'sentences of a batch: its weights are damaged, or too large for '
                f'model.autocast: take another checkpoint, or set {self.PLAIN}'
            )
        crop = self.data_preprocessor.crop_border
        return [crop(logits, shape) for logits, shape in zip(mask_logits, ori_shapes, strict=True)]
