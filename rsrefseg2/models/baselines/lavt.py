"""LAVT (arXiv 2112.02244): language enters the image tower; LGCE and RMSIN as its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from ...registry import MODELS
from ..ref_seg_model import RefSegModel, check_with_target
from .bert_encoder import BertEncoder, Words
from .language_guided_enhancement import LanguageGuidedEnhancement
from .pixel_word_attention import LanguageGate, PixelWordAttention
from .scale_interaction import CrossScaleInteraction, IntraScaleInteraction
from .swin_encoder import SwinEncoder
from .top_down_decoder import TopDownDecoder


class LAVTOutputs(NamedTuple):
    """The forward pass, by name."""

    features: list[Tensor]  # F_1 to F_4, (B, C_i, H_i, W_i), as the decoder reads them
    words: Words
    mask_logits: Tensor  # (B, H_1, W_1)
    input_size: tuple[int, int]  # (S, S)

    def rows(self, kept: Tensor) -> LAVTOutputs:
        """Those of the sentences `kept` (B,) bool."""
        return self._replace(
            features=[one[kept] for one in self.features],
            words=Words(*(part[kept] for part in self.words)),
            mask_logits=self.mask_logits[kept],
        )

    @property
    def p_dense(self) -> None:
        """None: there are no prompts."""
        return None


@MODELS.register_module()
class LAVT(RefSegModel):
    """Swin whose stages read the words, and a top-down decoder.

        V_i = stage_i(E_i-1),  F_i = PWAM(V_i, L),  E_i = F_i * S_i + V_i,  L = BERT(T)
        mask = decoder(LN(F_1), ..., LN(F_4))

    LN of what the decoder reads is the authors' code's, not the paper's. V_1 depends on the image
    alone and is made once for all of its sentences.

    Parts: `swin`, `bert`, `fusions` (PWAM), `gates` (S_1 to S_3; a fourth would reach nothing),
    `norms`, `decoder`, and of a variant `intra_scale`, `cross_scale`, `enhancement`. LGCE is this
    model with `enhancement`; RMSIN with `intra_scale`, `cross_scale` and
    `decoder=dict(rotated_kernels=4)`.

    Args:
        swin, bert: arguments of `SwinEncoder` and `BertEncoder`. A checkpoint given as a dict is
            trained from scratch.
        fusion: further arguments of `PixelWordAttention`.
        decoder: further arguments of `TopDownDecoder`.
        enhancement: further arguments of `LanguageGuidedEnhancement` (LGCE); None: off.
        intra_scale: {} adds an `IntraScaleInteraction` to stages 1 to 3 (RMSIN); None: off.
        cross_scale: further arguments of `CrossScaleInteraction` (RMSIN); None: off.
        losses, autocast, with_target: as in `RSRefSeg2`.
        init: 'pretrained', or 'random': architectures with random weights, without a network.
    Raises:
        ValueError: another init or autocast.
        UserError: options that do not fit each other, or the checkpoint.
    """

    def __init__(
        self,
        *,
        swin: dict,
        bert: dict,
        fusion: dict | None = None,
        decoder: dict | None = None,
        enhancement: dict | None = None,
        intra_scale: dict | None = None,
        cross_scale: dict | None = None,
        losses: dict | None = None,
        init: Literal['pretrained', 'random'] = 'pretrained',
        autocast: Literal['bfloat16'] | None = None,
        with_target: Sequence[str] = (),
    ) -> None:
        self.check_values(with_target=with_target, losses=losses)
        if init not in ('pretrained', 'random'):
            raise ValueError(f"init is 'pretrained' or 'random', not {init!r}")
        image_tower = SwinEncoder(init=init, **swin)
        text_tower = BertEncoder(init=init, **bert)
        super().__init__(
            dict(
                type='rsrefseg2.SingleImageDataPreprocessor',
                tokenizer=text_tower.tokenizer,
                init=text_tower.tokenizer_init,
                max_length=text_tower.max_length,
                size=image_tower.image_size,
            ),
            autocast=autocast,
        )
        text_tower.check_vocabulary(self.data_preprocessor.tokenizer.vocab_size)
        self.swin, self.bert = image_tower, text_tower
        widths, text_width = image_tower.widths, text_tower.width
        self.fusions = nn.ModuleList(
            PixelWordAttention(width=width, text_width=text_width, **(fusion or {}))
            for width in widths
        )
        self.gates = nn.ModuleList(LanguageGate(width) for width in widths[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.add_interactions(enhancement, intra_scale, cross_scale)
        self.decoder = TopDownDecoder(widths=widths, **(decoder or {}))
        self.with_target = tuple(with_target)
        self.add_losses(losses)

    @staticmethod
    def check_values(*, with_target: Sequence[str], losses: dict | None) -> None:
        """Raises a UserError where options do not fit each other."""
        check_with_target(with_target, losses)

    def add_interactions(
        self, enhancement: dict | None, intra_scale: dict | None, cross_scale: dict | None
    ) -> None:
        """Set what LGCE and RMSIN add, or None for each that is off."""
        widths, text_width = self.swin.widths, self.bert.width
        self.intra_scale = (
            None
            if intra_scale is None
            else nn.ModuleList(IntraScaleInteraction(width) for width in widths[:-1])
        )
        self.cross_scale = (
            None if cross_scale is None else CrossScaleInteraction(widths=widths, **cross_scale)
        )
        self.enhancement = (
            None
            if enhancement is None
            else LanguageGuidedEnhancement(widths=widths, text_width=text_width, **enhancement)
        )

    @property
    def input_size(self) -> tuple[int, int]:
        """(S, S)."""
        return (self.swin.image_size, self.swin.image_size)

    @property
    def mask_size(self) -> tuple[int, int]:
        """(H_1, W_1)."""
        return self.swin.grid_size

    def encode_images(self, images_siglip: Tensor, images_sam: Tensor) -> Tensor:
        """I (U, 3, S, S), twice -> V_1 (U, H_1 W_1, C_1)."""
        with self.precision(images_siglip.device):
            return self.swin.blocks(0, *self.swin.patches(images_siglip))

    def segment(
        self,
        images: Tensor,
        image_index: Tensor,
        input_ids: Tensor,
        lengths: Tensor,
        dense_prior: Tensor | None = None,
    ) -> LAVTOutputs:
        """B sentences on V_1 of U images; image_index (B,) into U, ids (B, L), lengths (B,).
        dense_prior is not read: there is no map of the place to add it to."""
        with self.precision(input_ids.device):
            words = self.bert(input_ids, lengths)
            features = self.fuse(images[image_index], words)
            if self.cross_scale is not None:
                features = self.cross_scale(features)
            if self.enhancement is not None:
                features = self.enhancement(features, words)
            mask_logits = self.decoder(features)
        return LAVTOutputs(features, words, mask_logits, self.input_size)

    def fuse(self, v: Tensor, words: Words) -> list[Tensor]:
        """V_1 (B, H_1 W_1, C_1), L -> LN(F_1) to LN(F_4), (B, C_i, H_i, W_i)."""
        size, features = self.swin.grid_size, []
        for stage, (fusion, norm) in enumerate(zip(self.fusions, self.norms, strict=True)):
            if stage:
                v = self.swin.blocks(stage, v, size)
            f = fusion(v, words)
            features.append(norm(f).mT.unflatten(2, size))
            if stage < len(self.gates):
                e = v + self.gates[stage].passed(f)
                if self.intra_scale is not None:
                    e = e + self.intra_scale[stage](v, size)
                v, size = self.swin.merge(stage, e, size)
        return features
