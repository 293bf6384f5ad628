"""A folder of output is claimed, appears whole, and takes nothing of others."""

import pytest

from rsrefseg2.dataprep.new_folder import complete_folder
from rsrefseg2.errors import UserError


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*'))


def test_a_second_command_is_refused_at_its_start(tmp_path):
    out = tmp_path / 'new/out'
    with complete_folder(out) as root:
        (root / 'a').touch()
        with pytest.raises(UserError, match='out is being written by another command'):
            with complete_folder(out):
                raise AssertionError
    assert names(tmp_path) == ['new', 'new/out', 'new/out/a']
    with pytest.raises(UserError, match='out is there and not empty'):
        with complete_folder(out):
            raise AssertionError


def test_a_failure_leaves_nothing_and_frees_the_folder(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            with complete_folder(tmp_path / 'out') as root:
                (root / 'a').touch()
                raise KeyboardInterrupt
        assert not names(tmp_path)


@pytest.mark.parametrize('fails', [False, True])
def test_what_others_put_there_meanwhile_stays(tmp_path, fails):
    out = tmp_path / 'out'
    with pytest.raises(UserError) as caught:
        with complete_folder(out) as root:
            (root / 'a').touch()
            (out / 'photo').write_text('mine')
            if fails:
                raise UserError('no')
    assert names(out) == ['photo'] and (out / 'photo').read_text() == 'mine'
    assert root.exists() != fails
    if not fails:  # the work is not lost
        assert str(root) in str(caught.value) and names(root) == ['a']


def test_only_own_files_go(tmp_path):
    out = tmp_path / 'out'
    (out / 'sub').mkdir(parents=True)
    for name in ('old', 'sub/old', 'photo'):
        (out / name).write_text(name)
    with pytest.raises(UserError, match="1 files that this command did not write .'photo'"):
        with complete_folder(out, own={'old', 'sub/old'}):
            raise AssertionError
    (out / 'photo').unlink()
    with complete_folder(out, own={'old', 'sub/old'}) as root:
        (root / 'new').touch()
    assert names(tmp_path) == ['out', 'out/new']
    with pytest.raises(UserError, match='files that it got meanwhile are in') as caught:
        with complete_folder(out, own={'new'}) as root:
            (out / 'photo').write_text('mine')
    (kept,) = set(tmp_path.iterdir()) - {out}
    assert names(out) == [] and names(kept) == ['photo'] and str(kept) in str(caught.value)


def test_a_link_is_followed_and_a_file_refused(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    with complete_folder(tmp_path / 'link') as root:
        (root / 'a').touch()
    assert names(tmp_path) == ['link', 'real', 'real/a']
    for bad in ('real/a', 'real/a/b'):
        with pytest.raises(UserError, match='real/a'):
            with complete_folder(tmp_path / bad):
                raise AssertionError
