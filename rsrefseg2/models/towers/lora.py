"""Eq. 2, third line: freeze a tower and add low-rank updates W* = W + B A to its attention."""

from __future__ import annotations

import re
from typing import Literal

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora.layer import Linear as PeftLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from ...bounds import BelowOne, PositiveInt
from ...errors import UserError
from .plain_forms import is_plain

# Full patterns, not bare names: `out_proj` alone also hits SigLIP's pooling head, `proj` alone
# also hits Hiera's dimension changes.
ATTENTION_PROJECTIONS = {
    'siglip': r'.*\.self_attn\.(q_proj|k_proj|v_proj|out_proj)',
    'sam2': r'.*\.blocks\.\d+\.attn\.(qkv|proj)',
    'sam': r'(.*\.)?layers\.\d+\.attn\.(qkv|proj)',
}
# d_in d_out <= this times r (d_in + d_out): a merged product takes no more than three apart.
MERGED_WIDTHS = 3
# What the release adapts besides.
EXTRA_LAYERS = {
    'head': r'head',  # SigLIP's text head, which makes t_sent
    'neck': r'(.*\.)?neck\.convs\.\d+',  # SAM 2's neck, 1x1 convolutions
}


class LoRALinear(PeftLinear):
    """PEFT's adapted linear layer, y = W x + scale B A x + b, as one product (W + scale B A) x where
    that is less work (`_merge_is_less`)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_in) -> (..., d_out)."""
        if is_plain() or self.disable_adapters or self.merged or not self._merge_is_less(x):
            return super().forward(x)
        base, a, b = self.base_layer, self.lora_A['default'], self.lora_B['default']
        update = b(a.weight.T).T  # B A, counted as the adapter's work
        return F.linear(x, torch.add(base.weight, update, alpha=self.scaling['default']), base.bias)

    def _merge_is_less(self, x: Tensor) -> bool:
        """In training the merged weight's gradient costs a whole product: worth it for d of a few
        ranks. In float32 alone: B A is far smaller than W, whose half precision would swallow it."""
        base, dropout = self.base_layer, self.lora_dropout['default']
        precise = base.weight.dtype == self.lora_B['default'].weight.dtype == x.dtype
        if x.dtype not in (torch.float32, torch.float64) or not precise:
            return False
        if any(map(torch.is_autocast_enabled, ('cpu', 'cuda'))):
            return False
        both, product = sum(base.weight.shape), base.weight.numel()
        if not torch.is_grad_enabled():
            tokens = x.numel() // x.shape[-1]
            return tokens * both > product
        return (
            isinstance(dropout, nn.Identity) and product <= MERGED_WIDTHS * self.r['default'] * both
        )


def freeze(module: nn.Module) -> nn.Module:
    """Switch off the gradients of every parameter of `module`; returns it."""
    return module.requires_grad_(False)


def inject_lora(
    tower: nn.Module,
    *,
    family: Literal['siglip', 'sam2', 'sam'],
    r: PositiveInt,
    alpha: PositiveInt | None = None,
    dropout: BelowOne = 0.0,
    extra_layers: Literal['head', 'neck'] | None = None,
) -> list[str]:
    """Freeze `tower` and inject adapters of rank `r` into its attention projections.

    Names stay as they are: `<layer>.base_layer.weight`, `<layer>.lora_A.default.weight` (r, d_in),
    `<layer>.lora_B.default.weight` (d_out, r), the latter zero at the start.

    Args:
        alpha: scale of the update over r; r itself by default (scale 1).
        extra_layers: adapt these layers too (the release's variant): 'head' of SigLIP's text tower,
            'neck' of SAM 2.
    Returns:
        The adapted layers' names, sorted.
    Raises:
        ValueError: r < 1.
        UserError: no layer matches (another architecture).
    """
    if r < 1:
        raise ValueError(f'LoRA rank r must be at least 1, not {r}; lora=None switches it off')
    if extra_layers is not None and extra_layers not in EXTRA_LAYERS:
        raise ValueError(f"extra_layers is 'head', 'neck' or None, not {extra_layers!r}")
    patterns = [
        ATTENTION_PROJECTIONS[family],
        *([EXTRA_LAYERS[extra_layers]] if extra_layers else []),
    ]
    names = [name for name, _ in tower.named_modules()]
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in names):
            raise UserError(
                f'LoRA: no layer of {type(tower).__name__} matches {pattern!r}'
                + (f': drop extra_layers={extra_layers!r}' if extra_layers else '')
            )
    freeze(tower)
    config = LoraConfig(
        r=r,
        lora_alpha=r if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules='|'.join(patterns),
        bias='none',
    )
    config._register_custom_module({nn.Linear: LoRALinear})
    inject_adapter_in_model(config, tower)
    return sorted(name for name, module in tower.named_modules() if hasattr(module, 'lora_A'))


def merge_lora(tower: nn.Module) -> nn.Module:
    """Put W + B A in the place of each adapted layer's W: plain layers under their plain names, as
    before `inject_lora`; returns `tower`, which stays frozen.

    Raises:
        ValueError: a merged weight would be NaN or infinite.
    """
    for name, layer in list(tower.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)
            tower.set_submodule(name, layer.get_base_layer())
    if hasattr(tower, 'peft_config'):
        del tower.peft_config
    return tower
