"""What the tests of the release share: a config of its variant at small width, its file."""

import torch
from mmengine.logging import HistoryBuffer

from tests import official, tiny_towers
from tests.training import ROOT

TEXT = """
_base_ = {base!r}
model = dict(
    init='random',
    siglip=dict(checkpoint=dict({siglip!r}, _delete_=True), vision_lora=dict(r={r}),
                text_lora=dict(r={r})),
    sam=dict(checkpoint=dict({sam!r}, _delete_=True), lora=dict(r={r})),
    prompter=dict(inner={inner}, heads=2, mlp_hidden={hidden}))
"""


def write_release_config(path, *, dataset='rrsisd', siglip=None, sam=None):
    """configs/release/<dataset>.py with tiny towers from their configs."""
    path.write_text(
        TEXT.format(
            base=str(ROOT / f'configs/release/{dataset}.py'),
            r=official.R,
            inner=official.INNER,
            hidden=official.HIDDEN,
            siglip=siglip or tiny_towers.siglip_config(),
            sam=sam or tiny_towers.sam2_config(),
        )
    )
    return path


def hub():
    """mmengine's own record of a run, as its runner stores it."""
    from mmengine.logging import MessageHub

    hub = MessageHub.get_instance('release')
    for value in (1.5, 0.5):
        hub.update_scalar('train/loss', torch.tensor(value))
    hub.update_info('epoch', 110)
    assert isinstance(hub.log_scalars['train/loss'], HistoryBuffer)
    return hub.state_dict()


def write_official(path, state=None, **more):
    """A file of the release: mmengine's, with what it holds beside tensors."""
    import numpy as np

    meta = dict(
        epoch=110,
        seed=np.int64(3),
        cfg="ann_file='datainfo/rrsisd_train.jsonl'",
        experiment_name='rrsisd_training_20250101',
        time='20250101',
    )
    torch.save(
        dict(
            dict(
                state_dict=official.official_state() if state is None else state,
                meta=meta,
                message_hub=hub(),
            ),
            **more,
        ),
        path,
    )
    return path
