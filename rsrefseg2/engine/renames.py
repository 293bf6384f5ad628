"""Names that configs had before the house was put in order; read until UNTIL.

One table for config files, `--cfg-options`, the configs that checkpoints record, published folders
and the shipped demo. Everything is renamed before anything is checked, so no other module knows an
old name.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

UNTIL = datetime.date(2027, 12, 31)  # then this module and its calls go

TYPES = {
    'BoardsHook': 'TrackerHook',
    'CutSentenceHook': 'TruncatedSentenceHook',
    'OddMaskHook': 'MaskWarningHook',
    'StopHook': 'PreemptionHook',
    'SynthRSMetric': 'ObjectHitMetric',
    'TowerStartHook': 'InitPrompterFromTowersHook',
}
# By the dotted place of the dict: {old key: new key}.
KEYS = {
    'model': {'masks_via_input': 'upsample_via_sam_input'},
    'model.siglip': {'every_position': 'keep_padding_tokens'},
    'model.data_preprocessor': {'where_from': 'siglip_from'},
    'model.losses.seg': {'at': 'loss_resolution'},
    **dict.fromkeys(
        ('model.siglip.vision_lora', 'model.siglip.text_lora', 'model.sam.lora'),
        {'also': 'extra_layers'},
    ),
}
VALUES = {'model.data_preprocessor.siglip_from': {'how': 'sam_input'}}


def rename(config: MutableMapping[str, Any]) -> None:
    """Give every class, key and value of `config` (a Config or a dict) its present name, in place.

    A key whose new name is there too stays, and is an unknown option.
    """
    _rename(config, '')


def rename_settings(settings: MutableMapping[str, Any]) -> dict[str, Any]:
    """`settings`, {dotted key below `model`: value} as checkpoints record them, by present names."""
    given = {f'model.{key}': value for key, value in _prompter_settings(settings).items()}
    return {key.removeprefix('model.'): value for key, value in rename_options(given).items()}


def rename_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options`, {dotted key: value} as `--cfg-options` gives them, by present names; what depends
    on the class that a key belongs to is left to `rename`, after they are merged."""
    new = {}
    for key, value in options.items():
        place, _, name = key.rpartition('.')
        where = f'{place}.{KEYS.get(place, {}).get(name, name)}'.lstrip('.')
        new[where] = VALUES.get(where, {}).get(value, value) if isinstance(value, str) else value
    return new


def _rename(node: Any, place: str) -> None:
    if isinstance(node, (list, tuple)):
        for child in node:
            _rename(child, place)
    if not isinstance(node, MutableMapping):
        return
    for old, new in KEYS.get(place, {}).items():
        if old in node and new not in node:
            node[new] = node.pop(old)
    for key in list(node):
        where = f'{place}.{key}'.lstrip('.')
        if isinstance(node[key], str) and where in VALUES:
            node[key] = VALUES[where].get(node[key], node[key])
        _rename(node[key], where)
    kind = node.get('type')
    if isinstance(kind, str):
        scope, _, name = kind.rpartition('.')
        if scope in ('', 'rsrefseg2') and name in TYPES:
            node['type'] = f'{scope}.{TYPES[name]}'.lstrip('.')
        for change in CHANGES.get(name, ()):
            change(node)


def _refer_dataset(node: MutableMapping[str, Any]) -> None:
    """RRSIS-D's layout with other data in it was `RRSISD` with classes=None."""
    if node.get('classes', ()) is not None:
        return
    if 'synthrs_generate.py' in (node.get('made_by') or ''):
        del node['classes'], node['made_by']
        node['type'] = node['type'].replace('RRSISD', 'SynthRS')
    elif 'made_by' in node:
        del node['classes']
        node['type'] = node['type'].replace('RRSISD', 'ReferDataset')


def _prompter_class(node: MutableMapping[str, Any], at: str = '') -> None:
    """The single stage and the release's order were options of `CascadedPrompter`.

    Both at once have no class: then they stay, as unknown options. `at` comes before each key.
    """
    single, interleaved = node.get(f'{at}cascade', True) is False, node.get(f'{at}interleaved')
    if single and interleaved:
        return
    node.pop(f'{at}cascade', None)
    node.pop(f'{at}interleaved', None)
    name = 'SingleStagePrompter' if single else 'InterleavedPrompter' if interleaved else None
    if name is not None:
        node[f'{at}type'] = node[f'{at}type'].replace('CascadedPrompter', name)
    if single:  # read by nothing then
        for key in ('n_t', 'decomposition_blocks', 'mask_words', 'decomposition'):
            node.pop(f'{at}{key}', None)


def _mask_words(node: MutableMapping[str, Any]) -> None:
    """`mask_words` is the decomposition's own."""
    if 'mask_words' in node:
        decomposition = dict(node.get('decomposition') or {}, mask_words=node.pop('mask_words'))
        node['decomposition'] = decomposition


def _prompter_settings(settings: MutableMapping[str, Any]) -> dict[str, Any]:
    """What `_prompter_class` and `_mask_words` do, for dotted keys."""
    new = dict(settings)
    if not str(new.get('prompter.type', '')).endswith('CascadedPrompter'):
        return new
    _prompter_class(new, 'prompter.')
    if 'prompter.mask_words' in new:
        new['prompter.decomposition.mask_words'] = new.pop('prompter.mask_words')
    if new['prompter.type'].endswith('SingleStagePrompter'):
        new = {key: v for key, v in new.items() if not key.startswith('prompter.decomposition.')}
    return new


CHANGES: dict[str, tuple[Callable[[MutableMapping[str, Any]], None], ...]] = {
    'CascadedPrompter': (_prompter_class, _mask_words),
    'InterleavedPrompter': (_mask_words,),
    'RRSISD': (_refer_dataset,),
}
