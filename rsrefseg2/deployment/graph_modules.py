"""The model cut into three graphs: what depends on the image, on the sentence, and on both."""

from __future__ import annotations

from torch import Tensor, nn

from ..models import RSRefSeg2
from ..models.symbols import EncodedText


class ImageEncoderGraph(nn.Module):
    """Sub-layers: SigLIP's image tower (Eq. 2) and SAM's image encoder (Eq. 8)."""

    def __init__(self, model: RSRefSeg2) -> None:
        super().__init__()
        self.encoder, self.mask_generator = model.encoder, model.mask_generator

    def forward(self, images_siglip: Tensor, images_sam: Tensor) -> tuple[Tensor, ...]:
        """I_1 (1, 3, H1, W1), I_2 (1, 3, H2, W2) -> v (1, h1*w1, d1), image_embedding
        (1, d2, H2/16, W2/16) and SAM 2's two high-resolution maps."""
        v = self.encoder.encode_images(images_siglip)
        embedding, maps = self.mask_generator.encode_images(images_sam)
        return v, embedding, *maps


class TextEncoderGraph(nn.Module):
    """Sub-layer: SigLIP's text tower (Eq. 2)."""

    def __init__(self, model: RSRefSeg2) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, input_ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """input_ids (B, L), lengths (B,) -> t_word (B, L', d1), word_mask (B, L') bool,
        t_sent (B, d1); L' are the positions from the first word on."""
        text = self.encoder.encode_text(input_ids, lengths, trim=False)
        return text.t_word, text.word_mask, text.t_sent


class DecoderGraph(nn.Module):
    """Sub-layers: the prompter (Eq. 3) and SAM's prompt encoder and mask decoder (Eq. 8)."""

    def __init__(self, model: RSRefSeg2) -> None:
        super().__init__()
        self.prompter, self.mask_generator = model.prompter, model.mask_generator

    def forward(
        self,
        t_word: Tensor,
        word_mask: Tensor,
        t_sent: Tensor,
        v: Tensor,
        image_embedding: Tensor,
        maps: list[Tensor],
    ) -> tuple[Tensor, ...]:
        """B sentences on one image, as the other graphs give them -> `outputs_of`: mask_logits
        and p_dense (B, H2/4, W2/4), presence and predicted_iou (B,) in [0, 1]."""
        count = t_sent.shape[0]
        prompts = self.prompter(v.expand(count, -1, -1), EncodedText(t_word, word_mask, t_sent))
        drawn = self.mask_generator(
            image_embedding.expand(count, -1, -1, -1),
            [one.expand(count, -1, -1, -1) for one in maps],
            prompts.p_sparse,
            prompts.p_dense,
            with_scores=True,
        )
        presence = None if drawn.object_score is None else drawn.object_score.sigmoid()
        outputs = drawn.mask_logits, prompts.p_dense, presence, drawn.iou_score
        return tuple(one for one in outputs if one is not None)


def outputs_of(model: RSRefSeg2) -> list[str]:
    """What `DecoderGraph` gives: p_dense where the prompter makes one, the scores of `score_heads`."""
    given = {
        'mask_logits': True,
        'p_dense': model.prompter.dense is not None,
        'presence': 'object' in model.score_heads,
        'predicted_iou': 'iou' in model.score_heads,
    }
    return [name for name, is_given in given.items() if is_given]
