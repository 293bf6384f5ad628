"""LAVT's fusion (arXiv 2112.02244, Eqs. 1 to 8): pixels read words, a gate lets language through."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from ...bounds import PositiveInt
from .bert_encoder import Words

ACTIVATIONS = {'relu': nn.ReLU, 'gelu': nn.GELU}


class PixelWordAttention(nn.Module):
    """PWAM: multi-modal features F_i of a stage's V_i and the words L.

        V_iq = flatten(omega_iq(V_i)),  L_ik = omega_ik(L),  L_iv = omega_iv(L)
        G'_i = softmax(V_iq^T L_ik / sqrt(C_i)) L_iv^T
        G_i  = omega_iw(unflatten(G'_i^T))
        V_im = omega_im(V_i)
        F_i  = omega_io(V_im * G_i)

    omega are 1 x 1 convolutions: iq and iw with instance norm, im and io with an activation. The
    softmax leaves the padding out. Positions are rows here: (B, H_i W_i, C_i).

    Args:
        width: C_i.
        text_width: C_t.
        heads: the softmax by parts of C_i; scaled by sqrt(C_i) with any number, as the authors' code.
        activation: 'relu' (paper) or 'gelu' (the authors' code).
    Raises:
        ValueError: another activation; a width that is no multiple of the heads.
    """

    def __init__(
        self,
        *,
        width: int,
        text_width: int,
        heads: PositiveInt = 1,
        activation: Literal['relu', 'gelu'] = 'relu',
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is 'relu' or 'gelu', not {activation!r}")
        if width % heads:
            raise ValueError(f'a width of {width} is no multiple of {heads} heads')
        self.width, self.heads = width, heads
        self.query, self.query_norm = nn.Linear(width, width), nn.InstanceNorm1d(width)
        self.key, self.value = nn.Linear(text_width, width), nn.Linear(text_width, width)
        self.word, self.word_norm = nn.Linear(width, width), nn.InstanceNorm1d(width)
        self.image = nn.Sequential(nn.Linear(width, width), ACTIVATIONS[activation]())
        self.out = nn.Sequential(nn.Linear(width, width), ACTIVATIONS[activation]())

    def forward(self, v: Tensor, words: Words) -> Tensor:
        """V_i (B, H W, C_i), L (B, T, C_t) -> F_i (B, H W, C_i)."""
        q = self._by_head(self.query_norm(self.query(v).mT).mT)
        k, value = (
            self._by_head(self.key(words.features)),
            self._by_head(self.value(words.features)),
        )

        scores = q @ k.mT / math.sqrt(self.width)  # (B, heads, H W, T)
        scores = scores.masked_fill(~words.mask[:, None, None], -math.inf)
        g = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)  # (B, H W, C_i)
        g = self.word_norm(self.word(g).mT).mT

        return self.out(self.image(v) * g)

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class LanguageGate(nn.Sequential):
    """The gate of the language pathway: S_i = gamma_i(F_i), of which E_i = F_i * S_i + V_i.

    gamma is a two-layer perceptron without bias: ReLU between, tanh at the end. The features that
    pass are `forward(F_i) * F_i`.
    """

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Linear(width, width, bias=False),
            nn.ReLU(),
            nn.Linear(width, width, bias=False),
            nn.Tanh(),
        )

    def passed(self, features: Tensor) -> Tensor:
        """F_i (B, H W, C_i) -> F_i * S_i."""
        return self(features) * features
