"""The response loss and the loss on Eq. 5's attention, cell by cell."""

import math

import torch


def depths(area):
    """(h, w) -> {(i, j): sum over k = 0, 1, ... of the least area within k rows and columns}, the
    area beyond the map being 0."""
    height, width = area.shape
    found = {}
    for i in range(height):
        for j in range(width):
            total, k = 0.0, 0
            while True:
                inside = i >= k and j >= k and i + k < height and j + k < width
                window = area[max(i - k, 0) : i + k + 1, max(j - k, 0) : j + k + 1]
                least = min(float(x) for x in window.flatten()) if inside else 0.0
                if least == 0:
                    break
                total, k = total + least, k + 1
            found[i, j] = total
    return found


def parts(area):
    """The connected parts of the covered cells, corners included: a list of sets of (i, j)."""
    left = {(int(i), int(j)) for i, j in (area > 0).nonzero()}
    found = []
    while left:
        part, pending = set(), [left.pop()]
        while pending:
            i, j = pending.pop()
            part.add((i, j))
            near = {(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)} & left
            left -= near
            pending += near
        found.append(part)
    return found


def centre(area):
    """The cells at least half as deep as the deepest of their part."""
    depth, found = depths(area), set()
    for part in parts(area):
        deepest = max(depth[cell] for cell in part)
        found |= {cell for cell in part if depth[cell] >= deepest / 2}
    return found


def background(area, margin):
    """The cells more than `margin` rows or columns from each covered one."""
    covered = [cell for part in parts(area) for cell in part]
    return {
        (i, j)
        for i in range(area.shape[0])
        for j in range(area.shape[1])
        if all(max(abs(i - a), abs(j - b)) > margin for a, b in covered)
    }


def negatives(area, others):
    """The centres of the others that the target does not touch."""
    return {(i, j) for i, j in centre(others) if area[i, j] == 0}


def mean_of_softplus(p, cells, sign):
    """Mean over the sentences that have cells, of the mean over them of log(1 + exp(sign p))."""
    means = [
        sum(torch.log1p(torch.exp(sign * row[i, j])) for i, j in of) / len(of)
        for row, of in zip(p, cells, strict=True)
        if of
    ]
    return sum(means) / len(means) if means else 0.0 * p.sum()


def attention_map(q, k, read):
    """q (heads, N, d), k (heads, M, d), the numbers of the keys that are read -> (N,): the mean
    over heads and keys of q_n . k_j / sqrt(d)."""
    rows = []
    for n in range(q.shape[1]):
        scores = [
            (q[h, n] * k[h, j]).sum() / math.sqrt(q.shape[2])
            for h in range(q.shape[0])
            for j in read
        ]
        rows.append(sum(scores) / len(scores))
    return torch.stack(rows)


def attention_loss(scores, area):
    """Mean over the sentences with a mask of -sum_n q_n log(e^a_n / sum_m e^a_m)."""
    losses = []
    for a, share in zip(scores, area.flatten(1), strict=True):
        if share.sum() > 0:
            p = torch.exp(a) / torch.exp(a).sum()
            losses.append(-sum(s / share.sum() * torch.log(x) for s, x in zip(share, p)))
    return sum(losses) / len(losses)
