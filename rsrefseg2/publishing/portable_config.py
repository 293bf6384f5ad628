"""A run's whole config without anything of its author's machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

BESIDE = '{{fileDirname}}'  # mmengine puts the config's own folder here
DATA = '{{$RSREFSEG2_DATA:data}}'  # and the environment variable here, or `data`
OF_THE_RUN = ('work_dir', 'load_from', 'resume', 'experiment_name', 'launcher')


def published_config(cfg: Config, towers: dict[str, str | None], *, merged: bool) -> dict[str, Any]:
    """The keys of `cfg` with paths that hold on any machine.

    Data lie below $RSREFSEG2_DATA or `data`, as in this project's own configs. A tower without a
    public name is looked for beside the config, in a folder with the name of its family. Any other
    absolute path keeps its last part alone.

    Args:
        towers: family -> public name, or None.
        merged: both towers lie beside the config, with LoRA merged and nothing to train.
    """
    config = cfg.to_dict()
    for key in OF_THE_RUN:
        config.pop(key, None)
    model = config['model']
    for family, name in towers.items():
        if merged:
            model[family]['checkpoint'] = f'{BESIDE}/{family}'
            for key in ('vision_lora', 'text_lora', 'lora', 'trainable', 'train_prompt_encoder'):
                model[family].pop(key, None)
        elif isinstance(model[family]['checkpoint'], str):
            model[family]['checkpoint'] = name or f'{BESIDE}/{family}'
    return portable(config)


def portable(config: dict[str, Any]) -> dict[str, Any]:
    """The config with its paths moved as in `published_config`."""
    return _moved(config, _moves(config))


def write_config(config: dict[str, Any], path: Path, comment: str) -> None:
    """The config as Python text under a comment."""
    lines = ''.join(f'# {line}\n' for line in comment.splitlines())
    path.write_text(lines + Config(config).pretty_text, encoding='utf-8')


def differing_keys(given: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """The top-level keys that make a run, in which two configs differ."""
    keys = (
        'model',
        'train_dataloader',
        'train_cfg',
        'optim_wrapper',
        'param_scheduler',
        'strategy',
        'randomness',
    )
    first, second = portable(given), portable(recorded)
    return [key for key in keys if first.get(key) != second.get(key)]


def _moves(config: dict) -> dict[str, str]:
    """Path on this machine -> what stands for it: data roots, the working and the home folder."""
    moves = {os.environ.get('RSREFSEG2_DATA', 'data'): DATA}
    roots = sorted(set(_values(config, 'data_root')), key=len)
    for root in roots:
        if os.path.isabs(root) and not any(_below(root, other) for other in moves):
            moves[root] = f'{DATA}/{Path(root).name}'
    return moves | {os.getcwd(): '.', str(Path.home()): '~'}


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip('/') + '/')


def _values(part: object, key: str) -> Iterator[str]:
    """Every text under `key`, at any depth."""
    children = (
        part.items()
        if isinstance(part, dict)
        else enumerate(part if isinstance(part, (list, tuple)) else ())
    )
    for name, child in children:
        if name == key and isinstance(child, str):
            yield child
        yield from _values(child, key)


def _moved(part: Any, moves: dict[str, str]) -> Any:
    if isinstance(part, dict):
        return {key: _moved(value, moves) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return type(part)(_moved(value, moves) for value in part)
    if not isinstance(part, str) or part.startswith('{{'):
        return part
    for path, stand_in in moves.items():
        if path not in ('', '/'):
            # whole paths: /data is neither in /database nor in /mnt/data nor in /data-2; the
            # word `data` is no path
            end = r'(?=/|\s|$)' if os.path.isabs(path) else '(?=/)'
            part = re.sub(rf'(?<![\w./~{{}}-]){re.escape(path)}{end}', stand_in, part)
    return Path(part).name if part.startswith(('/', '~/')) else part
