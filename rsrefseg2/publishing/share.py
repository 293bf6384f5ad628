"""A model in memory, given away as `publish` writes it: into a folder, or onto the hub."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import torch
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from mmengine.config import Config

from ..engine.calibration_files import ENDING as CALIBRATION
from ..engine.checkpoint import trained_keys
from ..engine.checkpoint_files import HASHED
from ..engine.trained_as import function_of, tokenizer_mark
from ..errors import UserError
from ..files import write_text
from ..models import RefSegModel
from ..models.towers import hub
from ..models.towers.fingerprints import tower_sources
from ..registry import PRETRAINED
from .card_facts import describe_towers, public_names
from .model_card import write_card
from .out_folder import check_free, staged
from .publish import Given, Published, check_name, write_files


@PRETRAINED.register_module()
def save_pretrained(model: RefSegModel, folder: str | Path) -> Published:
    """Write `folder` as `publish` does, with the weights that `model` has now.

    A tower that the config names by a folder is copied beside the config, so that the folder is
    whole wherever it goes; one of the hub is left to the hub. The card says nothing of scores: a
    run's own checkpoint gets them by `rsrefseg2 publish`.

    Raises:
        UserError: the model has no `cfg`; `folder` holds something else. Nothing is written.
    """
    given = describe_model(model)
    out = Path(os.path.realpath(folder))
    check_free(out)
    with staged(out) as stage:
        facts = write_files(given, stage, scores=None, merge_lora=False, adapters=False, half=False)
        beside = copy_towers(given.cfg, given.names, stage)
        write_text(stage / 'README.md', write_card(facts._replace(beside=beside)))
    return Published(out, facts.weights, facts.config, [], [])


def describe_model(model: RefSegModel) -> Given:
    """What `publish` reads from a run's files, of a model in memory.

    Raises:
        UserError: the model has no `cfg`.
    """
    cfg = model.cfg
    if cfg is None:
        raise UserError(
            'this model does not know its config, which is saved with it: set '
            'model.cfg = load_config(PATH), or load it with from_pretrained or load_model'
        )
    state, names = model.state_dict(), public_names(cfg, {})
    sources = {name: source._asdict() for name, source in tower_sources(model).items()}
    meta = dict(
        function=function_of(cfg.model),
        tokenizer=tokenizer_mark(model.data_preprocessor.tokenizer),
        torch=str(torch.__version__),
        **({} if model.known_words is None else {'words': sorted(model.known_words)}),
    )
    return Given(
        cfg,
        Path(),
        check_name(Path(cfg.filename or 'rsrefseg2').stem),
        names,
        dict(
            state_dict={key: state[key] for key in trained_keys(model)}, towers=sources, meta=meta
        ),
        None,
        model,
        describe_towers(model, names, sources),
    )


def copy_towers(cfg: Config, names: dict[str, str | None], folder: Path) -> list[str]:
    """Copy towers without a public name to `folder`/<family>; returns their families."""
    copied = []
    for family, name in names.items():
        checkpoint = cfg.model[family].checkpoint
        source = hub.find_local(checkpoint) if isinstance(checkpoint, str) and not name else None
        if source is None:
            continue
        (folder / family).mkdir()
        patterns = hub.HUB_PATTERNS + hub.PICKLES * (not any(source.glob('*.safetensors')))
        for file in {file for pattern in patterns for file in source.glob(pattern)}:
            shutil.copyfile(file, folder / family / file.name)
        copied.append(family)
    return copied


@PRETRAINED.register_module()
def push_to_hub(
    model: RefSegModel,
    repository: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    message: str = 'Publish the model',
) -> str:
    """`save_pretrained` to `repository` (owner/name), which is made if it is not there, in one
    commit. Weights of an earlier push, and their calibration, are removed in it. Returns the
    commit's address.

    Args:
        private: of a new repository; None: the owner's default.
        token: None: that of `hf auth login`, or HF_TOKEN.
    Raises:
        UserError: see `save_pretrained`; the hub refuses it or is not reached.
    """
    api = HfApi(endpoint=constants.ENDPOINT, token=token)
    with tempfile.TemporaryDirectory(prefix='rsrefseg2-') as parent:
        folder = save_pretrained(model, Path(parent) / 'model').folder
        files = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob('*'))
            if path.is_file()
        }
        try:
            name = api.create_repo(repository, private=private, exist_ok=True).repo_id
            former = [
                file
                for file in api.list_repo_files(name)
                if HASHED.fullmatch(file) or file.endswith(CALIBRATION)
            ]
            done = api.create_commit(
                name,
                [
                    *(CommitOperationDelete(file) for file in former if file not in files),
                    *(CommitOperationAdd(file, path) for file, path in files.items()),
                ],
                commit_message=message,
            )
        except Exception as error:  # the client raises httpx, OS, value and its own errors
            raise UserError(
                f'{repository} is not pushed to {constants.ENDPOINT} ({hub.first_line(error)}): '
                'log in with `hf auth login`, check the name (owner/name) and the network, or '
                f'save_pretrained(FOLDER), then `hf upload {repository} FOLDER`'
            ) from error
    return done.commit_url
