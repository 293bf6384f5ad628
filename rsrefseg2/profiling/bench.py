"""Where a model's time goes, in prediction and in training, and what the levers spare.

Every figure is the median of several passes. A part's share of the peak is its FLOP a second over
what the same device reaches with one large matrix product of the same precision, measured in the
same process, so that machines can be compared.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..models import RSRefSeg2
from ..models.losses.segmentation import upsample
from ..models.rsrefseg2 import require_rsrefseg2
from ..models.symbols import EncodedImages, RefSegOutputs, Targets
from ..models.towers.plain_forms import plain_forms
from ..models.zero_shot.zero_shot_model import refuse_zero_shot
from ..registry import MODELS, SCOPE
from .complexity import build_on_meta, count_flops
from .kept_memory import StepMemory, count_step, nbytes
from .machine import Clock, matmul_peak, peak_memory, reset_peak
from .recompute_choice import units_in
from .step_watch import StepWatch
from .training_flops import count_training_flops

WORD = 'a ship on the upper left of the storage tank number'  # and a number: sentences differ
STATES = 12  # bytes of a gradient and AdamW's two moments
# lever -> config keys; `plain` has every layer in its equation's written form
LEVERS: dict[str, dict[str, Any]] = {
    'plain': {},
    'eager': {},
    'bf16': {'model.autocast': 'bfloat16'},
    'bf16 weights': {'model.autocast': 'bfloat16', 'model.frozen_dtype': 'bfloat16'},
    'compiled': {'model.compile_blocks': 'inductor'},
    'bf16 compiled': {
        'model.autocast': 'bfloat16',
        'model.frozen_dtype': 'bfloat16',
        'model.compile_blocks': 'inductor',
    },
    'stages 1-2 again': {'model.sam.recompute': [1, 2]},
    'SAM again': {'model.sam.recompute': True},
    'SigLIP again': {'model.siglip.vision_recompute': True},
    'all again': {
        'model.sam.recompute': True,
        'model.siglip.vision_recompute': True,
        'model.siglip.text_recompute': True,
    },
    'bf16 all again': {
        'model.autocast': 'bfloat16',
        'model.frozen_dtype': 'bfloat16',
        'model.sam.recompute': True,
        'model.siglip.vision_recompute': True,
        'model.siglip.text_recompute': True,
    },
    'bf16 towers': {'model.prediction_dtype': 'bfloat16'},
    'int8 towers': {'model.prediction_dtype': 'int8'},
    'graphs': {'model.cuda_graphs': True},
    'bf16 towers graphs': {'model.prediction_dtype': 'bfloat16', 'model.cuda_graphs': True},
}


class Part(NamedTuple):
    """One part of a pass."""

    name: str
    seconds: float  # median
    flop: int | None  # counted ones; None: elementwise work alone
    share: float | None  # of the measured peak, 0 to 1


class Work(NamedTuple):
    """What a pass works on."""

    images: list[Tensor]  # U uint8 (3, H, W)
    sentences: list[str]  # B
    image_index: Tensor  # (B,)


def make_work(images: int, sentences: int, side: int, device: torch.device) -> Work:
    """U different pictures of noise and B different sentences, spread over the pictures."""
    order = torch.Generator().manual_seed(0)
    pictures = [
        torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=order)
        for _ in range(images)
    ]
    return Work(
        pictures,
        [f'{WORD} {k}' for k in range(sentences)],
        torch.arange(sentences, device=device) % images,
    )


def build_model(config: Config, lever: str, device: torch.device) -> RSRefSeg2:
    """The config's model with random weights and a lever's keys, the same weights each time."""
    refuse_zero_shot(config.model, 'whose parts are not counted')
    changed = copy.deepcopy(config)
    changed.merge_from_dict({'model.init': 'random', **LEVERS[lever]})
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = MODELS.build(changed.model).to(device)
    require_rsrefseg2(model, 'a bench')
    return model


def predict(model: RSRefSeg2, work: Work, clock: Clock) -> list[Tensor]:
    """One prediction: B masks' logits at the pictures' size."""
    device = clock.device
    with torch.no_grad(), model.precision(device):
        with clock('preprocess'):
            where, how = model.data_preprocessor.images(work.images)
            ids, lengths = model.data_preprocessor.tokenize(work.sentences)
        outputs = _forward(model, where, how, ids, lengths, work.image_index, clock)
        shapes = [tuple(work.images[k].shape[-2:]) for k in work.image_index.tolist()]
        with clock('upsampling'):
            return [
                upsample(logits[None], shape)[0]
                for logits, shape in zip(outputs.mask_logits, shapes, strict=True)
            ]


def train_step(
    model: RSRefSeg2,
    work: Work,
    optimizer: torch.optim.Optimizer,
    clock: Clock,
    watch: StepWatch | None = None,
) -> None:
    """One optimisation step towards boxes in the middle of the pictures."""
    device = clock.device
    with clock('preprocess'):
        where, how = model.data_preprocessor.images(work.images)
        ids, lengths = model.data_preprocessor.tokenize(work.sentences)
    with watch.forward() if watch else nullcontext():
        with model.precision(device):
            outputs = _forward(model, where, how, ids, lengths, work.image_index, clock)
        with clock('losses'):
            masks = [_box(work.images[k], device) for k in work.image_index.tolist()]
            losses = model.loss(outputs, Targets(masks, work.image_index))
            total = torch.stack([value.sum() for value in losses.values()]).sum()
    del outputs, losses
    with clock('backward'):
        total.backward()
    if watch:
        watch.after_backward()
    with clock('optimizer'):
        optimizer.step()
        optimizer.zero_grad()


def _box(image: Tensor, device: torch.device) -> Tensor:
    height, width = image.shape[-2:]
    mask = torch.zeros(height, width, dtype=torch.bool, device=device)
    mask[height // 4 : height // 2, width // 4 : width // 2] = True
    return mask


def _forward(
    model: RSRefSeg2,
    where: Tensor,
    how: Tensor,
    ids: Tensor,
    lengths: Tensor,
    index: Tensor,
    clock: Clock,
) -> RefSegOutputs:
    """`RSRefSeg2.encode_images` and `segment`, timed by part."""
    encoder, generator = model.encoder, model.mask_generator
    with clock('SigLIP image'):
        v = encoder.encode_images(where)
    with clock('SAM image'):
        embeddings, maps = generator.encode_images(how)
    with clock('SigLIP text'):
        text = encoder.encode_text(ids, lengths)
    with clock('prompter'):
        prompts = model.prompter(v[index], text)
    with clock('decoder'):
        logits = generator(embeddings, maps, prompts.p_sparse, prompts.p_dense, index)
    images = EncodedImages(v, embeddings, maps)
    return RefSegOutputs(
        images, index, text, prompts, logits, generator.input_size, encoder.grid_size
    )


def flop_by_part(config: Config, work: Work, *, training: bool) -> dict[str, int]:
    """Counted FLOP of a pass: the forward parts, and in training `backward` as what is beyond."""
    model = build_on_meta(config.model.to_dict())
    images, sentences = len(work.images), len(work.sentences)
    one = count_flops(model)
    counts = {
        'SigLIP image': images * one['vision_tower'],
        'SAM image': images * one['sam_image_encoder'],
        'SigLIP text': sentences * one['text_tower'],
        'prompter': sentences * one['prompter'],
        'decoder': sentences * one['sam_mask_decoder'],
    }
    if training:
        both = count_training_flops(model)
        whole = images * both.image + sentences * both.sentence
        counts['backward'] = whole - sum(counts.values())
    return counts


def parts_of(clock: Clock, flop: Mapping[str, int], peak: float) -> list[Part]:
    """The clock's parts with their FLOP and their shares of the peak, and `total`."""
    medians = clock.medians()
    rows = [(name, seconds, flop.get(name)) for name, seconds in medians.items()]
    rows.append(('total', sum(medians.values()), sum(flop.values())))
    return [
        Part(name, seconds, count, None if count is None else count / seconds / peak)
        for name, seconds, count in rows
    ]


def peak_of(lever: str, device: torch.device) -> float:
    """FLOP a second of a matrix product in a lever's precision, measured once a process."""
    half = 'bfloat16' in LEVERS[lever].values()
    return _peak(torch.bfloat16 if half else torch.float32, device)


@functools.cache
def _peak(dtype: torch.dtype, device: torch.device) -> float:
    return matmul_peak(device, dtype)


class Result(NamedTuple):
    """What a lever does."""

    lever: str
    parts: list[Part]
    memory: int  # bytes at the peak; of a CPU with all that the process holds
    weights: int  # bytes of all of them
    kept: int | None  # bytes from the forward to the backward pass; None: prediction
    states: int | None  # bytes of gradients and optimizer
    ratio: float  # the first lever's seconds over these
    largest_difference: float | None  # of the logits, relative to the first's; None: training
    agreement: float | None  # intersection over union of the masks with the first's
    faults: list[str]  # of `StepWatch`


def bench(
    config: Config,
    work: Work,
    device: torch.device,
    *,
    levers: Sequence[str],
    training: bool = False,
    repeats: int = 5,
    check: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Result]:
    """The levers one after the other; each is compared with the first.

    Args:
        check: look through the gradients and the frozen weights of each training step.
        tell: is told each lever before its passes.
    Raises:
        KeyError: a lever that is none of `LEVERS`.
    """
    results: list[Result] = []
    first: list[Tensor] = []
    for lever in dict.fromkeys(levers):
        tell(lever)
        peak = peak_of(lever, device)
        model, clock = build_model(config, lever, device), Clock(device)
        watch = StepWatch(model, check=check) if training else None
        reset_peak(device)
        with plain_forms(lever == 'plain'):
            flop = flop_by_part(config, work, training=training)
            logits = run(model, work, clock, passes=repeats + 1, watch=watch)
        parts = parts_of(clock, flop, peak)
        first = first or logits
        kept, states = (watch.kept, watch.states) if watch else (None, None)
        difference, agreement = compare(logits, first)
        results.append(
            Result(
                lever,
                parts,
                peak_memory(device),
                nbytes(model.parameters()),
                kept,
                states,
                (results[0].parts if results else parts)[-1].seconds / parts[-1].seconds,
                difference,
                agreement,
                watch.faults if watch else [],
            )
        )
        del model, watch
    return results


def run(
    model: RSRefSeg2, work: Work, clock: Clock, *, passes: int, watch: StepWatch | None = None
) -> list[Tensor]:
    """Several predictions, of which the last one's logits are given; with `watch` training steps."""
    logits: list[Tensor] = []
    if watch is None:
        model.eval().for_prediction()
        for _ in range(passes):
            logits = predict(model, work, clock)
        return logits
    model.train()
    optimizer = make_optimizer(model)
    for done in range(passes):
        train_step(model, work, optimizer, clock, watch)
        if not done:
            reset_peak(clock.device)  # counting holds memory
    watch.finish(optimizer)
    return []


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW of what is trained, as a measured step uses it."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-5, fused=True)


class Counted(NamedTuple):
    """The memory of a training step with a lever, counted without data; bytes."""

    lever: str
    weights: int
    kept: int
    largest: int  # more while the largest layer is computed again
    states: int


def count_levers(
    config: Config, images: int, sentences: int, side: int, *, levers: Sequence[str]
) -> list[Counted]:
    """What `bench` measures of memory, at any size and without data (`count_step`)."""
    found, words = [], len(WORD.split()) + 1
    steps: dict[tuple, StepMemory] = {}  # one count for all levers that differ in `recompute` alone
    for lever in dict.fromkeys(levers):
        changed = copy.deepcopy(config)
        changed.merge_from_dict(LEVERS[lever])
        others = (item for item in LEVERS[lever].items() if 'recompute' not in item[0])
        key = lever == 'plain', *others
        if key not in steps:
            with plain_forms(lever == 'plain'):
                steps[key] = count_step(changed.model, images, sentences, words=words, side=side)
        step = steps[key]
        again = units_in(changed.model, dict.fromkeys(layer.unit for layer in step.layers))
        parts = step.weights, step.kept(again), step.largest_again(again), STATES * step.trained
        found.append(Counted(lever, *parts))
    return found


def compare(
    logits: Sequence[Tensor], first: Sequence[Tensor]
) -> tuple[float, float] | tuple[None, None]:
    """`relative_difference` and `agreement_of`; of training steps, which give no logits, None."""
    if not logits:
        return None, None
    return relative_difference(logits, first), agreement_of(logits, first)


def relative_difference(logits: Sequence[Tensor], plain: Sequence[Tensor]) -> float:
    """The largest difference of two lists of logits over the second's largest value."""
    largest = max(float(one.abs().max()) for one in plain)
    return max(
        float((one.float() - other).abs().max()) for one, other in zip(logits, plain, strict=True)
    ) / max(largest, 1e-12)


def agreement_of(logits: Sequence[Tensor], plain: Sequence[Tensor]) -> float:
    """Intersection over union of all masks together; 1 where all are empty."""
    both = sum(int(((a > 0) & (b > 0)).sum()) for a, b in zip(logits, plain, strict=True))
    either = sum(int(((a > 0) | (b > 0)).sum()) for a, b in zip(logits, plain, strict=True))
    return both / either if either else 1.0
