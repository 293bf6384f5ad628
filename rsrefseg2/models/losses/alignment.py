"""Eq. 12 and its relatives: the sentence's features should lie near its object's."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...bounds import NonNegativeFloat, PositiveFloat
from ...errors import UserError
from ...registry import MODELS
from ..distributed import gather_with_gradient, weight_of_rank
from ..symbols import RefSegOutputs, Targets, at_least_float32

TEXTS, VISUALS = ('t_sent', 't1', 't2'), ('v', 'v1_act', 'v2_act')


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError where `value`, given as `name`, is none of `choices`."""
    if value not in choices:
        raise ValueError(f'{name} is one of {choices}, not {value!r}')


def sample_contrast(v_object: Tensor, t: Tensor, scale: Tensor | float, positive: Tensor) -> Tensor:
    """Eq. 12: symmetric cross-entropy between objects and sentences, s = scale * v_object t^T.

    With the diagonal as the only positives it is the paper's loss. Further positives of a row
    (the same object under another sentence) leave each other's denominators: row i is the mean
    over its positives j of -log(e^s_ij / (e^s_ij + the sum of e^s over i's negatives)). Merely
    spreading a softmax target over them would change nothing, their v_object being equal.

    Args:
        v_object, t: (B, d1), L2-normed.  scale: exp of the learnable temperature.
        positive: (B, B) bool, symmetric, with a True diagonal.
    """

    def rows(logits: Tensor) -> Tensor:
        # A finite fill: a row without negatives has loss 0 and gradient 0, not NaN.
        negatives = logits.masked_fill(positive, torch.finfo(logits.dtype).min / 2)
        per_pair = F.softplus(negatives.logsumexp(1, keepdim=True) - logits)
        return ((per_pair * positive).sum(1) / positive.sum(1)).mean()

    logits = scale * v_object @ t.T
    return (rows(logits) + rows(logits.T)) / 2


def masked_mean(v: Tensor, mask: Tensor) -> Tensor:
    """Mean of v (B, N, d1) under the soft mask (B, N), L2-normed: (B, d1); 0 for an empty mask."""
    weight = mask / mask.sum(1, keepdim=True).clamp(min=torch.finfo(mask.dtype).tiny)
    return F.normalize(torch.einsum('bn,bnd->bd', weight, v), dim=-1)


@MODELS.register_module()
class SampleContrastLoss(nn.Module):
    """Eq. 12, L_samp: a text against an image under the target's mask, over all ranks.

    By default t2 (mean over n_t) against v: NCE-t2-v, the best row of Table XV.

    The mask at h1 x w1 is the covered area of each cell. Pairs of equal image and equal mask are
    positives. Features of all ranks are gathered with gradient, so the loss and its gradient do
    not depend on the number of ranks.

    Args:
        init_temperature: the learnable scale starts at 1 / init_temperature.
        variant: 'paper'; or 'release': the mask shrunk bilinearly (align_corners=True) and
            thresholded at 0.5, v averaged over all positions, only the diagonal positive, no
            gradient through the other ranks' features.
        text: which text (Table XV): 't_sent', as Eq. 12 is printed, or 't1', 't2'.
        visual: which image tokens (Table XV): 'v', or as the prompter activated them.
    """

    over_all_ranks = True  # the same value on every rank

    def __init__(
        self,
        *,
        loss_weight: NonNegativeFloat = 1.0,
        init_temperature: PositiveFloat = 0.07,
        variant: Literal['paper', 'release'] = 'paper',
        text: Literal['t_sent', 't1', 't2'] = 't2',
        visual: Literal['v', 'v1_act', 'v2_act'] = 'v',
    ) -> None:
        super().__init__()
        check_choice('variant', variant, ('paper', 'release'))
        check_choice('text', text, TEXTS)
        check_choice('visual', visual, VISUALS)
        self.text, self.visual = text, visual
        self.loss_weight, self.variant = loss_weight, variant
        self.logit_scale = nn.Parameter(torch.tensor([-math.log(init_temperature)]))

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_sample`, a scalar."""
        v = at_least_float32(image_tokens(outputs, self.visual))  # (B, N, d1)
        t = F.normalize(text_feature(outputs, self.text), dim=-1)  # (B, d1)
        if self.variant == 'release':
            mask = release_mask(targets, outputs.grid_size).to(v.dtype)
            v_object = F.normalize((v * mask[..., None]).mean(1), dim=-1)
        else:
            mask = targets.area(outputs.grid_size).flatten(1).to(v.dtype)
            v_object = masked_mean(v, mask)

        with_gradient = self.variant == 'paper'
        v_object = gather_with_gradient(v_object, through_others=with_gradient)
        t = gather_with_gradient(t, through_others=with_gradient)
        if not len(t):  # no sentence of any rank has a target
            return {'loss_sample': self.loss_weight * (v_object.sum() + t.sum())}
        positive = torch.eye(len(t), dtype=torch.bool, device=t.device)
        if self.variant == 'paper':
            ids = gather_with_gradient(targets.image_ids)
            mask = gather_with_gradient(mask)
            # Objects alike at h1 x w1 have equal v_object: to this loss they are one.
            same_mask = (mask[:, None] == mask[None]).all(-1)
            positive |= (ids[:, None] == ids[None]) & same_mask
        scale = at_least_float32(self.logit_scale).exp()
        loss = sample_contrast(v_object, t, scale, positive)
        return {'loss_sample': self.loss_weight * loss}


def text_feature(outputs: RefSegOutputs, name: str) -> Tensor:
    """t_sent, or the mean over n_t of t1 or t2: (B, d1), at least float32.

    Raises:
        ValueError: the prompter does not make it.
    """
    if name == 't_sent':
        return at_least_float32(outputs.text.t_sent)
    return at_least_float32(_made(outputs, name)).mean(1)


def image_tokens(outputs: RefSegOutputs, name: str) -> Tensor:
    """v, v1_act or v2_act of each sentence: (B, h1*w1, d1).

    Raises:
        ValueError: the prompter does not make it.
    """
    if name == 'v':
        return outputs.images.v[outputs.image_index]
    return _made(outputs, name)


def _made(outputs: RefSegOutputs, name: str) -> Tensor:
    value = getattr(outputs.prompts, name)
    if value is None:
        raise UserError(
            f'a loss needs {name}, which a prompter of a single stage does not make: '
            'set losses.sample and losses.spatial to None'
        )
    return value


def release_mask(targets: Targets, grid_size: tuple[int, int]) -> Tensor:
    """The release's mask at h1 x w1: bilinear, align_corners=True, thresholded: (B, N)."""
    shrunk = [
        F.interpolate(
            mask[None, None].float(), tuple(grid_size), mode='bilinear', align_corners=True
        )[0]
        for mask in targets.masks
    ]
    return (torch.cat(shrunk) > 0.5).float().flatten(1)


@MODELS.register_module()
class DenseLoss(nn.Module):
    """Supervision of the dense prompt: binary cross-entropy of p_dense and the covered area.

    Off in the paper's configs; the biggest lever for tiny towers.
    """

    def __init__(self, *, loss_weight: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_dense`, a scalar.

        Raises:
            ValueError: the model has no dense prompt.
        """
        p_dense = outputs.prompts.p_dense
        if p_dense is None:
            raise UserError(
                'DenseLoss needs a dense prompt: set prompter.dense, or losses.dense to None'
            )
        p_dense = at_least_float32(p_dense)
        area = targets.area(p_dense.shape[1:]).to(p_dense.dtype)
        loss = F.binary_cross_entropy_with_logits(p_dense, area)
        return {'loss_dense': self.loss_weight * loss}


@MODELS.register_module()
class SpatialLoss(nn.Module):
    """L_spat: every patch against a text, within one image (Table XV).

    logits_n = scale * <v_n, t> on L2-normed features, n over the h1 x w1 patches.

    Args:
        kind: 'ce': binary cross-entropy of each patch with its covered area; 'mil': softmax over
            the patches, summed under the mask, minus its log (multi-instance).
        text: 't_sent', or 't1', 't2', the mean over n_t.
        visual: 'v', or as the prompter activated it; the table's v2 is 'v2_act'.
    """

    over_all_ranks = True  # weighs its own mean: over the sentences with a mask for MIL

    def __init__(
        self,
        *,
        kind: Literal['ce', 'mil'],
        loss_weight: NonNegativeFloat = 1.0,
        init_temperature: PositiveFloat = 0.07,
        text: Literal['t_sent', 't1', 't2'] = 't2',
        visual: Literal['v', 'v1_act', 'v2_act'] = 'v',
    ) -> None:
        super().__init__()
        check_choice('kind', kind, ('ce', 'mil'))
        check_choice('text', text, TEXTS)
        check_choice('visual', visual, VISUALS)
        self.text, self.visual = text, visual
        self.kind, self.loss_weight = kind, loss_weight
        self.logit_scale = nn.Parameter(torch.tensor([-math.log(init_temperature)]))
        if kind == 'ce':  # a softmax over patches ignores a bias
            self.logit_bias = nn.Parameter(torch.tensor([math.log(0.5)]))

    def forward(self, outputs: RefSegOutputs, targets: Targets) -> dict[str, Tensor]:
        """-> `loss_spatial`, a scalar: the mean over sentences, for MIL over those with a mask."""
        v = F.normalize(at_least_float32(image_tokens(outputs, self.visual)), dim=-1)
        t = F.normalize(text_feature(outputs, self.text), dim=-1)
        area = targets.area(outputs.grid_size).flatten(1).to(v.dtype)  # (B, N)
        logits = at_least_float32(self.logit_scale).exp() * torch.einsum('bnd,bd->bn', v, t)
        if not len(logits):  # no sentence of this rank
            loss, counted = logits.sum(), 0
        elif self.kind == 'ce':
            loss, counted = (
                F.binary_cross_entropy_with_logits(logits + self.logit_bias, area),
                len(area),
            )
        else:
            kept = area.sum(1) > 0  # before the logarithm: an empty row's gradient would be NaN
            # In the log domain: patches outside the mask have weight 0, i.e. log 0.
            under_mask = torch.logsumexp(logits.log_softmax(1)[kept] + area[kept].log(), 1)
            loss, counted = -under_mask.sum() / max(len(under_mask), 1), len(under_mask)
        share = weight_of_rank(counted, like=loss)
        return {'loss_spatial': self.loss_weight * share * loss}
