"""Swin stage by stage, so that language can come in between."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.models.swin.modeling_swin import SwinDropPath

from ...bounds import BelowOne, PositiveInt
from ...errors import UserError
from ..towers.load import Init, load_swin

Size = tuple[int, int]


class SwinEncoder(nn.Module):
    """The four stages of a Swin as separate calls; all of it is trained.

    Windows are padded and shifted at every size, as `SwinBackbone` does, so that the position
    biases keep their shape.

    Args:
        checkpoint: hub name, folder, or transformers config: a dict is drawn at random.
        init: 'pretrained' or 'random'.
        image_size: side of the square that images are brought to; None: the pretrained one.
        drop_path: largest rate of stochastic depth, which grows from 0 over the blocks; None: the
            checkpoint's.
    Raises:
        UserError: the last stage has no 2 x 2 positions, which its norms need; another number of
            stages than 4.
    """

    def __init__(
        self,
        *,
        checkpoint: str | dict,
        init: Init = 'pretrained',
        image_size: PositiveInt | None = None,
        drop_path: BelowOne | None = None,
    ) -> None:
        super().__init__()
        self.swin = load_swin(checkpoint, init=init)
        self.swin.layernorm = nn.Identity()  # of its classifier
        config = self.swin.config
        self.image_size = config.image_size if image_size is None else image_size
        stages = len(config.depths)
        if stages != 4:
            raise UserError(f'model.swin has {stages} stages, not 4: give another checkpoint')
        least = config.patch_size * 2 ** len(config.depths)
        if self.image_size < least:
            raise UserError(f'model.swin.image_size {self.image_size} is below {least} pixels')
        self.widths = [config.embed_dim * 2**stage for stage in range(stages)]
        # (H_1, W_1): sides that are no multiple of the patch are padded
        self.grid_size = (-(-self.image_size // config.patch_size),) * 2
        if drop_path is not None:
            self._set_drop_path(drop_path)

    def _set_drop_path(self, most: float) -> None:
        blocks = [block for stage in self.swin.encoder.layers for block in stage.blocks]
        for i, block in enumerate(blocks):
            rate = most * i / (len(blocks) - 1)
            block.drop_path = SwinDropPath(rate) if rate else nn.Identity()

    def patches(self, images: Tensor) -> tuple[Tensor, Size]:
        """(U, 3, S, S) normalised -> (U, H_1 W_1, C_1) and (H_1, W_1)."""
        return self.swin.embeddings(images, interpolate_pos_encoding=True)

    def blocks(self, stage: int, tokens: Tensor, size: Size) -> Tensor:
        """Stage 0 to 3 without its merging: (B, H W, C) -> V_i of the same shape."""
        for block in self.swin.encoder.layers[stage].blocks:
            tokens, _ = block(tokens, size, always_partition=True)
        return tokens

    def merge(self, stage: int, tokens: Tensor, size: Size) -> tuple[Tensor, Size]:
        """Patch merging after stage 0, 1 or 2: (B, H W, C) -> (B, H/2 W/2, 2 C), its size."""
        merged = self.swin.encoder.layers[stage].downsample(tokens, size)
        return merged, (-(-size[0] // 2), -(-size[1] // 2))
