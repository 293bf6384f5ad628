"""Out of memory: one line with the batch, what was being done, and the levers that are left."""

import pytest
import torch

from rsrefseg2.engine import explain_out_of_memory, load_config
from rsrefseg2.engine.out_of_memory import levers_of
from rsrefseg2.errors import UserError
from rsrefseg2.models import RSRefSeg2
from rsrefseg2.models.losses import SegmentationLoss
from rsrefseg2.options import parse_value
from tests.training import ROOT, prepare, train, write_config

FULL = str(ROOT / 'configs/rrsisd_siglip2_sam21l.py')


@pytest.fixture
def cfg(tmp_path, towers, rrsisd_root):
    config = write_config(
        tmp_path / 'tiny.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
    )
    return prepare(config, tmp_path / tmp_path.name)


def run_out(*args, **kwargs):
    raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')


def line_of(cfg, loader='train_dataloader'):
    with pytest.raises(UserError) as caught, explain_out_of_memory(cfg, loader):
        train(cfg.filename, cfg.work_dir)
    assert '\n' not in str(caught.value)
    return str(caught.value)


class RunsOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        run_out()


def test_the_batch_and_the_forward_pass(cfg, monkeypatch):
    monkeypatch.setattr(SegmentationLoss, 'forward', run_out)
    line = line_of(cfg)
    assert 'out of memory in the forward pass' in line
    assert 'images (I_1 32 x 32, I_2 64 x 64) and B=2 sentences a device' in line
    assert 'U=1 ' in line or 'U=2 ' in line


def test_the_backward_pass(cfg, monkeypatch):
    loss = RSRefSeg2.loss
    monkeypatch.setattr(
        RSRefSeg2,
        'loss',
        lambda *args: {name: RunsOut.apply(value) for name, value in loss(*args).items()},
    )
    assert 'out of memory in the backward pass' in line_of(cfg)


def test_the_optimizers_step(cfg, monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, 'step', run_out)
    assert "out of memory in the optimizer's step" in line_of(cfg)


def test_a_validation_within_training_names_its_own_loader(cfg, monkeypatch):
    monkeypatch.setattr(RSRefSeg2, 'predict', run_out)
    line = line_of(cfg)
    assert 'val_dataloader.batch_size=2' in line and 'train_dataloader' not in line
    assert 'recompute' not in line and 'strategies' not in line


def keys(levers):
    return [lever.split('=')[0].split(' ')[0] for lever in levers]


@pytest.mark.parametrize(
    ('options', 'loader', 'expected'),
    [
        (
            {'strategy.type': 'DDPStrategy'},
            'train_dataloader',
            [
                'train_dataloader.batch_size',
                'model.sam.recompute',
                'model.siglip.vision_recompute',
                'model.siglip.text_recompute',
                'model.autocast',
                'model.frozen_dtype',
                'on',
                'a',
            ],
        ),
        (
            {
                'train_dataloader.batch_size': 1,
                'model.sam.recompute': [1, 2],
                'model.siglip.vision_recompute': True,
            },
            'train_dataloader',  # ZeRO-2 in BF16
            ['model.sam.recompute', 'model.siglip.text_recompute', 'a'],
        ),
        (
            {
                'strategy.type': 'FSDP2Strategy',
                'model.sam.recompute': True,
                'model.autocast': 'bfloat16',
                'model.siglip.vision_recompute': True,
                'model.siglip.text_recompute': True,
            },
            'train_dataloader',
            ['train_dataloader.batch_size', 'model.frozen_dtype', 'a'],
        ),
        (
            {},
            'test_dataloader',
            ['test_dataloader.batch_size', 'model.autocast', 'model.frozen_dtype', 'a'],
        ),
        ({}, None, ['another', 'model.autocast', 'model.frozen_dtype', 'a']),
    ],
)
def test_levers_in_their_order_without_those_in_use(options, loader, expected):
    cfg = load_config(FULL)  # then as a user's options, which need not build a strategy here
    cfg.merge_from_dict(options)
    assert keys(levers_of(cfg, loader)) == expected


def test_levers_are_keys_that_a_config_takes():
    cfg = load_config(FULL)
    cfg.strategy.type = 'DDPStrategy'
    named = [lever.split(' (')[0] for lever in levers_of(cfg, 'train_dataloader') if '=' in lever]
    options = dict(lever.split('=') for lever in named)
    assert len(options) == 6
    load_config(FULL, options={key: parse_value(value) for key, value in options.items()})
