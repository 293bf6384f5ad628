"""What the tiny towers are pretrained to do. SigLIP: which words belong to which patches, and to
hold in t_sent what was said. SAM: to draw what a point or a coarse mask points at. Their sizes and
what their weights start from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...dataprep.expressions import relations
from ...errors import UserError
from ...models.data_preprocessor import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ModelInputs,
    RefSegDataPreprocessor,
    normalise,
    squash,
)
from ...models.losses.alignment import masked_mean
from ...models.losses.segmentation import upsample
from ...models.mask_generator import MaskGenerator
from ...models.prompter.init import sine_positions
from ...models.symbols import Targets
from ...models.towers.load import load_siglip
from ...models.towers.tokenizers import write_word_tokenizer
from ..generation.language import CORNERS, EXTREMES, HALVES, Phrase, Relation
from ..generation.objects import CATEGORIES, COLOURS, SIZES
from ..generation.wording import vocabulary

POSITIONS, SAM_SIZE = 24, 192
Meaning = Phrase | Relation | relations.Phrase | relations.Relation
# The benchmarks' category names and commonest words, so that their sentences are not all <unk>.
BENCHMARK_WORDS = """
    a an and area baseball basketball bikeway bridge bus chimney container court crane dam diamond
    driving edge expressway far field from golf green ground gray grey harbor has helicopter
    impervious in it its image low lower marking middle next of on orange overpass pink positioned
    road round service sidewalk situated soccer station surface swimming tank toll track trailer
    train tree truck upper van vegetation which with , . -
    biggest farthest largest smallest north south east west""".split()

SIGLIP: dict[str, dict[str, Any]] = dict(
    vision_config=dict(vision_use_head=False),
    text_config=dict(
        num_hidden_layers=3,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    ),
)


def sam_config(size: int) -> dict[str, Any]:
    """The tiny SAM 2 for images of `size` x `size`, a multiple of 64; its weights fit every size."""
    return dict(
        model_type='sam2',
        vision_config=dict(
            backbone_config=dict(
                model_type='sam2_hiera_det_model',
                hidden_size=16,
                num_attention_heads=1,
                image_size=[size, size],
                patch_stride=[4, 4],
                blocks_per_stage=[1, 1, 2, 1],
                embed_dim_per_stage=[16, 32, 64, 128],
                num_attention_heads_per_stage=[1, 2, 4, 4],
                window_size_per_stage=[8, 8, size // 32, size // 32],
                global_attention_blocks=[3],
                window_positional_embedding_background_size=[8, 8],
            ),
            backbone_channel_list=[128, 64, 32, 16],
            backbone_feature_sizes=[[size // 4] * 2, [size // 8] * 2, [size // 16] * 2],
            fpn_hidden_size=64,
        ),
        prompt_encoder_config=dict(
            hidden_size=64, image_size=size, patch_size=16, mask_input_channels=16
        ),
        mask_decoder_config=dict(
            hidden_size=64,
            mlp_dim=256,
            num_attention_heads=4,
            attention_downsample_rate=1,
            iou_head_hidden_dim=64,
            iou_head_depth=3,
            dynamic_multimask_via_stability=False,
        ),
    )


def fan_in_init(module: nn.Module) -> None:
    """Linear and convolution weights of std 1/sqrt(fan in), embeddings of std 1.

    transformers' flat std of 0.02 suits wide towers; tiny ones hardly start to learn from it.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            fan_in = part.weight[0].numel()
            if isinstance(part, nn.ConvTranspose2d):
                fan_in = part.in_channels  # stride = kernel size: every output has one tap
            nn.init.trunc_normal_(part.weight, std=1 / math.sqrt(fan_in))
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight)


@torch.no_grad()
def whiten_patches(embedding: nn.Conv2d, images: Tensor) -> None:
    """Start a patch embedding from the principal components of patches, in a random mixture.

    Its outputs then have mean 0 and variance 1 over the patches that lie within `images` and are
    uncorrelated. Random filters mostly answer to details finer than a smooth patch has.

    Args:
        embedding: of at most as many channels as a patch has values.
        images: (U, 3, H, W), normalised for the tower.
    """
    size, width = embedding.kernel_size, embedding.out_channels
    patches = F.unfold(images, size, stride=embedding.stride).transpose(1, 2).flatten(0, 1)
    patches = patches.double()
    mean = patches.mean(0)
    variances, components = torch.linalg.eigh((patches - mean).T.cov(correction=0))
    variances, components = variances[-width:], components[:, -width:]
    mixture = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64)).Q
    weight = mixture @ (components / variances.clamp(min=1e-8).sqrt()).T
    embedding.weight.copy_(weight.view_as(embedding.weight))
    embedding.bias.copy_(-weight @ mean)


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


class SiglipPretraining(PointingPretraining):
    """`PointingPretraining` of a SigLIP.

    The image tower's position embeddings start from sines, as smooth as trained ones are: from
    random ones 'left of' takes hundreds to thousands of steps longer
    (projects/localisation_study/README.md).

    Args:
        folder: where tokenizer and config are written.
        patch_size, layers: of the image tower.
        width: channels of both towers, a multiple of 24, of which a head has 24.
        positions: what its position embeddings start from, 'sine' or 'random'.
        reading: weight of that reading.
        categories: further ones than SynthRS's, of photographs.

    Raises:
        UserError: `width` is no multiple of 24.
    """

    def __init__(
        self,
        folder: Path,
        *,
        image_size: int,
        patch_size: int = 16,
        layers: int = 3,
        width: int = 96,
        positions: Literal['sine', 'random'] = 'sine',
        reading: float = 0.2,
        categories: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if width < 24 or width % 24:
            raise UserError(f'--width must be a multiple of 24, got {width}')
        size = write_words(folder)
        wide = dict(hidden_size=width, intermediate_size=4 * width, num_attention_heads=width // 24)
        text = dict(SIGLIP['text_config'], **wide, projection_size=width, vocab_size=size)
        vision = dict(
            SIGLIP['vision_config'],
            **wide,
            image_size=image_size,
            patch_size=patch_size,
            num_hidden_layers=layers,
        )
        self.siglip = load_siglip(
            dict(model_type='siglip', vision_config=vision, text_config=text), init='random'
        )
        self.grid_size = (image_size // vision['patch_size'],) * 2
        self.siglip.config.save_pretrained(folder)
        fan_in_init(self.siglip)
        if positions == 'sine':
            place = self.siglip.vision_model.embeddings.position_embedding.weight.data
            place.copy_(math.sqrt(2) * sine_positions(self.grid_size, place.shape[1], longest=16))
        nn.init.constant_(self.siglip.logit_scale, math.log(10))
        nn.init.constant_(self.siglip.logit_bias, -2.0)
        self.add_losses(width, reading=reading, categories=categories)
        self.preprocess = RefSegDataPreprocessor(
            tokenizer=str(folder),
            init='pretrained',
            max_length=POSITIONS,
            size_siglip=image_size,
            size_sam=32,
        )  # I_2 is not read; smaller ones CUDA's filter has no room for

    @property
    def towers(self) -> nn.Module:
        """The SigLIP."""
        return self.siglip

    @property
    def patch_embedding(self) -> nn.Conv2d:
        """Of its image tower."""
        return self.siglip.vision_model.embeddings.patch_embedding

    def patches(self, images: Tensor) -> Tensor:
        """v of all patches."""
        return self.siglip.vision_model(pixel_values=images).last_hidden_state

    def sentences(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """t_sent."""
        return self.siglip.text_model(input_ids=input_ids).pooler_output

    def scale_and_bias(self) -> tuple[Tensor, Tensor]:
        """SigLIP's own."""
        return self.siglip.logit_scale.exp(), self.siglip.logit_bias

    def save(self, folder: Path) -> None:
        """One folder."""
        self.siglip.save_pretrained(folder)


def write_words(folder: Path) -> int:
    """SynthRS's and the benchmarks' words as a tokenizer in `folder`; how many ids it has."""
    return write_word_tokenizer(folder, dict.fromkeys([*vocabulary(), *BENCHMARK_WORDS]))


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


class SamPretraining(nn.Module):
    """A point inside the object, in 70 % of samples with a coarse mask -> the object's mask.

    Args:
        image_size: side of what SAM sees, a multiple of 64.
    Raises:
        UserError: it is none.
    """

    def __init__(self, image_size: int = SAM_SIZE) -> None:
        super().__init__()
        if image_size % 64:
            raise UserError(f'--image-size must be a multiple of 64 for sam2, got {image_size}')
        self.image_size = image_size
        self.generator = MaskGenerator(
            checkpoint=sam_config(image_size), init='random', trainable=True
        )
        self.sam = self.generator.sam
        fan_in_init(self.sam)
        self.sam.requires_grad_(True)
        # One Fourier matrix for prompts and image, as in the released checkpoints.
        matrix = self.sam.prompt_encoder.shared_embedding.positional_embedding.data
        self.sam.shared_image_embedding.positional_embedding.data.copy_(matrix)
        for embedding in (
            self.sam.prompt_encoder.shared_embedding,
            self.sam.shared_image_embedding,
        ):
            embedding.requires_grad_(False)

    def save(self, folder: Path) -> None:
        """One folder in the hub's format."""
        self.sam.save_pretrained(folder)

    def images(self, images: list[Tensor]) -> Tensor:
        """uint8 (3, H, W), equally large -> (U, 3, image_size, image_size), normalised."""
        stacked = torch.stack(images).to(self.sam.device).float() / 255
        size = (self.image_size, self.image_size)
        return normalise(squash(stacked, size), IMAGENET_MEAN, IMAGENET_STD)

    def forward(self, batch: dict) -> dict[str, Tensor]:
        """-> `ce`, `dice`: losses at the masks' own size; `iou`: of the prediction at 0."""
        device = self.sam.device
        masks = torch.stack([s.gt_mask for s in batch['data_samples']]).to(device).float()
        embeddings, high_resolution = self.generator.encode_images(self.images(batch['inputs']))
        index = batch['image_index'].to(device)
        logits = upsample(
            self.generator(
                embeddings[index],
                [feature[index] for feature in high_resolution],
                self._points(masks),
                self._coarse(masks),
            ),
            masks.shape[1:],
        )
        p = logits.sigmoid().flatten(1)
        flat = masks.flatten(1)
        dice = 1 - (2 * (p * flat).sum(1) + 1e-3) / (p.sum(1) + flat.sum(1) + 1e-3)
        hit = (logits > 0) & (masks > 0)
        either = (logits > 0) | (masks > 0)
        iou = (hit.sum((1, 2)) / either.sum((1, 2)).clamp(min=1)).mean()
        return {
            'ce': F.binary_cross_entropy_with_logits(logits, masks),
            'dice': dice.mean(),
            'iou': iou.detach(),
        }

    def _points(self, masks: Tensor) -> Tensor:
        """A random pixel of each mask as SAM's point embedding: (B, 2, d2), with its padding.

        Raises:
            ValueError: a mask is empty.
        """
        count = masks.flatten(1).cumsum(1)
        pixels = count[:, -1:]
        if not pixels.all():
            raise ValueError('a mask is empty: there is no point in it')
        drawn = (torch.rand(len(masks), 1, device=masks.device) * pixels).floor()
        drawn = torch.minimum(drawn, pixels - 1)  # the product may be rounded up to the last
        chosen = torch.searchsorted(count, drawn + 0.5)[:, 0]
        width = masks.shape[2]
        places = torch.stack([chosen % width, chosen // width], -1).float()
        points = (places + 0.5) * self.image_size / width - 0.5
        labels = torch.ones(len(masks), 1, 1, dtype=torch.int, device=masks.device)
        sparse, _ = self.sam.prompt_encoder(points[:, None, None], labels, None, None)
        return sparse[:, 0]

    def _coarse(self, masks: Tensor) -> Tensor:
        """Logits like a dense prompt's, (B, 48, 48): the mask at 12 x 12 with noise; none in 30 %."""
        grid = self.sam.prompt_encoder.image_embedding_size
        coarse = F.interpolate(masks[:, None], grid, mode='area')
        coarse = coarse / coarse.amax((2, 3), keepdim=True).clamp(min=1e-6)
        coarse = (coarse + 0.1 * torch.randn_like(coarse)) * 6 - 3
        logits = F.interpolate(coarse, self.generator.prompt_size, mode='bilinear')[:, 0]
        absent = torch.rand(len(masks), 1, 1, device=masks.device) < 0.3
        return logits.masked_fill(absent, 0.0)


def _targets(data: dict) -> Targets:
    return Targets([s.gt_mask for s in data['data_samples']], data['inputs'].image_ids)
