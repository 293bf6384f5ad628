"""A tiny model with random weights, its config and checkpoint on disk, and a fabricated split."""

import pytest
import torch
from mmengine.registry import init_default_scope

from rsrefseg2.registry import MODELS
from tests.fabricate import fabricate
from tests.tiny_towers import sam2_config, siglip_config

PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]
CONFIG = """
default_scope = 'rsrefseg2'
model = dict(
    type='RSRefSeg2', init='random', siglip=dict(checkpoint={siglip}), sam=dict(checkpoint={sam}),
    prompter=dict(type='CascadedPrompter', inner=16, heads=2, mlp_hidden=16, {dense}))
test_dataloader = dict(dataset=dict(
    type='RRSISD', data_root={root!r}, split='test', pipeline={pipeline}))
train_dataloader = dict(dataset=dict(
    type='RRSISD', data_root={root!r}, split='train', pipeline={pipeline}))
"""


class Tiny:
    """Paths of one config and one checkpoint."""

    def __init__(self, folder, name, dense, root):
        self.config = str(folder / f'{name}.py')
        self.checkpoint = str(folder / f'{name}.pth')
        (folder / f'{name}.py').write_text(
            CONFIG.format(
                siglip=siglip_config(),
                sam=sam2_config(),
                dense=dense,
                root=str(root),
                pipeline=PIPELINE,
            )
        )
        from rsrefseg2.engine import load_config

        torch.manual_seed(0)
        init_default_scope('rsrefseg2')
        model = MODELS.build(load_config(self.config).model)
        torch.save(dict(state_dict=model.state_dict()), self.checkpoint)


@pytest.fixture(scope='session')
def root(tmp_path_factory):
    return fabricate('rrsisd', tmp_path_factory.mktemp('rrsisd'))


@pytest.fixture(scope='session')
def tiny(tmp_path_factory, root):
    return Tiny(tmp_path_factory.mktemp('whole'), 'whole', 'dense=dict()', root)


@pytest.fixture(scope='session')
def tiny_without_dense(tmp_path_factory, root):
    return Tiny(tmp_path_factory.mktemp('sparse'), 'sparse', 'dense=None', root)
