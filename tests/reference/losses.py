"""Eqs. 10-12 and the losses of Table XV that are off by default, pixel by pixel."""

import math

import torch

from .dense import bilinear, unit


def _log_sigmoid(x):
    """-log(1 + exp(-x)), without overflow."""
    return torch.where(
        x > 0, -torch.log1p(torch.exp(-x.abs())), x - torch.log1p(torch.exp(-x.abs()))
    )


def cross_entropy(logits, target):
    """Eq. 10, first term: mean over all pixels of -y log s(x) - (1 - y) log (1 - s(x))."""
    y = target.to(logits.dtype)
    return (-y * _log_sigmoid(logits) - (1 - y) * _log_sigmoid(-logits)).mean()


def dice(logits, target, eps=1e-3):
    """Eq. 10, second term: mean over samples of 1 - (2 sum py + eps) / (sum p + sum y + eps)."""
    total = 0.0
    for x, y in zip(logits, target, strict=True):
        p, y = torch.exp(_log_sigmoid(x)), y.to(x.dtype)
        total = total + 1 - (2 * (p * y).sum() + eps) / (p.sum() + y.sum() + eps)
    return total / len(logits)


def orthogonal(t1, t2):
    """Eq. 11: mean over sentences of cos(mean_n t_1, mean_n t_2) squared."""
    total = 0.0
    for a, b in zip(t1, t2, strict=True):
        a, b = a.mean(dim=0), b.mean(dim=0)
        total = total + ((a * b).sum() / torch.sqrt((a * a).sum() * (b * b).sum())) ** 2
    return total / len(t1)


def area_average(mask, size):
    """(B, H, W) -> (B, h, w): the mean over floor(iH/h) ... ceil((i+1)H/h), likewise columns."""
    height, width = mask.shape[-2:]
    out = torch.zeros(len(mask), *size, dtype=torch.float64)
    for i in range(size[0]):
        for j in range(size[1]):
            top, bottom = math.floor(i * height / size[0]), math.ceil((i + 1) * height / size[0])
            left, right = math.floor(j * width / size[1]), math.ceil((j + 1) * width / size[1])
            out[:, i, j] = mask[:, top:bottom, left:right].double().mean(dim=(1, 2))
    return out


def nearest(mask, size):
    """(H, W) -> (h, w): each pixel takes the mask's value under its own centre."""
    height, width = mask.shape
    out = torch.zeros(*size, dtype=torch.float64)
    for i in range(size[0]):
        for j in range(size[1]):
            out[i, j] = mask[
                math.floor((i + 0.5) * height / size[0]), math.floor((j + 0.5) * width / size[1])
            ]
    return out


def threshold_mask(mask, size):
    """The release's low-resolution mask: bilinear, align_corners=True, then > 0.5."""
    return (bilinear(mask[:, None].double(), size, True)[:, 0] > 0.5).double()


def target_vectors(v, low_mask):
    """(B, h1*w1, d1), (B, h1, w1) -> (B, d1): mean over all positions of mask times v, L2-normed.

    The divisor cancels in the norm: over all positions or over the mask's is the same.
    """
    vectors = []
    for b in range(len(v)):
        total = torch.zeros_like(v[b, 0])
        for position, m in zip(v[b], low_mask[b].flatten(), strict=True):
            total = total + m * position
        vectors.append(total / v.shape[1])
    return unit(torch.stack(vectors), 1)


def _softmax_cross_entropy(scores, positives):
    """Mean over rows of -mean_{j positive} log softmax(scores_i)_j."""
    total = 0.0
    for i in range(len(scores)):
        log_norm = torch.logsumexp(scores[i], dim=0)
        own = [j for j in range(len(scores)) if positives[i][j]]
        row = 0.0
        for j in own:
            row = row - (scores[i, j] - log_norm)
        total = total + row / len(own)
    return total / len(scores)


def _softmax_any_positive(scores, positives):
    """Mean over rows of -log sum_{j positive} softmax(scores_i)_j."""
    total = 0.0
    for i in range(len(scores)):
        own = [j for j in range(len(scores)) if positives[i][j]]
        total = total - torch.log(torch.softmax(scores[i], dim=0)[own].sum())
    return total / len(scores)


def _softmax_positives_apart(scores, positives):
    """Mean over rows of the mean over positives j of -log e^s_j / (e^s_j + sum_negatives e^s)."""
    total = 0.0
    for i in range(len(scores)):
        own = [j for j in range(len(scores)) if positives[i][j]]
        negatives = [j for j in range(len(scores)) if not positives[i][j]]
        row = 0.0
        for j in own:
            row = row - torch.log_softmax(scores[i, [j] + negatives], dim=0)[0]
        total = total + row / len(own)
    return total / len(scores)


SHARED = {
    'mean': _softmax_cross_entropy,
    'any': _softmax_any_positive,
    'apart': _softmax_positives_apart,
}


def same_target(image_ids, masks):
    """(B, B) nested lists: is it the same image and the same mask?"""
    n = len(image_ids)
    return [
        [
            int(image_ids[i]) == int(image_ids[j]) and bool((masks[i] == masks[j]).all())
            for j in range(n)
        ]
        for i in range(n)
    ]


def sample_contrast(v, text, low_mask, *, scale, bias=0.0, positives=None, shared='mean'):
    """Eq. 12: symmetric softmax contrast of each target's image vector with its text vector.

    ``text`` (B, n_t, d1) is averaged over n_t. ``scale`` multiplies (already exponentiated).
    ``positives`` (B, B): None is the diagonal (the release). Where a row has several, ``shared``
    says how they count; the paper has one each and leaves it open: 'mean', a uniform target over
    them; 'any', their probabilities summed; 'apart', each alone against the negatives, averaged.
    """
    n = len(v)
    if positives is None:
        positives = [[i == j for j in range(n)] for i in range(n)]
    image = target_vectors(v, low_mask)
    words = unit(text.mean(dim=1), 1)
    scores = scale * torch.einsum('ic,jc->ij', image, words) + bias
    one = SHARED[shared]
    flipped = [[positives[j][i] for j in range(n)] for i in range(n)]
    return (one(scores, positives) + one(scores.T, flipped)) / 2


def spatial_scores(v, text, *, scale, bias=0.0):
    """scale * <v_p / |v_p|, t / |t|> + bias for every position: (B, h1*w1)."""
    words = unit(text.mean(dim=1), 1)
    return scale * torch.einsum('bpc,bc->bp', unit(v, 2), words) + bias


def spatial_ce(v, text, low_mask, *, scale, bias=0.0):
    """Binary cross-entropy per position with the low-resolution mask."""
    return cross_entropy(spatial_scores(v, text, scale=scale, bias=bias), low_mask.flatten(1))


def spatial_mil(v, text, low_mask, *, scale):
    """Mean over sentences of -log sum_p m_p softmax(scores)_p (a bias would cancel)."""
    scores = spatial_scores(v, text, scale=scale)
    total = 0.0
    for row, m in zip(scores, low_mask.flatten(1), strict=True):
        total = total - torch.log((torch.softmax(row, dim=0) * m).sum())
    return total / len(scores)


def dense_loss(p_dense, masks):
    """Binary cross-entropy of the dense prompt's logits with the area-averaged mask."""
    return cross_entropy(p_dense, area_average(masks, p_dense.shape[-2:])[:, None])
