"""Where or how: the cause of a failure. The definition, frozen before it was measured.

A failure is a sample with IoU <= 0.5 at the original size: Pr@0.5 of the protocol `paper` does not
count it. The model points first (the dense prompt, Eq. 7) and draws then, so two things can fail.

With a dense prompt:

    c = coarse_localisation(p_dense, target)     did it point at the target?
    q = mask_agreement(p_dense, prediction)      did it draw what it pointed at?

    c >= tau_c              'how'        right place, wrong outline
    c <  tau_c, q >= tau_q  'where'      it drew well what it pointed at, which was elsewhere
    c <  tau_c, q <  tau_q  'both'       it pointed elsewhere, and did not draw that either
    c or q is None          'undecided'  no target, or nothing stands out in the dense prompt

Each threshold is the 2.5 % quantile of its score among the successes (IoU > 0.5) of another split
of the same model: a failure is put down to a part that did worse than in all but one of 40
successes. Two such thresholds call at most 5 % of that split's successes into doubt. They need no
labels but the masks, so they exist for every data set; and they are taken per model, because how
sharply a dense prompt points is learned.

Without a dense prompt, from the prediction alone:

    p = mask_localisation(prediction, target)

    p >= 0.5                'how'        most of what was drawn hangs together with the target
    p <  0.5                'where'
    p is None               'undecided'  an empty mask has no place

Here the threshold is the majority. What this cannot tell: 'both'; a mask that was moved farther
than the object is wide from a mask of something else; why a mask is empty.

Under protocol `generalised` a failure is a sample with IoU < 0.5, and two more causes come first:

    no target, a mask        'invented'  an empty mask of a sentence without a target is no failure
    a target, no mask        'lost'

Scores and quantile were chosen on SynthRS's val split. The first rule for predictions alone, the
larger of the two overlaps with a grown mask, took a mask of the target and of others for 'how'; it
was replaced after the totals of the test split's own failures had been seen, by a rule chosen on
val, before any intervention on the test split was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from ..errors import UserError
from .protocols import PROTOCOLS, Protocol

Cause = Literal['where', 'how', 'both', 'undecided', 'invented', 'lost']
CAUSES: tuple[Cause, ...] = ('where', 'how', 'both', 'undecided')
MORE_CAUSES: tuple[Cause, ...] = ('invented', 'lost')  # of protocol generalised
PAPER = PROTOCOLS['paper']
QUANTILE = 0.025  # of the successes of another split
MAJORITY = 0.5


class Thresholds(NamedTuple):
    """tau_c and tau_q of one model."""

    coarse_localisation: float
    mask_agreement: float
    successes: int  # that they were taken from
    source: str  # the dump or split of these


def fails(intersection: int, union: int, protocol: Protocol = PAPER) -> bool:
    """Whether the IoU does not pass 0.5: under `paper` it is at most that, and two empty masks
    fail."""
    return not protocol.passes(intersection, union, 5)


def cause_from_presence(record: Mapping[str, Any], protocol: Protocol) -> Cause | None:
    """'invented' or 'lost' of a failure (`area`, `intersection`, `union`); None where it is neither,
    and under other protocols than `generalised`."""
    if False in protocol.presence(record).values():
        return 'lost' if record['area'] else 'invented'
    return None


def cause_from_prompt(c: float | None, q: float | None, thresholds: Thresholds) -> Cause:
    """Of a failure, by coarse_localisation c and mask_agreement q."""
    if c is None or q is None:
        return 'undecided'
    if c >= thresholds.coarse_localisation:
        return 'how'
    return 'where' if q >= thresholds.mask_agreement else 'both'


def cause_from_masks(p: float | None) -> Cause:
    """Of a failure, by mask_localisation p alone."""
    if p is None:
        return 'undecided'
    return 'how' if p >= MAJORITY else 'where'


def fit_thresholds(
    records: Iterable[dict[str, Any]], source: str, protocol: Protocol = PAPER
) -> Thresholds:
    """The thresholds from the records of another split (`intersection`, `union`,
    `coarse_localisation`, `mask_agreement`).

    Raises:
        UserError: too few successes with both scores for a quantile of 2.5 %.
    """
    scores = np.array(
        [
            (record['coarse_localisation'], record['mask_agreement'])
            for record in records
            if not fails(record['intersection'], record['union'], protocol)
            and None not in (record.get('coarse_localisation'), record.get('mask_agreement'))
        ]
    ).reshape(-1, 2)
    if len(scores) * QUANTILE < 1:
        raise UserError(
            f'{source}: {len(scores)} samples with IoU > 0.5 and a dense prompt; '
            f'thresholds need {round(1 / QUANTILE)}: give a larger split, or '
            'attribute from the predictions alone'
        )
    c, q = np.quantile(scores, QUANTILE, axis=0)
    return Thresholds(float(c), float(q), len(scores), source)
