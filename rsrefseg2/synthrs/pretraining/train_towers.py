"""Tiny towers: SigLIP- and SAM2-shaped, trained on SynthRS, saved in the hub's folder format.

They keep the paper's premise at a small scale: the towers know something before the prompter is
trained, and are frozen then. SigLIP learns which words belong to which patches, contrastively; SAM
learns to draw what a point or a coarse mask points at. Neither sees the referring model.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import msgspec
import torch
import torch.nn.functional as F
from mmengine.dataset import DefaultSampler
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ...datasets import RRSISD, ImageGroupBatchSampler, unique_images_collate
from ...errors import UserError, make_folder
from ...files import open_regular, require_free, write_text
from ...models.towers.hub import weights_written
from ...records import read_json, to_json
from .lavt_task import LAVT_FOLDERS, LAVTPretraining
from .photographs import Photographs
from .pointing import pointing_game
from .pointing_task import PointingPretraining
from .questions import questions
from .sam_task import SamPretraining
from .siglip_task import SiglipPretraining
from .start_values import whiten_patches

RECORD = 'pretraining.jsonl'
# by tower
IMAGES = {'siglip': 12, 'lavt': 12, 'sam2': 4}
RATES = {'siglip': 2e-3, 'lavt': 2e-3, 'sam2': 1e-3}
FOLDER = ('config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json')
WRITTEN = (RECORD, *FOLDER, *(f'{part}/{name}' for part in LAVT_FOLDERS for name in FOLDER))


class Summary(msgspec.Struct):
    """summary.json of a SynthRS folder, as far as it is read here."""

    arguments: dict[str, Any]


class _Words(msgspec.Struct):
    vocab: dict[str, int]


class Tokenizer(msgspec.Struct):
    """tokenizer.json of a word-level tokenizer, as far as it is read here."""

    model: _Words


def training_scenes(data_root: Path) -> RRSISD:
    """The training split of a SynthRS folder, pictures and masks alone."""
    return RRSISD(
        data_root=str(data_root / 'rrsisd'),
        split='train',
        classes=None,
        pipeline=[dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')],
    )


def batches(dataset: RRSISD, *, images: int, sentences: int, seed: int) -> Iterator[dict]:
    """Endless batches of `images` scenes with up to `sentences` sentences each."""
    sampler = DefaultSampler(dataset, shuffle=True, seed=seed)
    groups = ImageGroupBatchSampler(
        sampler=sampler, batch_size=images * sentences, sentences_per_image=sentences
    )
    for epoch in itertools.count():
        groups.start_at(epoch)
        for indices in groups:
            yield unique_images_collate(dataset.__getitems__(indices))


def train(
    module: nn.Module, stream: Iterator[dict], *, steps: int, lr: float, log: Callable[[dict], None]
) -> None:
    """AdamW, warm-up of 100 steps, cosine to 2 %, clipping at 1; logs means every 100 steps."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            dict(params=[p for p in parameters if p.ndim > 1]),
            dict(params=[p for p in parameters if p.ndim < 2], weight_decay=0.0),
        ],
        lr=lr,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / 100, 0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2
        ),
    )
    seen: list[dict] = []
    start = time.perf_counter()
    for step in range(1, steps + 1):
        terms = module(next(stream))
        loss = sum(value for value in terms.values() if value.requires_grad)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        seen.append({name: float(value.detach()) for name, value in terms.items()})
        if step % 100 == 0 or step == steps:
            means = {name: round(sum(s[name] for s in seen) / len(seen), 4) for name in seen[0]}
            log(dict(step=step, seconds=round(time.perf_counter() - start, 1), **means))
            seen = []


def load_start(model: nn.Module, folder: Path, words: dict[str, int] | None = None) -> None:
    """Earlier weights; patch positions are interpolated where the image size has changed.

    words: the tokenizer's, word -> id, of a SigLIP: each takes the vector that it had; one that is
    new keeps its random one.
    """
    path, own = folder / 'model.safetensors', model.state_dict()
    open_regular(path, what='the weights to go on from').close()
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f'{path} cannot be read as weights ({" ".join(str(error).split())}): give '
            'another --start'
        ) from error
    name = 'vision_model.embeddings.position_embedding.weight'
    if name in own and name in state and len(state[name]) != len(own[name]):
        old, new = (math.isqrt(len(weights[name])) for weights in (state, own))
        grid = state[name].T.unflatten(1, (old, old))[None]  # (N, d1) -> (1, d1, h1, w1)
        grid = F.interpolate(grid, (new, new), mode='bicubic')
        state[name] = grid[0].flatten(1).T.contiguous()
    if words is not None:
        _keep_words(state, own, words, read_words(folder))
    other = sorted(
        name
        for name in own.keys() | state.keys()
        if name not in own or name not in state or own[name].shape != state[name].shape
    )
    if other:
        raise UserError(
            f'{path} holds another architecture ({len(other)} weights differ, '
            f'{other[0]} for one): give the sizes that it was trained with, or another '
            '--start'
        )
    model.load_state_dict(state)


def read_words(folder: Path) -> dict[str, int]:
    """word -> id of the tokenizer that a pretraining wrote.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / 'tokenizer.json'
    return read_json(path, Tokenizer, what="the start's tokenizer").model.vocab


def _keep_words(
    state: dict[str, torch.Tensor],
    own: dict[str, torch.Tensor],
    words: dict[str, int],
    earlier: dict[str, int],
) -> None:
    """Put the earlier vectors, in place, where their words stand now."""
    name = 'text_model.embeddings.token_embedding.weight'
    if name not in state or state[name].shape[1] != own[name].shape[1]:
        return  # another architecture, which the caller reports
    vectors = own[name].clone()
    kept = [word for word in words if word in earlier]
    vectors[[words[word] for word in kept]] = state[name][[earlier[word] for word in kept]]
    state[name] = vectors


def require_free_tower(out: Path, *, overwrite: bool = False) -> None:
    """Nothing in `out` is replaced but what an earlier pretraining wrote, as its record says.

    Raises:
        UserError: a file of somebody else's is there.
    """
    record = out / RECORD
    ours = False
    if record.is_file() and not record.is_symlink():
        with open_regular(record) as file:
            ours = file.read(10) == b'{"tower": '
    paths = [out / name for name in WRITTEN]
    for path in paths:
        require_free(path, overwrite=overwrite or (ours and not path.is_symlink()))
    for path in paths:
        if path.is_symlink() or not path.is_file():
            path.unlink(missing_ok=True)  # a link would be followed, a FIFO waited for


def pretrain(
    tower: str,
    *,
    data_root: Path,
    out: Path,
    steps: int,
    seed: int,
    images: int | None = None,
    lr: float | None = None,
    patches: Literal['whitened', 'random'] = 'whitened',
    start: Path | None = None,
    photographs: Path | None = None,
    device: str = 'cpu',
    overwrite: bool = False,
    **options: Any,
) -> None:
    """Train tiny towers and save them to `out` (config.json, model.safetensors, tokenizer).

    Args:
        tower: 'siglip', 'sam2', or 'lavt' for a Swin and a BERT in `out`'s folders of these names.  data_root: a SynthRS folder.  seed: of weights and batches.
        photographs: a folder of `convert coco --to rrsisd`: every second batch shows views of its
            training pictures (`photographs.py`).
        images: of a batch.  lr: the highest rate.  None: those in IMAGES and RATES.
        patches: what the patch embedding starts from: `whiten_patches`, or random filters.
        options: SigLIP's, of `SiglipPretraining`; LAVT's, of `LAVTPretraining`; SAM's `image_size`, and `sentences`, the most of
            one image (4).
        start: a folder that this function wrote: go on from its weights.
        device: only a CPU repeats the weights.  overwrite: files that no pretraining wrote, too.
    Raises:
        UserError: such a file is there; a number is not positive; the data or `start` are wrong.
    """
    require_usable(dict(options, steps=steps, images=images, lr=lr), device)
    torch.manual_seed(seed)
    images, lr = images or IMAGES[tower], lr or RATES[tower]
    sources = _sources(data_root, photographs, images, seed)
    recipe = read_json(data_root / 'summary.json', Summary, what='the summary of the data')
    claim(out, tower, overwrite=overwrite)
    task = _build(tower, sources, out, options)
    _set_weights(task, sources, start, patches, out)
    task.module.to(device)
    recorded = dict(task.options, steps=steps, lr=lr, seed=seed, device=device)
    recorded |= {} if photographs is None else dict(photographs=photographs.name)
    with open(out / RECORD, 'w') as file:
        log = functools.partial(_log_line, file)
        log(_facts(tower, task.tower, start, recipe, dict(images=images, **recorded)))
        train(task.module, task.stream, steps=steps, lr=lr, log=log)
        if isinstance(task.module, PointingPretraining):
            _log_pointing(log, task.module, data_root, photographs)
    with weights_written(out):
        task.module.save(out)


def _log_pointing(
    log: Callable[[dict], None],
    module: PointingPretraining,
    data_root: Path,
    photographs: Path | None,
) -> None:
    log(dict(pointing=pointing_game(module, data_root)))
    if photographs is not None:
        found = pointing_game(module, photographs, split='val')
        log(dict(pointing_on_photographs=found))


def claim(out: Path, tower: str, *, overwrite: bool = False) -> None:
    """Make the folder and begin its record: what is in it from here on, a pretraining wrote.

    Raises:
        UserError: see `require_free_tower`.
    """
    require_free_tower(out, overwrite=overwrite)
    write_text(make_folder(out) / RECORD, to_json(dict(tower=tower)))


def require_usable(numbers: dict[str, Any], device: str) -> None:
    """The numbers are positive and the device is there.

    Raises:
        UserError: one is not, or it is not.
    """
    for name, number in numbers.items():
        if (
            isinstance(number, (int, float))
            and name != 'reading'
            and not (number > 0 and math.isfinite(number))
        ):
            raise UserError(f'--{name.replace("_", "-")} must be above 0, got {number}')
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f'device {device} cannot be used ({str(error).splitlines()[0]}); try --device cpu'
        ) from None


class _Task(NamedTuple):
    """What is trained: `module` gives the losses of a batch of `stream`, `tower` is kept."""

    module: PointingPretraining | SamPretraining
    tower: nn.Module
    embedding: nn.Module  # of the tower's patches
    stream: Iterator[dict]
    options: dict[str, Any]  # for the record


class _Sources(NamedTuple):
    """What batches are drawn from."""

    dataset: RRSISD
    data_root: Path
    photographs: Photographs | None
    images: int  # of a batch
    seed: int


def _sources(data_root: Path, photographs: Path | None, images: int, seed: int) -> _Sources:
    pictures = None if photographs is None else Photographs(photographs)
    return _Sources(training_scenes(data_root), data_root, pictures, images, seed)


def _build(tower: str, sources: _Sources, out: Path, options: dict[str, Any]) -> _Task:
    dataset, data_root, photographs, images, seed = sources
    if tower != 'sam2':
        categories = () if photographs is None else tuple(photographs.names)
        kind = SiglipPretraining if tower == 'siglip' else LAVTPretraining
        task = kind(out, categories=categories, **options)
        stream = questions(dataset, data_root, images=images, seed=seed)
        if photographs is not None:
            side = options['image_size']
            stream = _in_turn(stream, photographs.asked(images=images, side=side, seed=seed))
        return _Task(task, task.towers, task.patch_embedding, stream, dict(options))
    rest = dict(options)
    sentences = rest.pop('sentences', 4)
    sam = SamPretraining(**rest)
    stream = batches(dataset, images=images, sentences=sentences, seed=seed)
    if photographs is not None:
        views = photographs.drawn(
            images=images, instances=sentences, side=sam.image_size, seed=seed
        )
        stream = _in_turn(stream, views)
    embedding = sam.sam.vision_encoder.backbone.patch_embed.projection
    recorded = dict(image_size=sam.image_size, sentences=sentences)
    return _Task(sam, sam.sam, embedding, stream, recorded)


def _in_turn(*streams: Iterator[dict]) -> Iterator[dict]:
    for batches_ in zip(*streams):
        yield from batches_


def _set_weights(
    task: _Task, sources: _Sources, start: Path | None, patches: str, out: Path
) -> None:
    """Earlier weights; or, of new ones, the patch embedding's."""
    if start is not None:
        words = read_words(out) if isinstance(task.module, SiglipPretraining) else None
        load_start(task.tower, start, words)
        task.options.pop('positions', None)  # by what `start` holds: not this run's
        return
    task.options['patches'] = patches
    if patches == 'whitened':
        some = next(batches(sources.dataset, images=256, sentences=1, seed=sources.seed))
        whiten_patches(task.embedding, task.module.images(some['inputs']))


def _facts(
    tower: str, model: nn.Module, start: Path | None, recipe: Summary, options: dict[str, Any]
) -> dict[str, Any]:
    """The first line of the record: what was trained, from what, on what, how."""
    return dict(
        tower=tower,
        start=start and start.name,
        data=recipe.arguments,
        torch=torch.__version__,
        **options,
        parameters=sum(p.numel() for p in model.parameters()),
    )


def _log_line(file: TextIO, line: dict) -> None:
    """To the terminal and to the record."""
    print(json.dumps(line), flush=True)
    file.write(json.dumps(line) + '\n')
    file.flush()
