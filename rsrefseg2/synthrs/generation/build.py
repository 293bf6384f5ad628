"""Write a SynthRS dataset: scene files, the layouts asked for, and a summary."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import msgspec
from tqdm import tqdm

from ...dataprep.layouts import LAYOUTS, UNKNOWN, Layout, running_totals
from ...dataprep.new_folder import complete_folder
from ...datasets.checks import SPLITS
from ...datasets.content import in_processes
from ...datasets.scene_files import read_scenes, targets_of
from ...errors import UserError, suggest
from ...records import read_json, read_json_lines
from .generate import KIND_WEIGHTS, VERSION, make_more
from .language import LEVELS
from .more_levels import MORE_LEVELS
from .objects import CATEGORIES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a dataset depends on; per_level: sentences per level and scene; relations:
    how often a plain, coloured or nested anchor and 'closest' are asked for."""

    scenes: dict[str, int]
    per_level: dict[str, int]
    seed: int = 0
    size: int = 128
    min_same: int = 4
    layouts: tuple[str, ...] = ('rrsisd',)
    levels: tuple[str, ...] = LEVELS
    relations: tuple[float, ...] = KIND_WEIGHTS['relation']

    def __post_init__(self) -> None:
        for level in self.levels:
            if level not in (*LEVELS, *MORE_LEVELS):
                known = (*LEVELS, *MORE_LEVELS)
                raise UserError(
                    f"unknown level '{level}'{suggest(level, known)}; known: {', '.join(known)}"
                )
        for layout in self.layouts:
            if layout not in LAYOUTS:
                raise UserError(
                    f"unknown layout '{layout}'{suggest(layout, LAYOUTS)}; known: "
                    f'{", ".join(LAYOUTS)}'
                )
        for name, value, low, high in (
            ('seed', self.seed, 0, 2**31),
            ('size', self.size, 64, 1024),
            ('min-same', self.min_same, 2, 6),
        ):
            if not low <= value <= high:
                raise UserError(f'--{name} must be from {low} to {high}, got {value}')
        for split in SPLITS:
            if self.scenes[split] < 0:
                raise UserError(f'--scenes-{split} must not be negative, got {self.scenes[split]}')
            if not 1 <= self.per_level[split] <= 3:
                raise UserError(
                    f'sentences per level must be 1 to 3, got {self.per_level[split]} for {split}'
                )
        if min(self.relations) <= 0 or abs(sum(self.relations) - 1) > 1e-6:
            raise UserError(
                '--relations must be positive and sum to 1, got '
                f'{" ".join(map(str, self.relations))}'
            )

    @property
    def more(self) -> tuple[str, ...]:
        """Those of `levels` that are of MORE_LEVELS."""
        return tuple(level for level in MORE_LEVELS if level in self.levels)

    def make_layouts(self, root: Path) -> list[Layout]:
        """The layouts to write below `root`, with their running numbers."""
        scenes = running_totals(self.scenes)
        sentences = running_totals(
            {
                split: self.scenes[split] * self.per_level[split] * len(self.levels)
                for split in SPLITS
            }
        )
        # several categories, or none: for a layout that demands one
        categories = (*CATEGORIES, UNKNOWN) if self.more else tuple(CATEGORIES)
        return [
            LAYOUTS[name](root / name, scenes=scenes, sentences=sentences, categories=categories)
            for name in self.layouts
        ]

    def arguments(self) -> dict[str, Any]:
        """As they stand in summary.json; levels and relations only where others were chosen."""
        arguments = {
            **dataclasses.asdict(self),
            'layouts': sorted(self.layouts),
            'version': VERSION,
        }
        for name, usual in (('levels', LEVELS), ('relations', KIND_WEIGHTS['relation'])):
            if arguments[name] == usual:
                del arguments[name]
        return arguments


def _write_scene(index: int, *, recipe: Recipe, split: str, root: Path) -> str:
    """Draw a scene and write its pictures; -> its line in scenes_{split}.jsonl."""
    scene, sentences = make_more(
        more=recipe.more,
        seed=recipe.seed,
        split=split,
        index=index,
        size=recipe.size,
        min_same=recipe.min_same,
        per_level=recipe.per_level[split],
        relations=recipe.relations,
    )
    sentences = [sentence for sentence in sentences if sentence.level in recipe.levels]
    layouts = recipe.make_layouts(root)
    first = {
        name: layout.sentences[split] + index * len(sentences)
        for name, layout in zip(recipe.layouts, layouts)
    }
    record = {
        'scene': index,
        'split': split,
        'size': scene.size,
        'objects': [dataclasses.asdict(thing) for thing in scene.things],
        'sentences': [
            {
                'id': f'{split}-{index}-{position}',
                **dataclasses.asdict(sentence),
                'keys': {
                    layout.name: layout.key(split, index, first[layout.name] + position, position)
                    for layout in layouts
                },
            }
            for position, sentence in enumerate(sentences)
        ],
    }
    for layout in layouts:
        layout.write_pictures(record, scene.image)
    return json.dumps(record) + '\n'


def _progress(lines: Iterable[str], *, total: int, split: str) -> Iterator[str]:
    """A live bar on a terminal, a plain line at every quarter elsewhere."""
    if sys.stderr.isatty():
        yield from tqdm(lines, total=total, desc=f'{split} scenes', unit='scene')
        return
    quarters = {total * part // 4 for part in range(1, 5)}
    for done, line in enumerate(lines, 1):
        yield line
        if done in quarters:
            print(f'{split}: {done} of {total} scenes', flush=True)


def summarise(root: Path, recipe: Recipe) -> dict[str, Any]:
    """Count what the scene files hold."""
    splits = {}
    for split in SPLITS:
        new = collections.Counter[str]
        levels, kinds, targets, objects = new(), new(), new(), new()
        for record in read_scenes(root, split):
            objects.update(thing['category'] for thing in record['objects'])
            for sentence in record['sentences']:
                levels[sentence['level']] += 1
                kinds[f'{sentence["level"]}: {sentence["kind"]}'] += 1
                targets.update(record['objects'][t]['category'] for t in targets_of(sentence))
        scenes = recipe.scenes[split]
        splits[split] = {
            'scenes': scenes,
            'sentences': sum(levels.values()),
            'objects_per_scene': round(sum(objects.values()) / scenes, 2) if scenes else 0,
            'levels': {level: levels[level] for level in (*LEVELS, *recipe.more)},
            'kinds': dict(sorted(kinds.items())),
            'target_categories': {name: targets[name] for name in CATEGORIES},
            'object_categories': {name: objects[name] for name in CATEGORIES},
        }
    return {'seed': recipe.seed, 'arguments': recipe.arguments(), 'splits': splits}


class _Arguments(msgspec.Struct):
    scenes: dict[str, int]
    layouts: list[Literal['rrsisd', 'refsegrs', 'risbench', 'jsonl']]


class _Summary(msgspec.Struct):
    """What tells summary.json from that of another tool."""

    seed: int
    arguments: _Arguments
    splits: dict[str, Any]


class _Sentence(msgspec.Struct):
    keys: dict[str, str]


class _Scene(msgspec.Struct):
    scene: int
    sentences: list[_Sentence]


def own_files(out: Path) -> set[str]:
    """The files, from `out`, of the SynthRS dataset that `out/summary.json` speaks of.

    Raises:
        UserError: that is no SynthRS dataset, or a file of it is damaged.
    """
    arguments = read_json(out / 'summary.json', _Summary).arguments
    found = {'summary.json', *(f'scenes_{split}.jsonl' for split in SPLITS)}
    layouts = [
        LAYOUTS[name](out / name, scenes=running_totals(arguments.scenes), sentences={})
        for name in arguments.layouts
    ]
    for layout in layouts:
        found.update(f'{layout.name}/{name}' for name in layout.annotation_files)
        # earlier versions kept the pictures' hashes beside them
        found.update(f'{layout.name}/{folder}/.content_hashes.json' for folder in layout.folders)
    for split in SPLITS:
        for _, scene in read_json_lines(out / f'scenes_{split}.jsonl', _Scene):
            record = {'split': split, **msgspec.to_builtins(scene)}
            for layout in layouts:
                found.update(f'{layout.name}/{name}' for name in layout.files(record))
    return found


def arguments_of(out: Path) -> dict[str, Any] | None:
    """The arguments that the dataset in `out` was made with; None where nothing is there.

    Raises:
        UserError: `out` is not empty and holds no SynthRS dataset.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    summary = out / 'summary.json'
    try:
        read_json(summary, _Summary)
    except UserError as error:
        why = error if summary.exists() else 'no summary.json'
        raise UserError(
            f'{out} is not empty and holds no SynthRS dataset ({why}): choose another '
            '--out, or remove it'
        ) from None
    return read_json(summary)['arguments']


def require_equal(found: dict[str, Any], recipe: Recipe, out: Path) -> None:
    """A UserError where the dataset in `out` was made with other arguments."""
    wanted = json.loads(json.dumps(recipe.arguments()))
    if found != wanted:
        differing = ', '.join(
            f'{key} {found.get(key, "not given")} (asked: {wanted.get(key, "not given")})'
            for key in {**wanted, **found}
            if found.get(key) != wanted.get(key)
        )
        raise UserError(
            f'{out} holds another SynthRS dataset: {differing}; choose another --out, '
            'or rewrite it with --force'
        )


def build(out: Path, recipe: Recipe, *, workers: int = 1, force: bool = False) -> dict[str, Any]:
    """Write the dataset to `out`, which appears complete or not at all; -> the summary.

    Args:
        force: replace another SynthRS dataset, as long as `out` holds nothing else.

    Raises:
        UserError: `out` holds something else, or is being written.
    """
    out = Path(os.path.abspath(out))
    found = arguments_of(out)
    if found is not None and not force:
        require_equal(found, recipe, out)
        print(f'{out} already holds this dataset; nothing to do')
        return read_json(out / 'summary.json')
    with complete_folder(out, own=set() if found is None else own_files(out)) as root:
        layouts = recipe.make_layouts(root)
        for layout in layouts:
            layout.prepare()
        for split in SPLITS:
            count = recipe.scenes[split]
            work = functools.partial(_write_scene, recipe=recipe, split=split, root=root)
            with open(root / f'scenes_{split}.jsonl', 'w', encoding='utf-8') as file:
                lines = in_processes(
                    work,
                    range(count),
                    workers=workers,
                    title=f'{split} scenes',
                    before=functools.partial(cv2.setNumThreads, 0),
                )
                file.writelines(_progress(lines, total=count, split=split))
        for layout in layouts:
            layout.write_annotations(
                record for split in SPLITS for record in read_scenes(root, split)
            )
        summary = summarise(root, recipe)
        (root / 'summary.json').write_text(json.dumps(summary, indent=1) + '\n', encoding='utf-8')
    return summary
