"""A checkpoint's files are held to a schema and checked to the last byte: whatever is in them, the
end is the content that was written, or one line."""

import hashlib
import io
import os
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrefseg2.engine.checkpoint_files import (
    find_newest,
    optim_file,
    read_checkpoint,
    read_optim,
    write_atomically,
)
from rsrefseg2.errors import UserError

WEIGHTS = {'a.weight': torch.arange(6.0).reshape(2, 3), 'a.count': torch.tensor(3)}
TOWERS = {'encoder': dict(checkpoint='org/tower', sha256='0' * 64)}


def content(iteration=4, *, begun='20260101_000000', saved=1.0):
    meta = dict(epoch=1, iter=iteration, epoch_length=4, seed=0, saved=saved, begun=begun)
    return dict(state_dict=dict(WEIGHTS), towers=TOWERS, meta=meta)


def second(iteration=4, *, saved=1.0):
    return dict(
        optimizer=dict(
            state={'a.weight': dict(step=torch.tensor(4.0), exp_avg=torch.zeros(2, 3))},
            groups=[dict(lr=0.1, initial_lr=0.2)],
        ),
        meta=dict(iter=iteration, saved=saved),
        param_schedulers=[dict(last_step=4)],
        message_hub=dict(
            runtime_info=dict(checkpoints=['iter_4.pth'], best_score=1.5),
            resumed_keys=dict(checkpoints=True),
            log_scalars={'train/loss': [torch.ones(2), torch.ones(2)]},
        ),
    )


def save(folder, iteration=4, **options):
    path = folder / f'iter_{iteration}.pth'
    write_atomically(content(iteration, **options), path)
    options.pop('begun', None)
    write_atomically(second(iteration, **options), optim_file(path))
    return path


def as_bytes(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


def test_what_is_written_is_read(tmp_path):
    path = save(tmp_path)
    checkpoint = read_checkpoint(path)
    assert equal(checkpoint, content())
    assert read_optim(path, checkpoint)['optimizer']['groups'] == second()['optimizer']['groups']


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_gives_what_was_written_or_one_line(tmp_path_factory, data):
    raw = bytearray(as_bytes(content()))
    at = data.draw(
        st.one_of(
            st.integers(0, len(raw) - 1), st.integers(raw.index(b'PK\x01\x02'), len(raw) - 1)
        ),
        label='byte',
    )  # the directory, too
    if data.draw(st.booleans(), label='cut'):
        del raw[at:]
    else:
        raw[at] ^= 1 << data.draw(st.integers(0, 7), label='bit')
    path = tmp_path_factory.mktemp('damaged') / 'iter_4.pth'
    path.write_bytes(raw)
    try:
        assert equal(read_checkpoint(path), content())
    except UserError as error:
        assert str(path) in str(error) and '\n' not in str(error)


@settings(max_examples=60, deadline=None)
@given(
    pickle=st.one_of(
        st.binary(max_size=40).map(lambda rest: b'\x80\x02' + rest),
        st.sampled_from(
            [
                b'',
                b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.',
                b'\x80\x02ctorch\nfloat32\n)R.',
                b'\x80\x02}X\n\x00\x00\x00state_dictctorch\nTensor\ns.',
            ]
        ),
    )
)
def test_any_pickle_in_it_is_a_checkpoint_or_one_line(tmp_path_factory, pickle):
    path = tmp_path_factory.mktemp('pickled') / 'a.pth'
    with (
        zipfile.ZipFile(io.BytesIO(as_bytes(content()))) as given,
        zipfile.ZipFile(path, 'w') as made,
    ):
        for name in given.namelist():
            made.writestr(name, pickle if name.endswith('data.pkl') else given.read(name))
    with pytest.raises(UserError, match=str(path)):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (dict(state_dict=None), 'state_dict is no dict'),
        (dict(state_dict=[1]), 'state_dict is no dict'),
        (dict(state_dict={1: torch.zeros(1)}), 'the name 1 is no text'),
        (dict(state_dict={'a': None}), "'a' is no tensor"),
        (dict(state_dict={'a': torch.tensor([True])}), "'a' is of type bool"),
        (dict(state_dict={'a': torch.zeros(1, dtype=torch.complex64)}), "'a' is of type complex64"),
        (dict(state_dict={'a': torch.eye(2).to_sparse()}), "'a' is no plain tensor"),
        (dict(state_dict={'a': torch.zeros(1, device='meta')}), "'a' is no plain tensor"),
        (dict(state_dict={'a': torch.zeros(1).expand(10**12)}), 'larger than what is stored'),
        (
            dict(state_dict={'a': torch.tensor([0, float('nan')]), 'b': torch.zeros(1)}),
            r'1 of 2 weights are NaN or infinite \(a\)',
        ),
        (dict(state_dict={'a': torch.tensor([1e300], dtype=torch.float64)}), 'NaN or infinite'),
        (dict(towers=None), 'towers: expected object'),
        (dict(towers=[]), 'towers: expected object'),
        (dict(towers={'a': 'b'}), 'towers.*expected object'),
        (dict(towers={'a': {'sha256': 'b'}}), 'towers.*checkpoint'),
        (dict(meta=None), 'meta: expected object'),
        (dict(meta={'iter': 'x'}), r'meta\.iter: expected'),
        (dict(meta={'epoch_length': 0}), r'meta\.epoch_length'),
        (dict(meta={'function': []}), r'meta\.function: expected object'),
        (dict(release={'dataset': 'x', 'unused': None}), r'release\.unused: expected object'),
    ],
)
def test_a_checkpoint_is_held_to_its_schema(tmp_path, change, says):
    torch.save({**content(), **change}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match=f'a.pth:? .*{says}|a.pth: {says}'):
        read_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (dict(optimizer=[]), 'optimizer: expected object'),
        (dict(optimizer=dict(state={'a': {'exp_avg': 'x'}}, groups=[])), 'expected float'),
        (
            dict(optimizer=dict(state={'a': {'m': torch.zeros(1).expand(9**9)}}, groups=[])),
            'larger',
        ),
        (
            dict(
                message_hub=dict(
                    runtime_info=dict(checkpoints=[1]), resumed_keys={}, log_scalars={}
                )
            ),
            'expected str',
        ),
        (
            dict(
                message_hub=dict(
                    runtime_info={},
                    resumed_keys={},
                    log_scalars={'a': [torch.ones(2), torch.ones(3)]},
                )
            ),
            'two equal rows',
        ),
        (dict(meta=dict(iter=4, saved=2.0)), 'were not saved together'),
    ],
)
def test_a_second_file_is_held_to_its_schema(tmp_path, change, says):
    path = save(tmp_path)
    torch.save({**second(), **change}, optim_file(path))
    with pytest.raises(UserError, match=says):
        read_optim(path, read_checkpoint(path))


@pytest.mark.parametrize('form', ['alone', 'wrapped', 'wrapped alone'])
def test_weights_alone_and_of_ddp_are_a_checkpoint(tmp_path, form):
    weights = {
        ('module.' if 'wrapped' in form else '') + name: value for name, value in WEIGHTS.items()
    }
    torch.save(weights if 'alone' in form else dict(state_dict=weights), tmp_path / 'a.pth')
    assert equal(read_checkpoint(tmp_path / 'a.pth')['state_dict'], WEIGHTS)


def test_the_hash_in_a_published_name_is_checked(tmp_path):
    raw = as_bytes(content())
    digest = hashlib.sha256(raw).hexdigest()[:8]
    wrong = '0' * 8 if digest != '0' * 8 else '1' * 8
    for name, fine in ((digest, True), (wrong, False), ('20260101', True), ('best', True)):
        path = tmp_path / f'model-{name}.pth'
        path.write_bytes(raw)
        if fine:
            read_checkpoint(path)
        else:
            with pytest.raises(UserError, match=f'does not begin with {wrong}'):
                read_checkpoint(path)


def test_only_a_regular_file_is_opened(tmp_path):
    os.mkfifo(tmp_path / 'a.pth')
    with pytest.raises(UserError, match='is a FIFO'):
        read_checkpoint(tmp_path / 'a.pth')


def test_the_newest_is_the_farthest_of_the_run_that_began_last(tmp_path):
    save(tmp_path, 4, saved=9.0)
    save(tmp_path, 12, saved=5.0)  # the clock was set back
    newest = save(tmp_path, 8, begun='20260101_000001')
    assert find_newest(tmp_path) == (newest, [])
    optim_file(newest).write_bytes(optim_file(newest).read_bytes()[:-100])
    path, passed = find_newest(tmp_path)
    assert path.name == 'iter_12.pth' and len(passed) == 1 and 'iter_8_optim.pth' in passed[0]


def test_writing_follows_no_link(tmp_path):
    precious = tmp_path / 'precious'
    precious.write_text('of others')
    (tmp_path / '.a.pth.unfinished').symlink_to(precious)
    write_atomically(content(), tmp_path / 'a.pth')
    assert precious.read_text() == 'of others' and equal(
        read_checkpoint(tmp_path / 'a.pth'), content()
    )
