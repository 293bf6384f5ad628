"""Files: whole or not at all, in their folder, regular ones alone, nobody else's replaced."""

import errno
import os
import socket
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrefseg2 import files
from rsrefseg2.errors import UserError


def entries(folder):
    return {path.name: None if path.is_dir() else path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    'error',
    [
        KeyError('ours'),
        KeyboardInterrupt(),
        SystemExit(3),
        OSError(errno.ENOSPC, 'No space left'),
        OSError(errno.EIO, 'Input/output error'),
        OSError(errno.EINVAL, 'a fault of ours'),
    ],
)
@pytest.mark.parametrize('old', [None, b'old'])
def test_a_failure_leaves_what_was_there(tmp_path, error, old):
    path = tmp_path / 'scores.json'
    if old is not None:
        path.write_bytes(old)
    before = entries(tmp_path)

    def fail(temporary):
        temporary.write_bytes(b'half')
        raise error

    user = isinstance(error, OSError) and error.errno != errno.EINVAL
    with pytest.raises(UserError if user else type(error)) as caught:
        files.write_with(path, fail)
    assert not user or str(caught.value).startswith(f'writing {path}: ')
    assert entries(tmp_path) == before


def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(tmp_path):
    (tmp_path / 'theirs').write_text('theirs')
    (tmp_path / 'link').symlink_to('theirs')
    files.write_text(tmp_path / 'link', 'ours')
    assert entries(tmp_path) == {'theirs': b'theirs', 'link': b'ours'}
    assert not (tmp_path / 'link').is_symlink()


@pytest.mark.parametrize('mask', [0o022, 0o077])
def test_permissions_are_the_old_files_or_the_users(tmp_path, mask):
    before = os.umask(mask)
    try:
        for name, old in (('new', None), ('private', 0o600), ('shared', 0o664)):
            path = tmp_path / name
            if old is not None:
                path.touch()
                path.chmod(old)
            files.write_text(path, 'text')
            assert stat.S_IMODE(path.stat().st_mode) == (old or 0o666 & ~mask)
    finally:
        os.umask(before)


@given(
    name=st.text(min_size=1, max_size=255).filter(
        lambda name: '/' not in name and '\0' not in name and name not in ('.', '..')
    )
)
@settings(max_examples=40)
def test_any_name_is_written_or_refused(tmp_path, name):
    """Control characters, halves of surrogates, dots anywhere, too many bytes."""
    path = tmp_path / name
    try:
        files.write_text(path, 'a\ud800')
    except (UserError, UnicodeEncodeError):
        # half a surrogate pair is no name unless it stands for a byte
        assert not list(tmp_path.iterdir())
    else:
        assert entries(tmp_path) == {path.name: b'a\\ud800'}
        path.unlink()


@pytest.mark.parametrize('name', ['a.' + 'b' * 250, 'x' * 250 + '.json', 'v1. ' + 'word ' * 49])
def test_a_long_name_that_the_system_allows_is_written(tmp_path, name):
    files.write_text(tmp_path / name, 'text')
    assert list(entries(tmp_path)) == [name]


def test_where_it_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder').mkdir()
    for path in ('none/a', 'file/a', 'folder', 'x' * 300):
        with pytest.raises(UserError, match='^writing '):
            files.write_text(tmp_path / path, '')
    assert set(entries(tmp_path)) == {'file', 'folder'}


@given(
    st.lists(
        st.sampled_from(['..', '.', 'a', '', '/', 'b.png', '\0', '~', '\\', 'ü']), max_size=5
    ).map('/'.join)
    | st.text(max_size=8)
)
@settings(max_examples=80)
def test_a_name_stays_in_its_folder(name):
    try:
        path = files.confined('/data/images', name, location='f.json:3')
    except UserError as error:
        assert str(error).startswith('f.json:3: ')
        inside = os.path.normpath(f'/data/images/{name}').startswith('/data/images/')
        assert '..' in name.split('/') or name.startswith('/') or '\0' in name or not inside
    else:
        assert os.path.normpath(path).startswith('/data/images/') and '\0' not in path


def test_only_regular_files_are_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name is limited
    os.mkfifo(tmp_path / 'fifo')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind('socket')
        (tmp_path / 'loop').symlink_to('loop')
        (tmp_path / 'link').symlink_to('fifo')
        for name, says in (
            ('fifo', 'is a FIFO'),
            ('link', 'is a FIFO'),
            ('.', 'is a folder'),
            ('/dev/null', 'is a device'),
            ('loop', 'cannot be opened'),
            ('socket', 'cannot be opened'),
            ('none', 'does not exist'),
            ('a\0b', 'no name'),
        ):
            with pytest.raises(UserError, match=says):
                files.read_bytes(tmp_path / name)
    (tmp_path / 'text').write_bytes(b'\xef\xbb\xbfa\r\nb')
    (tmp_path / 'to text').symlink_to('text')
    assert files.read_text(tmp_path / 'to text') == 'a\r\nb'


def test_only_what_bears_the_mark_is_replaced(tmp_path):
    ours, theirs, link = (tmp_path / name for name in ('ours', 'theirs', 'link'))
    ours.write_bytes(b'\xff page made by us')
    away = bytes(files.MARK_WITHIN)
    theirs.write_bytes(away + b'made by us' + away)
    link.symlink_to('ours')
    files.require_free(tmp_path / 'new')
    files.require_free(ours, mark='made by us')
    for path, mark in ((theirs, 'made by us'), (ours, None), (link, 'made by us')):
        with pytest.raises(UserError, match='--overwrite'):
            files.require_free(path, mark=mark)
        files.require_free(path, mark=mark, overwrite=True)
    with pytest.raises(UserError, match='is a folder: choose another --dump'):
        files.require_free(tmp_path, option='--dump', overwrite=True)
