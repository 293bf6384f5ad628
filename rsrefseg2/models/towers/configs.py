"""Tower configs: from a config.json, a dict or the table of known towers to transformers' own.

What this project fixes in them: SigLIP's image tower without its pooling head, SAM2's mask 0 in
test as in training, float32, and of a SAM2 video model only its image part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    PreTrainedConfig,
    PreTrainedModel,
    Sam2Config,
    Sam2Model,
    SamConfig,
    SamModel,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
    SwinConfig,
    SwinModel,
)
from transformers.utils import logging as hf_logging

from ...errors import UserError, suggest
from ...records import convert
from . import hub
from .catalogue import FAMILIES, known_config
from .schemas import TowerRecord

FAMILY_NAMES = {
    'siglip': 'a SigLIP, SigLIP2 or CLIP',
    'sam': 'a SAM2 or SAM',
    'swin': 'a Swin',
    'bert': 'a BERT',
}
# model_type in config.json -> the classes that read it. `siglip2` is SigLIP2's NaFlex form; the
# fixed-resolution ones are `siglip`. The hub keeps SAM2.1 as a video model, whose image part is a
# Sam2Model.
MODEL_TYPES = {
    'siglip': {
        'siglip': (SiglipConfig, SiglipModel),
        'siglip2': (Siglip2Config, Siglip2Model),
        'clip': (CLIPConfig, CLIPModel),
    },
    'sam': {
        'sam2': (Sam2Config, Sam2Model),
        'sam2_video': (Sam2Config, Sam2Model),
        'sam': (SamConfig, SamModel),
    },
    'swin': {'swin': (SwinConfig, SwinModel)},
    'bert': {'bert': (BertConfig, BertModel)},
}
DEFAULT_TYPE = {'siglip': 'siglip', 'sam': 'sam2', 'swin': 'swin', 'bert': 'bert'}
# What a model is built without: the pooled output, which nothing reads.
OPTIONS: dict[str, dict[str, bool]] = {
    'swin': {'add_pooling_layer': False},
    'bert': {'add_pooling_layer': False},
}
PARTS = {
    SiglipConfig: ('text_config', 'vision_config'),
    Siglip2Config: ('text_config', 'vision_config'),
    CLIPConfig: ('text_config', 'vision_config'),
    Sam2Config: ('vision_config', 'prompt_encoder_config', 'mask_decoder_config'),
    SamConfig: ('vision_config', 'prompt_encoder_config', 'mask_decoder_config'),
}

# Of a tower without parts: what names its class or its precision, which are set here.
NOT_READ = ('model_type', 'dtype', 'torch_dtype', 'architectures', 'transformers_version')


def model_class(family: str, config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The transformers model that `config` describes."""
    return next(model for kind, model in MODEL_TYPES[family].values() if isinstance(config, kind))


def random_config(family: str, checkpoint: str | dict) -> PreTrainedConfig:
    """The config for random weights: a dict, a folder's, or a known tower's. No network."""
    if isinstance(checkpoint, dict):
        return make_config(family, checkpoint, 'the tower given as a dict', strict=True)
    folder = hub.find_local(checkpoint)
    if folder is not None:
        return make_config(family, hub.read_config(folder), str(folder))
    given = known_config(family, checkpoint)
    if given is None:
        raise _unknown(family, checkpoint)
    return make_config(family, given, checkpoint)


def make_config(family: str, given: dict, source: str, *, strict: bool = False) -> PreTrainedConfig:
    """A transformers config of the image model from what a config.json holds.

    Args:
        source: where it comes from, for error messages.
        strict: refuse unknown keys (transformers would keep them and never read them).
    Raises:
        UserError: a field is of another type or out of bounds, the sizes do not fit, or the model
            is of another family.
    """
    convert(given, TowerRecord, location=source)
    kind = given.get('model_type', DEFAULT_TYPE[family])
    _check_kind(family, kind, source)
    config_class = MODEL_TYPES[family][kind][0]
    parts = {name: dict(given.get(name) or {}) for name in PARTS.get(config_class, ())}
    if parts:
        own = {'projection_dim': given['projection_dim']} if 'projection_dim' in given else {}
    else:  # one tower: its fields are the config's own
        own = {key: value for key, value in given.items() if key not in NOT_READ}
    if config_class is Sam2Config:
        _name_parts_of_sam2(parts)
    try:
        with quiet():  # of default token ids outside the vocabulary, which nothing reads
            config = config_class(**parts, **own)
    except Exception as error:  # transformers' own checks: a wrong type, sizes that do not fit
        raise UserError(
            f'{source} is not a valid {kind} config: {type(error).__name__}: '
            f'{" ".join(str(error).split())}'
        ) from error
    if strict:
        known = ('projection_dim',) if config_class is CLIPConfig else ()
        known = known if parts else tuple(config_class().to_dict())
        _check_keys(given, ('model_type', *known, *parts), source)
        _check_parts(parts, config, source)
    if config_class in (SiglipConfig, Siglip2Config):
        config.vision_config.vision_use_head = False  # Sec. III-B uses v, not the pooled image
    elif config_class is Sam2Config:
        # Mask 0 always, in training and in test: no switch to another token by its stability.
        config.mask_decoder_config.dynamic_multimask_via_stability = False
    for part in (config, *(getattr(config, name) for name in parts)):
        part.dtype = torch.float32  # a checkpoint saved in bfloat16 is still trained in float32
    return config


def _name_parts_of_sam2(parts: dict[str, dict]) -> None:
    """transformers looks the image parts up by model_type; the video model has its own names."""
    for name in ('prompt_encoder_config', 'mask_decoder_config'):
        parts[name].pop('model_type', None)
    vision = parts['vision_config']
    vision['model_type'] = 'sam2_vision_model'
    vision['backbone_config'] = {
        'model_type': 'sam2_hiera_det_model',
        **(vision.get('backbone_config') or {}),
    }


def _check_kind(family: str, kind: str, source: str) -> None:
    if kind in MODEL_TYPES[family]:
        return
    raise UserError(
        f'{source} holds a model of type {kind!r}, wanted {FAMILY_NAMES[family]} '
        f'model (model_type {" or ".join(MODEL_TYPES[family])})'
    )


def _check_parts(parts: Mapping, config: PreTrainedConfig, source: str) -> None:
    """Unknown keys in the sub-configs, SAM2's backbone included."""
    for name, given in parts.items():
        part = getattr(config, name)
        with quiet():
            known = type(part)().to_dict()
        _check_keys(given, known, f'{source}, {name}')
        if isinstance(given.get('backbone_config'), Mapping):
            _check_parts({'backbone_config': given['backbone_config']}, part, f'{source}, {name}')


def _check_keys(given: Mapping, known: Iterable[str], source: str) -> None:
    for key in given:
        if key not in known:
            raise UserError(f'{source}: unknown key {key!r}{suggest(key, known)}')


def _unknown(family: str, checkpoint: str) -> UserError:
    for other, table in FAMILIES.items():
        if other != family and checkpoint in table:
            return UserError(
                f'checkpoint {checkpoint!r} is {FAMILY_NAMES[other]} model, wanted '
                f'{FAMILY_NAMES[family]} model'
            )
    tried = ' and '.join(str(path) for path in hub.local_candidates(checkpoint))
    return UserError(
        f"checkpoint {checkpoint!r} cannot be built with init='random': no folder (looked for "
        f'{tried}) and no known architecture{suggest(checkpoint, FAMILIES[family])}; the known '
        'ones are listed in rsrefseg2/models/towers/catalogue.py'
    )


def count_weights(family: str, config: PreTrainedConfig, source: str) -> int:
    """How many weights the model of `config` has, without memory for them.

    Raises:
        UserError: no model can be built by the config.
    """
    try:
        with torch.device('meta'), quiet():
            model = model_class(family, config)(config, **OPTIONS.get(family, {}))
    except Exception as error:  # transformers' own: an unknown activation, heads that do not fit
        raise UserError(
            f'{source}: no model can be built by its config: {type(error).__name__}: '
            f'{" ".join(str(error).split())}'
        ) from error
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' warnings and bars: what matters of them is checked and raised here."""
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
