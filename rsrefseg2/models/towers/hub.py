"""Where a tower's files are: a local folder, the hub's cache, or the hub itself.

A checkpoint is a hub name (`google/siglip2-so400m-patch16-512`) or a local folder in the hub's
format (config.json, *.safetensors or, of older checkpoints, pytorch_model*.bin, in one file or in
shards with their index, tokenizer files). A folder is looked for from the working directory first,
then inside the package rsrefseg2, where the shipped tiny towers lie.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open

from ...errors import UserError, os_errors_explained
from ...files import confined, open_regular
from ...records import read_json

PACKAGE = Path(__file__).resolve().parents[2]
TOKENIZER_FILES = ('tokenizer.json', 'spiece.model', 'tokenizer.model')
TOKENIZER_SETTINGS = ('tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json')
# What is fetched: the original *.pt and *.npz files that some repositories also hold are not.
HUB_PATTERNS = ('*.json', '*.safetensors', 'spiece.model', 'tokenizer.model', 'merges.txt')
PICKLES = ('pytorch_model*.bin',)  # CLIP's: only where there are no *.safetensors
WEIGHT_FILES = ('model.safetensors', 'pytorch_model.bin')
PROBE_SECONDS = 5.0


def local_candidates(checkpoint: str) -> list[Path]:
    """The folders that `checkpoint` may mean, in the order in which they are tried."""
    path = Path(checkpoint).expanduser()
    return [path] if path.is_absolute() else [Path.cwd() / path, PACKAGE / path]


def find_local(checkpoint: str) -> Path | None:
    """The local folder that `checkpoint` names, or None. A folder without config.json fails."""
    for folder in local_candidates(checkpoint):
        if (folder / 'config.json').is_file():
            return folder
        if folder.is_dir():
            raise UserError(
                f'checkpoint {checkpoint!r}: the folder {folder} has no config.json; '
                'a tower is a folder in the format of the Hugging Face hub'
            )
    return None


def is_hub_name(checkpoint: str) -> bool:
    """Whether `checkpoint` has the form owner/name."""
    return re.fullmatch(r'[\w.-]+/[\w.-]+', checkpoint) is not None and checkpoint[0] not in './'


class ShardIndex(msgspec.Struct):
    """`*.index.json`: which file of the folder holds which weight."""

    weight_map: dict[str, str]
    metadata: dict[str, Any]  # nothing reads it here, transformers requires it


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a tower's folder; `tower_configs.make_config` checks what it holds.

    Raises:
        UserError: it is no regular file, or no JSON object.
    """
    return read_json(folder / 'config.json', dict[str, Any], what="the tower's config")


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, there or not: one, or shards by their index; safetensors
    before pickles.

    Raises:
        UserError: an index is damaged, or a name in it leads out of the folder.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f'{name}.index.json'
        if index.is_file():
            shards = set(
                read_json(index, ShardIndex, what='the index of the weights').weight_map.values()
            )
            return [Path(confined(folder, shard, location=str(index))) for shard in sorted(shards)]
    return [folder / WEIGHT_FILES[0]]


def missing_weights(folder: Path) -> list[str]:
    """Names of the weight files that `folder` lacks; [] when it is complete."""
    return [file.name for file in weight_files(folder) if not file.is_file()]


def held_weights(folder: Path) -> int:
    """How many weights the files hold by their headers; of pickles, their bytes.

    Raises:
        UserError: a header is damaged, or a file ends before its weights do.
    """
    held = 0
    for file in weight_files(folder):
        if file.suffix != '.safetensors':
            held += file.stat().st_size
            continue
        try:
            with safe_open(file, 'pt') as weights:
                held += sum(
                    math.prod(weights.get_slice(name).get_shape()) for name in weights.keys()
                )  # noqa: SIM118 (no dict)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f'the weights in {file} cannot be read ({" ".join(str(error).split())}'
                '): fetch or save them again'
            ) from error
    return held


@contextlib.contextmanager
def weights_written(folder: Path) -> Iterator[None]:
    """Within the block, weights are saved to `folder`: what the disk refuses is one line.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    try:
        with os_errors_explained(f'writing to {folder}'):
            yield
    except SafetensorError as error:  # its only fault in writing: the system's, as text
        raise UserError(
            f'writing to {folder}: {" ".join(str(error).split())}: free some space or '
            'choose another folder'
        ) from error


def require_regular(folder: Path) -> None:
    """Every file of `folder` may be opened by a library: none is a FIFO or a device, which may
    block for ever.

    Raises:
        UserError: the first that is.
    """
    for entry in sorted(folder.iterdir()):
        if os.path.exists(entry) and not entry.is_dir() and not stat.S_ISREG(entry.stat().st_mode):
            open_regular(entry, what='a file of the tower').close()


def check_tokenizer_settings(folder: Path) -> None:
    """The small files beside a tokenizer are JSON objects, where there are any.

    Raises:
        UserError: one is not.
    """
    for name in TOKENIZER_SETTINGS:
        if (folder / name).exists():
            read_json(folder / name, dict[str, Any], what="the tokenizer's settings")


def missing_tokenizer(folder: Path) -> list[str]:
    """['tokenizer.json'] when `folder` holds no tokenizer, else []."""
    found = any((folder / name).is_file() for name in TOKENIZER_FILES)
    return [] if found else ['tokenizer.json']


RANDOM_INSTEAD = (
    "or give a local folder as checkpoint, or set model.init='random' to build the model without "
    'weights'
)


def fetch(
    checkpoint: str, missing: Callable[[Path], Sequence[str]], *, otherwise: str = RANDOM_INSTEAD
) -> Path:
    """The folder of a pretrained checkpoint, complete by `missing(folder) -> names`.

    Tried in this order: a local folder, the hub's cache (no network), the hub. A hub that does
    not answer within `PROBE_SECONDS` is an error at once: its client would retry for minutes.

    Args:
        otherwise: what to do without it, for the message.
    """
    local = find_local(checkpoint)
    if local is not None:
        lacking = missing(local)
        if lacking:
            raise UserError(
                f'checkpoint {checkpoint!r}: the folder {local} lacks '
                f'{", ".join(lacking[:3])}; fetch or save it again'
            )
        return local
    if not is_hub_name(checkpoint):
        tried = ' and '.join(str(path) for path in local_candidates(checkpoint))
        raise UserError(
            f'checkpoint {checkpoint!r} is not a folder (looked for {tried}) and not '
            'a hub name (owner/name)'
        )
    cached = _cached(checkpoint, HUB_PATTERNS)
    if cached is not None and not missing(cached):
        return cached
    _require_hub(checkpoint, otherwise)
    try:
        folder = _snapshot(checkpoint, HUB_PATTERNS)
        if missing(folder) == [WEIGHT_FILES[0]]:  # none at all: an older checkpoint
            folder = _snapshot(checkpoint, HUB_PATTERNS + PICKLES)
    except Exception as error:  # the client raises httpx, OS and its own errors
        raise _unreachable(checkpoint, first_line(error), otherwise) from error
    lacking = missing(folder)
    if lacking:
        raise _unreachable(
            checkpoint, f'the repository there lacks {", ".join(lacking[:3])}', otherwise
        )
    return folder


def _cached(name: str, patterns: Sequence[str]) -> Path | None:
    """The folder of the hub's cache that holds `name`; None when the cache has none."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return _snapshot(name, patterns, local_files_only=True)
    except LocalEntryNotFoundError:
        return None


def fetch_files(
    name: str, choose: Callable[[Sequence[str]], Sequence[str]], *, otherwise: str
) -> Path:
    """The folder of the hub's cache with the files `choose(all files there)` of the repository
    `name`: as the hub has them now, or, where it does not answer, as they were fetched before.

    Args:
        choose: all names -> those that are wanted, or patterns; a UserError where one is missing.
        otherwise: what to do by hand, for the message.
    Raises:
        UserError: neither the hub nor the cache gives the files; what `choose` raises.
    """
    try:
        files = _list_files(name)
    except UserError as error:
        return _fetched_before(name, choose, reason=str(error), otherwise=otherwise)
    wanted = choose(files)
    try:
        return _snapshot(name, wanted)
    except Exception as error:  # as in `fetch`
        raise _not_fetched(name, first_line(error), otherwise) from error


def _list_files(name: str) -> list[str]:
    """Asks the hub once, without the client's retries."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise UserError('HF_HUB_OFFLINE forbids the network')
    try:
        found = HfApi(endpoint=constants.ENDPOINT).model_info(name, timeout=PROBE_SECONDS)
    except Exception as error:  # as in `_require_hub`; or there is no such repository
        raise UserError(first_line(error)) from error
    return [file.rfilename for file in found.siblings or ()]


def _fetched_before(
    name: str, choose: Callable[[Sequence[str]], Sequence[str]], *, reason: str, otherwise: str
) -> Path:
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder = _cached(name, ())
    if folder is not None:
        held = [file.relative_to(folder).as_posix() for file in folder.rglob('*') if file.is_file()]
        # The cache lacks them, or some of them: an interrupted download.
        with contextlib.suppress(UserError, LocalEntryNotFoundError):
            return _snapshot(name, choose(held), local_files_only=True)
    raise _not_fetched(name, reason, otherwise)


def _not_fetched(name: str, reason: str, otherwise: str) -> UserError:
    from huggingface_hub import constants

    return UserError(
        f'{name} is not fetched from {constants.ENDPOINT} ({reason}), and the cache '
        f'{constants.HF_HUB_CACHE} does not hold it: {otherwise}'
    )


def _snapshot(name: str, patterns: Sequence[str], *, local_files_only: bool = False) -> Path:
    """The files of `name` that match `patterns`, in the hub's cache; downloads what it lacks."""
    from huggingface_hub import constants, snapshot_download

    return Path(
        snapshot_download(
            name,
            allow_patterns=list(patterns),
            cache_dir=constants.HF_HUB_CACHE,
            endpoint=constants.ENDPOINT,
            local_files_only=local_files_only,
        )
    )


def _require_hub(name: str, otherwise: str) -> None:
    """Ask the hub once for config.json, without the client's retries."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session

    if constants.HF_HUB_OFFLINE:
        raise _unreachable(name, 'HF_HUB_OFFLINE forbids the network', otherwise)
    try:
        url = hf_hub_url(name, 'config.json', endpoint=constants.ENDPOINT)
        answer = get_session().head(url, headers=build_hf_headers(), timeout=PROBE_SECONDS)
    except Exception as error:  # no route, no name, no answer, a proxy's refusal
        raise _unreachable(
            name, f'the hub does not answer: {first_line(error)}', otherwise
        ) from error
    if answer.status_code >= 400:
        raise _unreachable(
            name, f'the hub answers HTTP {answer.status_code} for its config.json', otherwise
        )


def _unreachable(name: str, reason: str, otherwise: str) -> UserError:
    """Which checkpoint, where it was looked for, why not, and what fetches it: one line."""
    from huggingface_hub import constants

    tried = ', '.join(f'{path} (no such folder)' for path in local_candidates(name))
    return UserError(
        f'checkpoint {name!r} is not available. Looked in: {tried}, the cache '
        f'{constants.HF_HUB_CACHE} (not there, or incomplete), {constants.ENDPOINT} ({reason}). '
        f'Fetch it with `hf download {name}` on a machine with network (HF_HOME moves the cache, '
        'HF_ENDPOINT names another server, HF_HUB_OFFLINE=1 forbids the network), '
        f'{otherwise}'
    )


def first_line(error: Exception) -> str:
    """The kind of an error of the hub's client, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0]}' if lines else type(error).__name__
