"""The tiny model learns generated scenes, and each of its trained parts takes part in that."""

import json
import re

import pytest
import torch

from rsrefseg2.engine import build_runner
from tests.training import ROOT, Recorder, prepare

ITERATIONS = 30
PARTS = {
    'vision LoRA': r'encoder\.vision_model\..*lora_',
    'text LoRA': r'encoder\.text_model\..*lora_',
    'decomposition': r'prompter\.decomposition\.',
    'first order': r'prompter\.first_order\.',
    'second order': r'prompter\.second_order\.',
    'sparse': r'prompter\.sparse\.',
    'dense': r'prompter\.dense\.',
    'SAM LoRA': r'mask_generator\..*lora_',
    'mask decoder': r'mask_generator\..*mask_decoder\.',
}

# Without its gradient the loss stays higher, by 0.07 to 0.8. For the others, 30 iterations are too
# few to show it: their weights alone are checked.
MISSED = ('decomposition', 'first order', 'second order', 'sparse', 'mask decoder')


class Cut(Recorder):
    """Records the run; the gradient of the part `cut` is 0."""

    priority = 'VERY_LOW'  # after what sets the start values

    def __init__(self, cut=None):
        super().__init__()
        self.cut = cut

    def before_train(self, runner):
        super().before_train(runner)
        for name, parameter in runner.model.named_parameters():
            if self.cut and parameter.requires_grad and re.match(PARTS[self.cut], name):
                parameter.register_hook(torch.zeros_like)


def learn(dataset, folder, iterations, cut=None):
    """The record, and the gIoU of the training split after the last iteration."""
    data = dict(data_root=str(dataset / 'rrsisd'))
    options = {
        'train_cfg.max_iters': iterations,
        'train_cfg.val_interval': iterations,
        'train_dataloader.batch_size': 12,
        'train_dataloader.dataset.data_root': data['data_root'],
        'val_dataloader.dataset.data_root': data['data_root'],
        'val_dataloader.dataset.split': 'train',
        'default_hooks.checkpoint': None,
        'default_hooks.logger.interval': 1,
        # weight decay moves what has no gradient
        'optim_wrapper.optimizer.weight_decay': 0.0,
        'param_scheduler': [
            dict(type='LinearLR', start_factor=0.1, begin=0, end=5, by_epoch=False)
        ],
    }
    runner = build_runner(prepare(ROOT / 'configs/synthrs_tiny.py', folder, **options))
    record = Cut(cut)
    runner.register_hook(record)
    runner.train()
    (log,) = folder.glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return record, [row['gIoU'] for row in rows if 'gIoU' in row][-1]


def mean_loss(record, part):
    losses = [losses['loss'] for losses in record.losses[part]]
    return sum(losses) / len(losses)


def unmoved(record):
    """The parts of which no weight changed."""
    found = set()
    for part, pattern in PARTS.items():
        names = [name for name in record.trained if re.match(pattern, name)]
        assert names, f'{part}: nothing of it is trained'
        if all(torch.equal(record.start[name], record.end[name]) for name in names):
            found.add(part)
    return found


@pytest.fixture(scope='module')
def learned(dataset, tmp_path_factory):
    return learn(dataset, tmp_path_factory.mktemp('learned'), ITERATIONS)


def test_the_loss_falls_and_the_masks_improve(learned):
    """From a loss of 2.4 and, after two iterations, a gIoU of 55."""
    record, score = learned
    first, last = (mean_loss(record, part) for part in (slice(0, 5), slice(-5, None)))
    assert last < 0.8 * first
    assert score > 65
    assert unmoved(record) == set()


def test_every_trained_weight_belongs_to_a_part(learned):
    rest = {
        name
        for name in learned[0].trained
        if not any(re.match(pattern, name) for pattern in PARTS.values())
    }
    assert rest == {'prompter.visual_pe', 'losses.sample.logit_scale'}


def test_a_part_that_is_cut_is_seen(dataset, tmp_path):
    """The control; every part: the slow tier."""
    assert unmoved(learn(dataset, tmp_path / 'run', 2, cut='text LoRA')[0]) == {'text LoRA'}


@pytest.mark.slow
@pytest.mark.parametrize('cut', PARTS)
def test_each_part_that_is_cut_is_seen(learned, dataset, tmp_path, cut):
    record, _ = learn(dataset, tmp_path / 'run', ITERATIONS, cut=cut)
    assert unmoved(record) == {cut}
    if cut in MISSED:
        assert mean_loss(record, slice(-5, None)) > mean_loss(learned[0], slice(-5, None)) + 0.03
