"""Which words belong to which patches, and to hold in t_sent what was said: what image and text towers
are pretrained to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...dataprep.expressions import relations
from ...models.data_preprocessor import ModelInputs, RefSegDataPreprocessor
from ...models.losses.alignment import masked_mean
from ...models.symbols import Targets
from ...models.towers.tokenizers import write_word_tokenizer
from ..generation.language import CORNERS, EXTREMES, HALVES, Phrase, Relation
from ..generation.objects import CATEGORIES, COLOURS, SIZES
from ..generation.wording import vocabulary

POSITIONS = 24  # tokens of a sentence
Meaning = Phrase | Relation | relations.Phrase | relations.Relation
# The benchmarks' category names and commonest words, so that their sentences are not all <unk>.
BENCHMARK_WORDS = """
    a an and area baseball basketball bikeway bridge bus chimney container court crane dam diamond
    driving edge expressway far field from golf green ground gray grey harbor has helicopter
    impervious in it its image low lower marking middle next of on orange overpass pink positioned
    road round service sidewalk situated soccer station surface swimming tank toll track trailer
    train tree truck upper van vegetation which with , . -
    biggest farthest largest smallest north south east west""".split()


class PointingPretraining(nn.Module):
    """Contrast of sentences with the patches under their masks, and of patches with sentences.

    Beside it a linear layer reads the words that matter from t_sent (`Reading`): by images alone
    t_sent learns what most sentences need, and drops the anchor for good.

    A subclass makes `towers`, their `patch_embedding`, `grid_size` and `preprocess`, calls
    `add_losses`, and gives `patches`, `sentences`, `scale_and_bias` and `save`.
    """

    grid_size: tuple[int, int]
    preprocess: RefSegDataPreprocessor

    def add_losses(self, width: int, *, reading: float, categories: Sequence[str]) -> None:
        """What the losses learn beside the towers, whose features have `width` channels."""
        self.temperature = nn.Parameter(torch.tensor(-math.log(0.07)))
        self.reading, self.reading_weight = Reading(width, categories), reading

    @property
    def towers(self) -> nn.Module:
        """What is kept."""
        raise NotImplementedError

    @property
    def patch_embedding(self) -> nn.Conv2d:
        """The image tower's first layer."""
        raise NotImplementedError

    def patches(self, images: Tensor) -> Tensor:
        """(U, 3, S, S) normalised -> (U, N, C), rows of the grid first."""
        raise NotImplementedError

    def sentences(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """ids (B, L), lengths (B,) -> (B, C)."""
        raise NotImplementedError

    def scale_and_bias(self) -> tuple[Tensor, Tensor]:
        """What makes a cosine the logit of a patch and a sentence."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write the towers in the hub's format."""
        raise NotImplementedError

    def images(self, images: list[Tensor]) -> Tensor:
        """uint8 (3, H, W) -> (U, 3, image_size, image_size), normalised."""
        return self.preprocess.images(images)[0]

    def to(self, device: str) -> PointingPretraining:
        """mmengine's preprocessor does not follow its owner."""
        self.preprocess.to(device)
        return super().to(device)

    def features(self, inputs: ModelInputs) -> tuple[Tensor, Tensor]:
        """-> the image's patches (B, N, C) and t_sent (B, C), L2-normed."""
        v = F.normalize(self.patches(inputs.images_siglip), dim=-1)
        t_sent = F.normalize(self.sentences(inputs.input_ids, inputs.lengths), dim=-1)
        return v[inputs.image_index], t_sent

    def forward(self, batch: dict) -> dict[str, Tensor]:
        """A batch of `questions` -> `contrast`, `patches`, `softmax`, `reading`: losses."""
        data = self.preprocess(batch, True)
        inputs, targets = data['inputs'], _targets(data)
        v, t_sent = self.features(inputs)
        area = targets.area(self.grid_size).flatten(1)
        same = (inputs.image_ids[:, None] == inputs.image_ids[None]) & (
            area[:, None] == area[None]
        ).all(-1)
        scale, bias = self.scale_and_bias()
        logits = scale * torch.einsum('bnd,bd->bn', v, t_sent) + bias
        meanings = [sample.meaning for sample in data['data_samples']]
        return {
            'contrast': 0.25
            * even_contrast(masked_mean(v, area), t_sent, self.temperature.exp(), same),
            'patches': F.binary_cross_entropy_with_logits(logits, area),
            'softmax': 0.5 * F.cross_entropy(logits, area / area.sum(1, keepdim=True)),
            'reading': self.reading_weight * self.reading(t_sent, meanings),
        }


def even_contrast(v_object: Tensor, t: Tensor, scale: Tensor, positive: Tensor) -> Tensor:
    """Eq. 12 with several positives a row, over which its target is spread evenly.

    Args:
        as of `sample_contrast`, which takes them out of each other's denominators instead.
    """
    logits = scale * v_object @ t.T
    share = positive / positive.sum(1, keepdim=True)
    return (F.cross_entropy(logits, share) + F.cross_entropy(logits.T, share)) / 2


class Reading(nn.Module):
    """What a sentence says, from t_sent by one linear layer.

    Category, colour, size and place of the target, the relation, and the same four of the anchor;
    each is one of WORDS or nothing. A superlative beside a place counts as the size.

    Args:
        width: channels of t_sent.
        categories: further ones than SynthRS's, of photographs.
    """

    WORDS = (
        None,
        *CATEGORIES,
        *COLOURS,
        *SIZES,
        *HALVES,
        *CORNERS,
        *EXTREMES,
        'above',
        'below',
        'closest',
        'largest',
        'smallest',
    )
    PARTS = 9

    def __init__(self, width: int, categories: Sequence[str] = ()) -> None:
        super().__init__()
        self.scale = math.sqrt(width)  # to channels of variance 1
        known = dict.fromkeys((*self.WORDS, *categories))
        self.number = {word: number for number, word in enumerate(known)}
        self.words = nn.Linear(width, self.PARTS * len(self.number))

    def forward(self, t_sent: Tensor, meanings: Sequence[Meaning]) -> Tensor:
        """t_sent (B, d1), L2-normed -> mean over sentences of the parts' summed cross-entropy."""
        logits = self.words(t_sent * self.scale).unflatten(1, (self.PARTS, -1))
        said = torch.tensor(
            [[self.number[word] for word in self.parts(meaning)] for meaning in meanings],
            device=t_sent.device,
        )
        return F.cross_entropy(logits.flatten(0, 1), said.flatten()) * self.PARTS

    @classmethod
    def parts(cls, meaning: Meaning) -> tuple[str | None, ...]:
        """The words of a meaning, in the order above; None where nothing is said."""
        if isinstance(meaning, Relation):
            return (*meaning.target, meaning.relation, *meaning.anchor)
        if isinstance(meaning, relations.Relation):
            target = (meaning.category, None, None, None)
            return (*target, meaning.where, *cls._phrase(meaning.anchor))
        return (*cls._phrase(meaning), None, None, None, None, None)

    @staticmethod
    def _phrase(phrase: Phrase | relations.Phrase) -> tuple[str | None, ...]:
        if isinstance(phrase, Phrase):
            return tuple(phrase)
        return phrase.category, None, phrase.most, phrase.place


def write_words(folder: Path) -> int:
    """SynthRS's and the benchmarks' words as a tokenizer in `folder`; how many ids it has."""
    return write_word_tokenizer(folder, dict.fromkeys([*vocabulary(), *BENCHMARK_WORDS]))


def _targets(data: dict) -> Targets:
    return Targets([s.gt_mask for s in data['data_samples']], data['inputs'].image_ids)
