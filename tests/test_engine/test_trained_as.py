"""What weights were trained as is kept and compared: function, tokenizer, data; and a run's folder
is its own."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsrefseg2.engine import load_config
from rsrefseg2.engine.trained_as import (
    changes,
    check_function,
    data_mark,
    function_of,
    tokenizer_mark,
    words_of,
)
from rsrefseg2.engine.work_dir import lock_work_dir, own_file, release_work_dir
from rsrefseg2.errors import UserError
from rsrefseg2.models.towers.tokenizers import StandInTokenizer
from tests.training import ROOT

SAME = {  # another form of the same function
    'siglip.vision_lora.alpha': 16,
    'siglip.vision_lora.dropout': 0.3,
    'init': 'random',
    'siglip.checkpoint': '/moved/siglip',
    'losses.dense': None,
    'sam.recompute': [1, 2],
    'data_preprocessor': {'lower_case': True},
    'prompter.sparse': {},
    'prompter.interaction': {'image_scores': True},
    'autocast': 'bfloat16',
    'test_symmetries': 'flips',
    'whole_view': 900,
}
OTHER = {
    'prompter.heads': 2,
    'siglip.vision_lora.alpha': 1,
    'siglip.text_lora': None,
    'prompter.dense.align_corners': True,
    'prompter.dense': None,
    'siglip.image_size': 64,
    'data_preprocessor': {'lower_case': False},
    'upsample_via_sam_input': True,
    'prompter.type': 'InterleavedPrompter',
    'prompter.interaction_blocks': [1, 2],
}


@pytest.fixture(scope='module')
def cfg():
    return load_config(str(ROOT / 'configs/synthrs_tiny.py'))


def changed(model, key, value):
    model = copy.deepcopy(model)
    at, names = model, key.split('.')
    for name in names[:-1]:
        at = at[name]
    at[names[-1]] = value
    return model


@pytest.mark.parametrize('by', ['function', 'cfg', 'file'])
def test_the_function_of_a_model_is_compared(cfg, tmp_path, by):
    """By the checkpoint, by an older one's config, by the config that was published with it."""
    path, checkpoint = tmp_path / 'model-01234567.pth', dict(meta={})
    if by == 'function':
        checkpoint['meta']['function'] = function_of(cfg.model)
    elif by == 'cfg':
        checkpoint['meta']['cfg'] = cfg.pretty_text
    else:
        (tmp_path / 'model.py').write_text(cfg.pretty_text)
    for key, value in SAME.items():
        check_function(changed(cfg.model, key, value), checkpoint, path)
    for key, value in OTHER.items():
        with pytest.raises(UserError, match=f'model.{key}.*instead of'):
            check_function(changed(cfg.model, key, value), checkpoint, path)


def test_a_recorded_function_may_be_of_an_older_version(cfg):
    """It lacks an option that came later and is off by default."""
    function = function_of(cfg.model)
    del function['prompter.visual_pe']
    check_function(cfg.model, dict(meta=dict(function=function)), 'a.pth')
    with pytest.raises(UserError, match="visual_pe='zero' instead of 'learnable'"):
        check_function(
            changed(cfg.model, 'prompter.visual_pe', 'zero'),
            dict(meta=dict(function=function)),
            'a.pth',
        )


def test_changes_of_a_run_are_told_and_places_are_not(cfg):
    now = copy.deepcopy(cfg)
    now.train_cfg.max_iters, now.train_dataloader.dataset.data_root = 7, '/moved'
    now.model.losses.ortho.loss_weight = 2.0
    assert changes(cfg, now) == [
        'model.losses.ortho.loss_weight=2.0 instead of 0.5',
        f'train_cfg.max_iters=7 instead of {cfg.train_cfg.max_iters}',
    ]


class Records:
    """A data set of one record."""

    def __init__(self, root, **record):
        self.data_root = str(root)
        self._record = dict(sample_id='1', img_path=str(root / 'a.png'), text='the ship', **record)

    def __len__(self):
        return 1

    def get_data_info(self, index):
        return dict(self._record, sample_idx=index)


def test_data_are_known_by_their_records_wherever_they_lie(tmp_path):
    roots = tmp_path / 'one', tmp_path / 'other'
    for root in roots:
        root.mkdir()
        (root / 'a.png').write_bytes(b'12')
    one, other = (data_mark(Records(root, category=None)) for root in roots)
    assert one == other
    assert data_mark(Records(roots[0], category='ship')) != one
    (roots[1] / 'a.png').write_bytes(b'123')
    assert data_mark(Records(roots[1], category=None)) != one
    assert data_mark(object()) is None


def test_the_words_of_a_data_set():
    class Told:
        texts = ('The red car, 2 m', 'a RED ship')

        def __len__(self):
            return len(self.texts)

        def get_data_info(self, index):
            return {'text': self.texts[index]}

    assert words_of(Told()) == ['2', 'a', 'car', 'm', 'red', 'ship', 'the']
    assert words_of([1, 2]) is None


def test_a_tokenizer_is_known_by_what_it_makes_of_text():
    one, same, other = (
        tokenizer_mark(StandInTokenizer(vocab_size=size, pad_id=0, eos_id=1))
        for size in (90, 90, 91)
    )
    assert one == same != other


# ------------------------------------------------------------------ the work dir


def test_one_training_a_work_dir(tmp_path):
    lock_work_dir(tmp_path)
    with pytest.raises(UserError, match='another training runs in the work dir'):
        lock_work_dir(tmp_path)
    release_work_dir(tmp_path)
    lock_work_dir(tmp_path)
    release_work_dir(tmp_path)
    release_work_dir(tmp_path)  # not held: nothing


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.text(max_size=9),
        st.builds(
            '{}{}{}.pth'.format,
            st.sampled_from(['', '../', '/', 'a/', '/a/../']),
            st.sampled_from(['', 'best_x_', 'best_/', 'epoch_']),
            st.sampled_from(['iter_1', '2', 'x']),
        ),
    )
)
def test_only_a_checkpoint_of_this_folder_is_a_runs_own(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / 'own'
    file = own_file(folder, name)
    assert file is None or (
        file.parent == folder and file.name.endswith('.pth') and file.name == name
    )
    if file is not None:
        assert own_file(folder, str(file)) == file  # as older checkpoints have it
        assert own_file(folder, str(folder.parent / 'other' / name)) is None
