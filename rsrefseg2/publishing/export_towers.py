"""The towers of a trained model for those who do not have this project: folders of transformers
with LoRA merged, and adapters in PEFT's own format."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import UserError
from ..models.ref_seg_model import RefSegModel
from ..models.rsrefseg2 import RSRefSeg2
from ..models.towers import hub
from ..models.towers.catalogue import known_config
from ..models.towers.configs import MODEL_TYPES, make_config, quiet
from ..models.towers.families import CLIPFamily
from ..models.towers.lora import merge_lora

# CLIP's projections hang in its towers here (`families.share_space`).
CLIP_HEADS = {'vision_model.head.': 'visual_projection.', 'text_model.head.': 'text_projection.'}


def public_name(family: str, checkpoint: str | dict) -> str | None:
    """The name under which others get the tower: a hub name, or the place in this package; None for
    a folder of one's own, and for a tower that was drawn from a config."""
    if not isinstance(checkpoint, str):
        return None
    folder = hub.find_local(checkpoint)
    if folder is None or known_config(family, checkpoint) is not None:
        return checkpoint
    if folder.is_relative_to(hub.PACKAGE):
        return folder.relative_to(hub.PACKAGE).as_posix()
    cached = re.search(r'models--([\w.-]+?)--([\w.-]+)/snapshots/', str(folder.absolute()))
    return '/'.join(cached.groups()) if cached else None


def lora_towers(model: RefSegModel) -> dict[str, dict[str, nn.Module]]:
    """Family -> the towers that LoRA may adapt, by their names in the family's own model; {} of a
    baseline, whose towers are trained whole."""
    if not isinstance(model, RSRefSeg2):
        return {}
    encoder = model.encoder
    return {
        'siglip': {'vision_model': encoder.vision_model, 'text_model': encoder.text_model},
        'sam': {'vision_encoder': model.mask_generator.sam.vision_encoder},
    }


# ------------------------------------------------------------------ merged


def merge_towers(model: RSRefSeg2) -> None:
    """LoRA becomes part of the weights of every tower of `model`.

    Raises:
        UserError: a merged weight would be NaN or infinite.
    """
    for family, towers in lora_towers(model).items():
        for name, tower in towers.items():
            try:
                merge_lora(tower)
            except ValueError as error:
                raise UserError(f'LoRA of {family}.{name} cannot be merged: {error}') from error


def write_siglip(model: RSRefSeg2, checkpoint: str, folder: Path) -> None:
    """`folder`: transformers' SiglipModel, Siglip2Model or CLIPModel with the towers of `model`,
    which is merged; what the model has no use for, such as the pooling head, is the source's.

    Args:
        checkpoint: hub name or folder of the source; tokenizer and preprocessor files are its own.
    """
    source = hub.fetch(checkpoint, hub.missing_weights)
    whole = _read_whole(source)
    state = {
        f'{name}.{key}': value
        for name, tower in lora_towers(model)['siglip'].items()
        for key, value in tower.state_dict().items()
    }
    if isinstance(model.encoder.family, CLIPFamily):
        for ours, theirs in CLIP_HEADS.items():
            state = {
                key.replace(ours, theirs) if key.startswith(ours) else key: value
                for key, value in state.items()
            }
    whole.load_state_dict(whole.state_dict() | state)  # strict: each key has its place
    with quiet(), hub.weights_written(folder):
        whole.save_pretrained(str(folder))
    _copy_side_files(source, folder)


def write_sam(model: RSRefSeg2, checkpoint: str, folder: Path) -> None:
    """`folder`: transformers' Sam2Model or SamModel as `model`, which is merged, has trained it,
    with its mask decoder."""
    with quiet(), hub.weights_written(folder):
        model.mask_generator.sam.save_pretrained(str(folder))
    _copy_side_files(hub.fetch(checkpoint, hub.missing_weights), folder)


def _read_whole(source: Path) -> PreTrainedModel:
    """A SigLIP or CLIP with all that its files hold, in float32."""
    given = hub.read_config(source)
    cls = MODEL_TYPES['siglip'][given.get('model_type', 'siglip')][1]
    options = dict(dtype=torch.float32, local_files_only=True)
    with quiet():
        whole, info = cls.from_pretrained(str(source), output_loading_info=True, **options)
        if info['missing_keys']:  # the files have no pooling head, whatever their config says
            whole = cls.from_pretrained(
                str(source), config=make_config('siglip', given, str(source)), **options
            )
    return whole


def _copy_side_files(source: Path, folder: Path) -> None:
    """Tokenizer, preprocessor and generation files; not the weights, their index or their
    config."""
    for pattern in ('*.json', '*.txt', '*.model'):
        for file in sorted(source.glob(pattern)):
            if (
                file.is_file()
                and file.name not in ('config.json', 'adapter_config.json')
                and not file.name.endswith('.index.json')
            ):
                shutil.copyfile(file, folder / file.name)


# ------------------------------------------------------------------ adapters


def write_adapters(model: RefSegModel, out: Path, bases: dict[str, str | None]) -> list[Path]:
    """A folder `out`/<family> for each adapted family, which `peft.PeftModel.from_pretrained` lays
    over the family's plain model in transformers; returns the folders.

    Args:
        bases: family -> hub name of its plain model, or None.
    Raises:
        UserError: no tower is adapted.
    """
    written = []
    for family, towers in lora_towers(model).items():
        adapted = {name: tower for name, tower in towers.items() if hasattr(tower, 'peft_config')}
        if not adapted:
            continue
        folder = out / family
        folder.mkdir(parents=True)
        with hub.weights_written(folder):
            adapter_config(adapted, bases[family]).save_pretrained(str(folder))
            save_file(
                adapter_state(adapted),
                folder / 'adapter_model.safetensors',
                metadata={'format': 'pt'},
            )
        written.append(folder)
    if not written:
        raise UserError('no tower of this model is adapted with LoRA: drop --adapters')
    return written


def adapter_config(adapted: dict[str, nn.Module], base: str | None) -> LoraConfig:
    """One config for the adapted towers of one family; its target is a pattern over the names in
    the family's whole model."""
    configs = {name: tower.peft_config['default'] for name, tower in adapted.items()}
    first = next(iter(configs.values()))
    return LoraConfig(
        r=first.r,
        lora_alpha=first.lora_alpha,
        bias='none',
        inference_mode=True,
        # acts in training only, and PEFT has one for all
        lora_dropout=max(config.lora_dropout for config in configs.values()),
        target_modules='|'.join(
            rf'{name}\.(?:{config.target_modules})' for name, config in configs.items()
        ),
        rank_pattern={
            rf'{name}\..*': config.r for name, config in configs.items() if config.r != first.r
        },
        alpha_pattern={
            rf'{name}\..*': config.lora_alpha
            for name, config in configs.items()
            if config.lora_alpha != first.lora_alpha
        },
        base_model_name_or_path=base,
    )


def adapter_state(adapted: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The adapters' A (r, d_in) and B (d_out, r) under PEFT's names."""
    return {
        f'base_model.model.{name}.{key.replace(".default.", ".")}': value.contiguous()
        for name, tower in adapted.items()
        for key, value in tower.state_dict().items()
        if '.lora_A.' in key or '.lora_B.' in key
    }
