"""What a linear map, fitted to one split and measured on another, can read off each stage of the
cascade: where a patch lies, which patches are the target's, which words of place were said, and
which two objects a relation names.

A probe is ridge regression with an intercept on standardised features. It says what is there, not
what the layers after it use.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..evaluation import kind as kind_of
from ..evaluation import score_table
from ..models import RSRefSeg2
from ..models.symbols import RefSegOutputs, Targets
from ..structures import RefSegDataSample
from ..synthrs.generation.wording import NAMES
from .interventions import dense_of

PLACE_WORDS = (
    'left',
    'right',
    'top',
    'bottom',
    'center',
    'middle',
    'upper',
    'lower',
    'leftmost',
    'rightmost',
    'topmost',
    'bottommost',
    'above',
    'below',
    'under',
    'closest',
    'nearest',
)
KINDS = ('attribute', 'position', 'relation')
NAMED = ('target', 'anchor')
RARE = 0.01  # words that fewer sentences of either split have are not asked for
Scenes = Iterable[tuple[RefSegOutputs, list[RefSegDataSample]]]


class Read(NamedTuple):
    """One scene of B sentences as the probes see it."""

    maps: dict[str, Tensor]  # stage -> (B, h1*w1, d)
    texts: dict[str, Tensor]  # stage -> (B, d)
    dense: Tensor  # (B, H2/4, W2/4)
    area: Tensor  # (B, h1*w1): share of each patch that the target covers
    dense_area: Tensor  # (B, H2/4, W2/4): the same for the dense prompt's cells
    position: Tensor  # (h1*w1, 2): x, y of the patches' centres, 0 to 1
    words: Tensor  # (B, len(PLACE_WORDS)): 1 where the sentence has the word
    named: Tensor  # (B, 2) int64: `named_objects`
    kinds: list[str]


class Ridge:
    """Y ~ X W + b, from sums: nothing of X is kept.

    Minimises |Y - X W - b|^2 + n strength |W|^2 with X standardised, n its rows, b free.
    """

    def __init__(self, strength: float = 1e-4) -> None:
        self.strength = strength
        self._sums: list[Tensor] | None = None

    def add(self, x: Tensor, y: Tensor) -> None:
        """x (n, d), y (n, k)."""
        x, y = x.double(), y.double()
        new = [x.new_tensor(len(x)), x.sum(0), y.sum(0), x.T @ x, x.T @ y]
        self._sums = new if self._sums is None else [a + b for a, b in zip(self._sums, new)]

    def solve(self) -> None:
        """Once all rows are added."""
        if self._sums is None:
            raise ValueError('no rows were added: nothing to fit')
        n, x, y, xx, xy = self._sums
        self._mean, self._target = x / n, y / n
        covariance = xx / n - torch.outer(self._mean, self._mean)
        self._std = covariance.diagonal().clamp(min=1e-12).sqrt()
        gram = covariance / torch.outer(self._std, self._std)
        right = (xy / n - torch.outer(self._mean, self._target)) / self._std[:, None]
        self._w = torch.linalg.solve(gram + self.strength * torch.eye(len(gram)).to(gram), right)

    def __call__(self, x: Tensor) -> Tensor:
        """x (..., d) -> (..., k)."""
        return (x.double() - self._mean) / self._std @ self._w + self._target


def read_stages(model: RSRefSeg2, scenes: Scenes) -> Iterator[Read]:
    """Scenes as `interventions.run_scenes` gives them."""
    h1, w1 = model.encoder.grid_size
    y, x = torch.meshgrid(
        (torch.arange(h1) + 0.5) / h1, (torch.arange(w1) + 0.5) / w1, indexing='ij'
    )
    position = torch.stack([x, y], -1).flatten(0, 1)
    for outputs, samples in scenes:
        prompts, text = outputs.prompts, outputs.text
        grid = prompts.v2_act.transpose(1, 2).unflatten(2, (h1, w1))
        with torch.inference_mode():
            convolved = model.prompter.dense.conv(grid).flatten(2).transpose(1, 2)
        words = text.word_mask[..., None]
        found = {
            'v': outputs.images.v[outputs.image_index],
            'v1_act': prompts.v1_act,
            'v2_act': prompts.v2_act,
            'Conv(v2_act)': convolved,
        }
        vectors = {
            't_sent': text.t_sent,
            't_word, mean': (text.t_word * words).sum(1) / words.sum(1),
            **{
                name: getattr(prompts, name).flatten(1)
                for name in ('t1', 't2', 't1_act', 't2_act')
                if prompts.t2 is not None
            },
        }
        dense = dense_of(prompts)
        add_border = model.data_preprocessor.add_border
        targets = Targets([add_border(sample.gt_mask.cpu()) for sample in samples], None)
        said = [set(sample.text.lower().split()) for sample in samples]
        yield Read(
            {name: value.float().cpu() for name, value in found.items() if value is not None},
            {name: value.float().cpu() for name, value in vectors.items()},
            dense.float().cpu(),
            targets.area((h1, w1)).flatten(1),
            targets.area((dense.shape[-2], dense.shape[-1])),
            position,
            torch.tensor([[float(word in words) for word in PLACE_WORDS] for words in said]),
            torch.tensor([named_objects(sample.text) for sample in samples]),
            [kind_of(sample.text) for sample in samples],
        )


def named_objects(text: str) -> tuple[int, int]:
    """The categories, by their place in NAMES, that a relation names first and last: its target's
    and its anchor's; (-1, -1) for other sentences, and where it names fewer than two."""
    found = [
        (place.start(), index)
        for index, names in enumerate(NAMES.values())
        for place in re.finditer(rf'\b(?:{"|".join(names)})\b', text.lower())
    ]
    if kind_of(text) != 'relation' or len(found) < 2:
        return -1, -1
    return min(found)[1], max(found)[1]


def probe(fit: Iterable[Read], measure: Iterable[Read]) -> dict[str, Any]:
    """Fit every probe to one split, measure on the other.

    Returns:
        'position': stage -> R^2 of the patches' x and y, their mean, in percent;
        'target': stage -> {'all' and each kind of expression: percentage of sentences whose highest
        patch (of the dense prompt itself: cell) has a part of the target}; 'chance': of any patch;
        'words': stage -> {'all' and each word: area under the ROC curve, in percent};
        'named': stage -> {'target', 'anchor': percentage of relations of which the category is
        read}; 'most frequent': of those that say the most frequent one. Empty where either split
        has no relation of two known objects.
    """
    probes, frequent = _fit(fit)
    found = _measure(probes, measure)
    asked = [
        i
        for i in range(len(PLACE_WORDS))
        if min(frequent[:, i].mean(), found.words[:, i].mean()) >= RARE
    ]
    return {
        'position': {
            name: 100 * float((1 - errors / found.variance).mean())
            for name, errors in found.errors.items()
        },
        'target': {name: _by_kind(hits, found.kinds) for name, hits in found.hits.items()},
        'words': {
            name: _by_word(scores, found.words, asked) for name, scores in found.scores.items()
        },
        'named': _by_part(found.read, found.named),
    }


class _Probes(NamedTuple):
    """By stage, a probe for each question."""

    position: dict[str, Ridge]
    target: dict[str, Ridge]
    words: dict[str, Ridge]
    named: dict[str, Ridge]


class _Measured(NamedTuple):
    """What the probes read off a split of N sentences, R of them with two named objects."""

    errors: dict[str, Tensor]  # stage -> (2,): mean squared error of x and y
    variance: Tensor  # (2,): of the patches' x and y
    hits: dict[str, Tensor]  # stage -> (N,): whether the highest patch has a part of the target
    scores: dict[str, Tensor]  # stage -> (N, len(PLACE_WORDS))
    words: Tensor  # (N, len(PLACE_WORDS)): 1 where the sentence has the word
    read: dict[str, Tensor]  # stage -> (R, 2) bool: whether the category was read
    named: Tensor  # (R, 2) int64
    kinds: list[str]  # N


def _fit(scenes: Iterable[Read]) -> tuple[_Probes, Tensor]:
    """The probes of one split, and its words (N, len(PLACE_WORDS))."""
    probes, words = _Probes({}, {}, {}, {}), []
    for scene in scenes:
        b = len(scene.kinds)
        for name, v in scene.maps.items():
            flat = v.flatten(0, 1)
            probes.position.setdefault(name, Ridge()).add(flat, scene.position.repeat(b, 1))
            probes.target.setdefault(name, Ridge()).add(flat, scene.area.flatten()[:, None])
        for name, t in scene.texts.items():
            probes.words.setdefault(name, Ridge()).add(t, scene.words)
            if (two := scene.named[:, 0] >= 0).any():
                answers = F.one_hot(scene.named[two], len(NAMES)).flatten(1)
                probes.named.setdefault(name, Ridge()).add(t[two], answers)
        words.append(scene.words)
    for by_stage in probes:
        for ridge in by_stage.values():
            ridge.solve()
    return probes, torch.cat(words)


def _measure(probes: _Probes, scenes: Iterable[Read]) -> _Measured:
    errors, hits, scores, read = (defaultdict(list) for _ in range(4))
    spread, words, named, kinds = [], [], [], []
    for scene in scenes:
        for name, v in scene.maps.items():
            error = (probes.position[name](v) - scene.position).square().mean((0, 1))
            errors[name].append(error)
            hits[name].append(_points_at(probes.target[name](v)[..., 0], scene.area))
        hits['p_dense'].append(_points_at(scene.dense.flatten(1), scene.dense_area.flatten(1)))
        hits['chance'].append((scene.area > 0).float().mean(1))
        spread.append((scene.position - 0.5).square().mean(0))
        for name, t in scene.texts.items():
            scores[name].append(probes.words[name](t))
        two = scene.named[:, 0] >= 0
        for name, ridge in probes.named.items():
            answers = ridge(scene.texts[name][two]).unflatten(1, (2, len(NAMES)))
            read[name].append(answers.argmax(2) == scene.named[two])
        words.append(scene.words)
        named.append(scene.named[two])
        kinds += scene.kinds

    def joined(by_stage: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat(parts) for name, parts in by_stage.items()}

    return _Measured(
        {name: torch.stack(parts).mean(0) for name, parts in errors.items()},
        torch.stack(spread).mean(0),
        joined(hits),
        joined(scores),
        torch.cat(words),
        joined(read),
        torch.cat(named),
        kinds,
    )


def _points_at(score: Tensor, area: Tensor) -> Tensor:
    """(B, N) twice -> (B,): whether the highest cell has a part of the target."""
    return (area.gather(1, score.argmax(1, keepdim=True))[:, 0] > 0).float()


def _by_kind(hits: Tensor, kinds: list[str]) -> dict[str, float]:
    found = {'all': 100 * float(hits.mean())}
    for kind in KINDS:
        chosen = torch.tensor([k == kind for k in kinds])
        if chosen.any():
            found[kind] = 100 * float(hits[chosen].mean())
    return found


def _by_word(scores: Tensor, said: Tensor, asked: list[int]) -> dict[str, float]:
    found = {PLACE_WORDS[i]: 100 * roc_area(scores[:, i], said[:, i] > 0) for i in asked}
    return {'all': sum(found.values()) / max(1, len(found)), **found}


def _by_part(read: dict[str, Tensor], named: Tensor) -> dict[str, dict[str, float]]:
    """Shares of right answers, (R, 2) bool a stage, beside those of the most frequent category."""
    if not read or not len(named):
        return {}
    read = {**read, 'most frequent': named == named.mode(0).values}
    return {
        name: dict(zip(NAMED, (100 * right.float().mean(0)).tolist(), strict=True))
        for name, right in read.items()
    }


def roc_area(scores: Tensor, positive: Tensor) -> float:
    """The probability that a positive scores above a negative, ties counting half.

    Args:
        scores: (n,).  positive: (n,) bool, some of each.
    """
    wins = scores[positive][:, None] - scores[~positive][None]
    return float(((wins > 0).double() + 0.5 * (wins == 0).double()).mean())


def probe_tables(result: dict[str, Any]) -> list[str]:
    """Text tables of `probe`."""
    position = {name: {'R^2': value} for name, value in result['position'].items()}
    tables = [
        score_table(position, 'Where a patch lies: R^2 of its x and y, %', columns=('R^2',)),
        score_table(
            result['target'],
            'The highest patch has a part of the target, % (p_dense: as it is, without a probe)',
            columns=tuple(result['target']['chance']),
        ),
        score_table(
            result['words'],
            'Was the word said: area under the ROC curve, %',
            columns=tuple(next(iter(result['words'].values()))),
        ),
    ]
    if result['named']:
        tables.append(
            score_table(
                result['named'],
                'Which category has the object that a relation names first, and last, %',
                columns=NAMED,
            )
        )
    return tables
