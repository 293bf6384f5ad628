"""Getting a benchmark: from a stand-in of the hub, from archives; verified at the end."""

import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from rsrefseg2.dataprep.download import SOURCES, download, unpack
from rsrefseg2.datasets import RefSegRS
from rsrefseg2.errors import UserError
from tests.fabricate import fabricate

REFSEGRS = SOURCES['refsegrs']


@pytest.fixture
def archive(tmp_path):
    root = fabricate('refsegrs', tmp_path / 'made')
    return Path(shutil.make_archive(str(tmp_path / 'hub/RefSegRS'), 'zip', root))


class Hub:
    """What `download` uses of huggingface_hub; the real hub was not asked."""

    def __init__(self, archive, *, damage=False, fails=None):
        self.archive, self.damage, self.fails, self.asked = archive, damage, fails, []

    def hf_hub_download(self, repository, name, *, repo_type, local_dir):
        self.asked.append((repository, name, repo_type))
        if self.fails is not None:
            raise self.fails
        path = Path(local_dir) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.archive.read_bytes() + b'x' * self.damage)
        return str(path)

    def HfApi(self):
        digest = hashlib.sha256(self.archive.read_bytes()).hexdigest()
        return SimpleNamespace(
            get_paths_info=lambda repository, names, *, repo_type: [
                SimpleNamespace(path=name, lfs=SimpleNamespace(sha256=digest)) for name in names
            ]
        )


def test_the_client_has_what_is_used():
    """The stand-in's signatures are the real client's."""
    import inspect

    import huggingface_hub

    names = inspect.signature(huggingface_hub.hf_hub_download).parameters
    assert {'repo_id', 'filename', 'repo_type', 'local_dir'} <= set(names)
    names = inspect.signature(huggingface_hub.HfApi.get_paths_info).parameters
    assert {'repo_id', 'paths', 'repo_type'} <= set(names)
    from huggingface_hub.hf_api import BlobLfsInfo

    assert 'sha256' in inspect.signature(BlobLfsInfo).parameters


def test_from_the_hub(archive, tmp_path):
    hub = Hub(archive)
    path = download(REFSEGRS, tmp_path / 'data', hub=hub)
    assert hub.asked == [('JessicaYuan/RefSegRS', 'RefSegRS.zip', 'dataset')]
    assert unpack([path], tmp_path / 'data') == 8 + 8 + 3
    assert len(RefSegRS(data_root=str(tmp_path / 'data'), split='train')) == 4
    (tmp_path / 'data/images/3.tif').write_bytes(b'cut')
    assert unpack([path], tmp_path / 'data') == 1  # the rest is there


def test_another_file_than_stated(archive, tmp_path):
    with pytest.raises(UserError, match='its checksum is not the one that the hub states'):
        download(REFSEGRS, tmp_path, hub=Hub(archive, damage=True))


def test_no_network(archive, tmp_path):
    with pytest.raises(UserError) as caught:
        download(REFSEGRS, tmp_path, hub=Hub(archive, fails=OSError('no route\nto host')))
    assert (
        'RefSegRS.zip of JessicaYuan/RefSegRS is not fetched (OSError: no route): run the same '
        'command again'
    ) in str(caught.value) and '\n' not in str(caught.value)


def test_parts_are_joined(tmp_path):
    root = fabricate('rrsisd', tmp_path / 'made')
    files = sorted(path for path in root.rglob('*') if path.is_file())
    for number in range(2):
        with zipfile.ZipFile(tmp_path / f'part{number}.zip', 'w') as part:
            for path in files[number::2]:
                part.write(path, f'RRSIS-D/{path.relative_to(root)}')
    assert unpack(sorted(tmp_path.glob('part*.zip')), tmp_path / 'data') == len(files)
    copied = tmp_path / 'data/RRSIS-D'
    assert all(
        (copied / path.relative_to(root)).read_bytes() == path.read_bytes() for path in files
    )
    with tarfile.open(tmp_path / 'all.tar.gz', 'w:gz') as whole:
        whole.add(root, 'RRSIS-D')
    assert unpack([tmp_path / 'all.tar.gz'], tmp_path / 'tar') == len(files)


@pytest.mark.parametrize(
    'name', ['../outside', '/tmp/outside', 'a/../../outside', 'C:outside', '..\\outside']
)
def test_nothing_is_written_outside(name, tmp_path):
    with zipfile.ZipFile(tmp_path / 'bad.zip', 'w') as bad:
        bad.writestr(name, 'x')
    with pytest.raises(UserError, match='do not trust this archive'):
        unpack([tmp_path / 'bad.zip'], tmp_path / 'data')
    with tarfile.open(tmp_path / 'bad.tar', 'w') as bad:
        bad.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(UserError, match='do not trust this archive'):
        unpack([tmp_path / 'bad.tar'], tmp_path / 'data')


def test_damaged_archives(archive, tmp_path):
    content = bytearray(archive.read_bytes())
    (tmp_path / 'cut.zip').write_bytes(content[: len(content) // 2])
    with zipfile.ZipFile(tmp_path / 'stored.zip', 'w') as stored:
        stored.writestr('a.txt', 'sentence' * 50)
    flipped = bytearray((tmp_path / 'stored.zip').read_bytes())
    flipped[100] ^= 1
    (tmp_path / 'flipped.zip').write_bytes(flipped)
    (tmp_path / 'zeros.tar').write_bytes(bytes(10240))  # two blocks of zeros end a tar file
    for name in ('cut.zip', 'flipped.zip', 'zeros.tar'):
        with pytest.raises(UserError, match=f'{name}: .*fetch it again'):
            unpack([tmp_path / name], tmp_path / 'data')
    os.mkfifo(tmp_path / 'fifo.zip')
    for name, says in (('none.zip', 'does not exist'), ('fifo.zip', 'is a FIFO')):
        with pytest.raises(UserError, match=f'{name}.*{says}'):
            unpack([tmp_path / name], tmp_path / 'data')
    assert not (tmp_path / 'data/a.txt').exists()  # never half a file under its name


def test_the_tool(run, archive, tmp_path):
    code, _, err = run('data/fetch.py', 'risbench')
    assert code == 2 and 'Baidu Netdisk (code wnxg)' in err and err.count('\n') == 1
    code, out, _ = run('data/fetch.py', 'refsegrs', archive, '--to', tmp_path / 'data')
    assert code == 1 and f'19 files unpacked into {tmp_path}/data' in out  # counts are not the real
    assert archive.is_file()
