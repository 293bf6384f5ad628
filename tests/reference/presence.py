"""The losses on SAM's scores, pixel by pixel."""

import math

import torch


def iou(logits, mask):
    """(H, W) logits and bool: intersection over union of logits > 0 and the mask, 0 of nothing."""
    both = either = 0
    for x, y in zip(logits.flatten().tolist(), mask.flatten().tolist(), strict=True):
        both += x > 0 and bool(y)
        either += x > 0 or bool(y)
    return both / either if either else 0.0


def predicted_iou_loss(score, logits, masks, present):
    """Mean over the sentences with a target of (s - IoU)^2."""
    errors = [
        (s - iou(x, y)) ** 2 for s, x, y, there in zip(score, logits, masks, present) if there
    ]
    return sum(errors) / len(errors) if errors else 0.0 * score.sum()


def presence_loss(score, present):
    """Mean over the sentences of -log p where there is a target, -log (1 - p) where not."""
    total = 0.0
    for s, there in zip(score, present, strict=True):
        p = 1 / (1 + torch.exp(-s))
        total = total - torch.log(p if there else 1 - p)
    return total / len(score)


def logit(p):
    """log(p / (1 - p))."""
    return math.log(p / (1 - p))
