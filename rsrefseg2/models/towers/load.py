"""Load the towers and the tokenizer: SigLIP / SigLIP2 / CLIP, SAM2.1 / SAM 1, Swin, BERT.

A checkpoint is a hub name, a local folder in the hub's format, or a dict (a transformers config).
`init='pretrained'` loads weights and fails if any would stay random; `init='random'` builds the
same architecture with transformers' own initialization (from torch's global generator) and never
asks the network: a hub name is then looked up in catalogue.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from transformers import (
    AutoTokenizer,
    BertModel,
    CLIPModel,
    PreTrainedConfig,
    PreTrainedModel,
    Sam2Model,
    SamModel,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
    SwinModel,
)

from ...errors import UserError
from . import hub
from .catalogue import known_config
from .configs import OPTIONS, count_weights, make_config, model_class, quiet, random_config
from .fingerprints import TowerSource, content_hash, function_of_config, set_source
from .tokenizers import PretrainedTokenizer, StandInTokenizer, TowerTokenizer

Init = Literal['pretrained', 'random']
Checkpoint = str | Path | Mapping
MOST_RANDOM_WEIGHTS = 2**34  # 64 GiB in float32; the largest known tower has 1.8e9

# Weights of a checkpoint that are left out on purpose; anything else unexpected is an error.
DROPPED_KEYS = {
    'siglip': (
        r'vision_model\.head\.',  # Sec. III-B: no pooling head
        r'(text|vision)_model\.embeddings\.position_ids$',
    ),  # a constant, in older files
    'sam': (
        r'memory_(attention|encoder|temporal_positional_encoding)\b',  # SAM2's video memory
        r'no_memory_positional_encoding$',
        r'mask_downsample\.',
        r'object_pointer_proj\.',
        r'temporal_positional_encoding_projection_layer\.',
        r'no_object_pointer$',
        r'occlusion_spatial_embedding_parameter$',
    ),
    'swin': (
        r'classifier\.',
        r'decoder\.',
        r'(swin\.)?embeddings\.mask_token$',
    ),  # of its pretraining
    'bert': (
        r'cls\.',  # of its pretraining
        r'(bert\.)?pooler\.',
        r'(bert\.)?embeddings\.position_ids$',
    ),
}


def load_siglip(
    checkpoint: Checkpoint, *, init: Init = 'pretrained'
) -> SiglipModel | Siglip2Model | CLIPModel:
    """The two towers of a SigLIP, a NaFlex SigLIP2 or a CLIP in float32; SigLIP's image tower
    without its pooling head.

    `tower_source` says where the weights came from (`tower_sources.TowerSource`).
    """
    return _load('siglip', checkpoint, init)


def load_sam(checkpoint: Checkpoint, *, init: Init = 'pretrained') -> Sam2Model | SamModel:
    """SAM2.1's or SAM 1's image model in float32, without SAM2's video memory; with its
    `tower_source`."""
    return _load('sam', checkpoint, init)


def load_swin(checkpoint: Checkpoint, *, init: Init = 'pretrained') -> SwinModel:
    """Swin in float32, with its `tower_source`; see `init_of`."""
    return _load('swin', checkpoint, init_of(checkpoint, init))


def load_bert(checkpoint: Checkpoint, *, init: Init = 'pretrained') -> BertModel:
    """BERT in float32 without its pooled output, with its `tower_source`; see `init_of`."""
    return _load('bert', checkpoint, init_of(checkpoint, init))


def init_of(checkpoint: Checkpoint, init: Init) -> Init:
    """Of a baseline's tower: one given as a dict has no weights and is trained from scratch,
    whatever `init`."""
    return 'random' if isinstance(checkpoint, Mapping) else init


def load_tokenizer(
    checkpoint: Checkpoint, *, init: Init = 'pretrained', keep_case: bool = False
) -> TowerTokenizer:
    """The tokenizer of a SigLIP, CLIP or BERT checkpoint; with `keep_case` it never lower-cases.

    With `init='random'` and a hub name, a dict or a folder without tokenizer files: a stand-in of
    the same vocabulary size. Pretrained towers never get the stand-in: its ids mean nothing to
    them.
    """
    _check_init(init)
    if init == 'pretrained':
        name = _named(checkpoint)
        return _read_tokenizer(hub.fetch(name, hub.missing_tokenizer), keep_case)
    given = _named_or_described(checkpoint)
    folder = hub.find_local(given) if isinstance(given, str) else None
    if folder is not None and not hub.missing_tokenizer(folder):
        return _read_tokenizer(folder, keep_case)
    config = random_config(_text_family(given), given)
    text = _text_config(config)
    eos = _inside(text.eos_token_id, text.vocab_size, otherwise=1)
    bos = _inside(text.bos_token_id, text.vocab_size, otherwise=2)
    return StandInTokenizer(
        vocab_size=text.vocab_size,
        eos_id=eos,
        bos_id=None if isinstance(config, SiglipConfig | Siglip2Config) else bos,
        pad_id=_inside(text.pad_token_id, text.vocab_size, otherwise=eos),
        keep_case=keep_case,
    )


def _load(family: str, checkpoint: Checkpoint, init: Init) -> PreTrainedModel:
    _check_init(init)
    if init == 'random':
        return _build(family, _named_or_described(checkpoint))
    name = _named(checkpoint)
    folder = hub.fetch(name, hub.missing_weights)
    hub.require_regular(folder)
    config = make_config(family, hub.read_config(folder), str(folder))
    described, held = count_weights(family, config, str(folder)), hub.held_weights(folder)
    if described > 4 * held:  # before memory is asked for them; a few may lack, see _check_loaded
        raise UserError(
            f'{folder}: its config describes a model of {described} weights, its files '
            f'hold {held}: they do not belong together; fetch or save them again'
        )
    with quiet():
        try:
            # Sizes that do not match are collected with the other faults instead of raised.
            model, info = model_class(family, config).from_pretrained(
                str(folder),
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **OPTIONS.get(family, {}),
            )
        except Exception as error:  # a truncated or foreign file: safetensors says which
            raise UserError(
                f'the weights in {folder} cannot be read: {type(error).__name__}: '
                f'{" ".join(str(error).split())}; fetch or save them again'
            ) from error
    _check_loaded(family, f'{name!r} ({folder})', info)
    check_finite(f'{name!r} ({folder})', model)
    settings = function_of_config(model.config.to_dict())
    set_source(model, TowerSource(name, content_hash(model), settings))
    return model


def _build(family: str, checkpoint: str | dict) -> PreTrainedModel:
    """Random weights, as transformers draws them."""
    config = random_config(family, checkpoint)
    source = repr(checkpoint) if isinstance(checkpoint, str) else 'the tower given as a dict'
    weights = count_weights(family, config, source)
    if weights > MOST_RANDOM_WEIGHTS:
        raise UserError(
            f'{source} describes a model of {weights} weights, more than '
            f'{MOST_RANDOM_WEIGHTS}: correct its sizes'
        )
    model = model_class(family, config)(config, **OPTIONS.get(family, {}))
    set_source(model, None)
    if isinstance(model, Sam2Model):
        # One random Fourier basis for the positions of the image and of the prompts, as in every
        # trained SAM: with two different ones the place of a point would mean nothing.
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(
            model.shared_image_embedding.positional_embedding
        )
    return model


def _read_tokenizer(folder: Path, keep_case: bool) -> PretrainedTokenizer:
    hub.require_regular(folder)
    hub.check_tokenizer_settings(folder)
    given = hub.read_config(folder)
    config = make_config(_text_family(given), given, str(folder))
    vocab_size = _text_config(config).vocab_size
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
            tokenizer('a ship')  # some faults show at the first word only
        except Exception as error:  # a missing dependency, a broken file: transformers says which
            raise UserError(
                f'the tokenizer in {folder} cannot be loaded: {type(error).__name__}: '
                f'{" ".join(str(error).split())}; fetch or save it again'
            ) from error
    tokens = 1 + max(tokenizer.get_vocab().values(), default=-1)
    if tokens > vocab_size:
        raise UserError(
            f'the tokenizer in {folder} has {tokens} tokens, its text tower '
            f'only {vocab_size}: they do not belong together'
        )
    return PretrainedTokenizer(
        tokenizer,
        source=str(folder),
        with_bos=not isinstance(config, SiglipConfig | Siglip2Config),
        keep_case=keep_case,
    )


def _text_family(given: str | Mapping) -> str:
    """'bert' for a BERT's hub name or config, else 'siglip'."""
    known = given if isinstance(given, Mapping) else known_config('bert', given) or {}
    return 'bert' if known.get('model_type') == 'bert' else 'siglip'


def _text_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """Of the text tower, which a BERT is by itself."""
    return getattr(config, 'text_config', config)


def _check_loaded(family: str, source: str, info: Mapping) -> None:
    """No weight may silently stay random."""
    unexpected = [
        key
        for key in info['unexpected_keys']
        if not any(re.match(pattern, key) for pattern in DROPPED_KEYS[family])
    ]
    mismatched = [
        f'{key}: {tuple(in_file)} in the file, {tuple(in_model)} by the config'
        for key, in_file, in_model in info['mismatched_keys']
    ]
    problems = [
        f'{len(keys)} {what}: {", ".join(sorted(keys)[:3])}{", ..." if len(keys) > 3 else ""}'
        for what, keys in (
            ('missing', list(info['missing_keys'])),
            ('unexpected', unexpected),
            ('of another shape', mismatched),
        )
        if keys
    ]
    if problems:
        raise UserError(f'the weights of {source} do not fit its config: {"; ".join(problems)}')


def check_finite(source: str, model: PreTrainedModel) -> None:
    """NaN in a tower would reach every mask."""
    bad = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if bad:
        raise UserError(
            f'{len(bad)} weights of {source} are NaN or infinite, {bad[0]} for one: '
            'fetch or save them again'
        )


def _check_init(init: str) -> None:
    if init not in ('pretrained', 'random'):
        raise ValueError(f"init must be 'pretrained' or 'random', got {init!r}")


def _named_or_described(checkpoint: Checkpoint) -> str | dict:
    """The checkpoint as a str, or as plain dicts all the way down (mmengine has its own kind)."""
    return _plain(checkpoint) if isinstance(checkpoint, Mapping) else _named(checkpoint)


def _named(checkpoint: Checkpoint) -> str:
    """The hub name or folder of a checkpoint that has weights."""
    if isinstance(checkpoint, Mapping):
        raise UserError(
            "a tower given as a dict has neither weights nor a tokenizer: it needs init='random'"
        )
    if isinstance(checkpoint, str | Path) and str(checkpoint):
        return str(checkpoint)
    raise UserError(f'a checkpoint is a hub name, a folder or a dict, got {checkpoint!r}')


def _plain(given: Mapping) -> dict:
    return {
        key: _plain(value) if isinstance(value, Mapping) else value for key, value in given.items()
    }


def _inside(token: int | None, vocab_size: int, *, otherwise: int) -> int:
    """transformers' default eos (49407) lies outside SigLIP's vocabulary: then `otherwise`."""
    return token if isinstance(token, int) and 0 <= token < vocab_size else otherwise
