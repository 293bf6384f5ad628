"""Models of the hub beside the towers, with their tokenizers and image processors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel

from ...errors import UserError
from ..towers import hub
from ..towers.configs import quiet
from ..towers.load import check_finite

VOCABULARIES = (('tokenizer.json',), ('vocab.json', 'merges.txt'), ('vocab.txt',))
NO_RANDOM = 'or give a local folder as checkpoint'


def find_folder(checkpoint: str | Path, kinds: Mapping[str, type]) -> Path:
    """The folder of a checkpoint (hub name or folder) whose config.json names one of `kinds`.

    Raises:
        UserError: it is not available, incomplete, or a model of another type.
    """
    folder = hub.fetch(str(checkpoint), hub.missing_weights, otherwise=NO_RANDOM)
    hub.require_regular(folder)
    kind = hub.read_config(folder).get('model_type')
    if kind not in kinds:
        raise UserError(
            f'{folder} holds a model of type {kind!r}, wanted one of {", ".join(kinds)}: give '
            'another checkpoint, or the config of that model'
        )
    return folder


def load_hub_model(folder: Path, kinds: Mapping[str, type[PreTrainedModel]]) -> PreTrainedModel:
    """The model of a folder in float32, frozen, in eval mode. Weights in the file that the model
    has no place for are left out.

    Raises:
        UserError: the weights cannot be read, or some would stay random.
    """
    kind = hub.read_config(folder)['model_type']
    with quiet():
        try:
            model, info = kinds[kind].from_pretrained(
                str(folder),
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        except Exception as error:  # a truncated or foreign file, a config that does not fit
            raise _unreadable('the model', folder, error) from error
    lacking = [*info['missing_keys'], *(key for key, *_ in info['mismatched_keys'])]
    if lacking:
        raise UserError(
            f'the weights in {folder} do not fit its config: {len(lacking)} are missing or of '
            f'another shape, {sorted(lacking)[0]} for one; fetch or save them again'
        )
    check_finite(str(folder), model)
    return model.requires_grad_(False).eval()


def load_hub_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, padding on the right.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if not any(all((folder / name).is_file() for name in files) for files in VOCABULARIES):
        raise UserError(  # transformers would make one without words
            f'{folder} has no tokenizer: it lacks {" or ".join(map("+".join, VOCABULARIES))}; '
            'fetch or save it again'
        )
    with quiet():
        try:
            return AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, padding_side='right'
            )
        except Exception as error:
            raise _unreadable('the tokenizer', folder, error) from error


def load_hub_image_processor(folder: Path) -> Any:
    """The image processor of a folder, always Pillow's: pixels do not depend on whether torchvision
    is installed.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    with quiet():
        try:
            processor = AutoImageProcessor.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, backend='pil'
            )
            picture = np.zeros((8, 8, 3), np.uint8)  # a missing package shows at the first one
            processor(images=[picture], return_tensors='pt', input_data_format='channels_last')
            return processor
        except Exception as error:
            raise _unreadable('the image processor', folder, error) from error


def _unreadable(what: str, folder: Path, error: Exception) -> UserError:
    needs = isinstance(error, ImportError)
    advice = 'install what it needs' if needs else 'fetch or save it again'
    return UserError(
        f'{what} in {folder} cannot be loaded: {type(error).__name__}: '
        f'{" ".join(str(error).split())[:300]}; {advice}'
    )
