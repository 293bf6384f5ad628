"""Where a model's time goes, in prediction and in training, and what the levers spare.

Every figure is the median of several passes. A part's share of the peak is its FLOP a second over
what the same device reaches with one large matrix product of the same precision, measured in the
same process, so that machines can be compared.
"""

from __future__ import annotations

import copy
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from .training_flops import count_training_flops

WORD = 'a ship on the upper left of the storage tank number'  # and a number: sentences differ
# lever -> config keys; the first, in the equations' written forms, is what the others are compared with
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


def matmul_peak(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP a second of the fastest of several square matrix products."""
    best = 0.0
    for side in (512, 1024) if device.type == 'cpu' else (4096, 8192, 16384):
        first, second = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(repeats):
            start = now(device)
            first @ second
            seconds.append(now(device) - start)
        best = max(best, 2 * side**3 / min(seconds))
    return best


def now(device: torch.device) -> float:
    """Seconds, when all that was given to the device is done."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Clock:
    """Seconds by part, over several passes."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, dict[str, list[float]]()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = now(self.device)
        yield
        self.seconds.setdefault(name, []).append(now(self.device) - start)

    def medians(self) -> dict[str, float]:
        """The first pass, which warms up, is left out where there are more."""
        return {
            name: statistics.median(values[1:] or values) for name, values in self.seconds.items()
        }


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
    model: RSRefSeg2, work: Work, optimizer: torch.optim.Optimizer, clock: Clock
) -> None:
    """One optimisation step towards boxes in the middle of the pictures."""
    device = clock.device
    with clock('preprocess'):
        where, how = model.data_preprocessor.images(work.images)
        ids, lengths = model.data_preprocessor.tokenize(work.sentences)
    with model.precision(device):
        outputs = _forward(model, where, how, ids, lengths, work.image_index, clock)
    with clock('losses'):
        masks = [_box(work.images[k], device) for k in work.image_index.tolist()]
        losses = model.loss(outputs, Targets(masks, work.image_index))
        total = torch.stack([value.sum() for value in losses.values()]).sum()
    with clock('backward'):
        total.backward()
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


def peak_memory(device: torch.device) -> int:
    """Bytes: allocated on a GPU since the last reset, resident in this process on a CPU."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Result(NamedTuple):
    """What a lever does."""

    lever: str
    parts: list[Part]
    memory: int  # bytes at the peak; of a CPU of the process so far
    ratio: float  # plain's seconds over these
    largest_difference: float | None  # of the logits, relative to plain's largest; None: training
    agreement: float | None  # intersection over union of the masks with plain's


def bench(
    config: Config,
    work: Work,
    device: torch.device,
    *,
    levers: Sequence[str],
    training: bool = False,
    repeats: int = 5,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Result]:
    """The levers one after the other, `plain` first.

    Raises:
        KeyError: a lever that is none of `LEVERS`.
    """
    peaks: dict[bool, float] = {}
    results: list[Result] = []
    plain: list[Tensor] = []
    for lever in dict.fromkeys(['plain', *levers]):
        tell(lever)
        half = 'model.autocast' in LEVERS[lever]
        if half not in peaks:
            peaks[half] = matmul_peak(device, torch.bfloat16 if half else torch.float32)
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)
        model, clock = build_model(config, lever, device), Clock(device)
        with plain_forms(lever == 'plain'):
            flop = flop_by_part(config, work, training=training)
            logits = run(model, work, clock, training=training, passes=repeats + 1)
        parts = parts_of(clock, flop, peaks[half])
        plain = plain or logits
        first = results[0].parts[-1].seconds if results else parts[-1].seconds
        results.append(
            Result(
                lever,
                parts,
                peak_memory(device),
                first / parts[-1].seconds,
                None if training else relative_difference(logits, plain),
                None if training else agreement_of(logits, plain),
            )
        )
        del model
    return results


def run(model: RSRefSeg2, work: Work, clock: Clock, *, training: bool, passes: int) -> list[Tensor]:
    """Several passes; of a prediction the last one's logits."""
    if not training:
        model.eval()
        logits: list[Tensor] = []
        for _ in range(passes):
            logits = predict(model, work, clock)
        return logits
    model.train()
    optimizer = make_optimizer(model)
    for _ in range(passes):
        train_step(model, work, optimizer, clock)
    return []


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW of what is trained, as a measured step uses it."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-5, fused=True)


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
