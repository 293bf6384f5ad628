"""On a GPU the model computes and trains what it does on the CPU.

bash tools/run_tests.sh -m gpu
"""

import copy

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

from rsrefseg2.apis import Predictor
from rsrefseg2.datasets import unique_images_collate
from tests.test_models.tiny_model import PAPER_LOSSES, build, items, stirred
from tests.training import ROOT, train, write_config

pytestmark = pytest.mark.gpu
FLOAT32 = 1e-4  # sums in another order
BFLOAT16 = 0.1  # 8 bits of mantissa, through the whole model


@pytest.fixture
def device():
    if not torch.cuda.is_available():
        pytest.skip(
            'no CUDA device is visible: bash tools/run_tests.sh -m gpu on a machine with one'
        )
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch.device('cuda')


def relative(found, wanted):
    assert found.shape == wanted.shape
    return float((found.cpu() - wanted).norm() / wanted.norm())


def forward(model, device, **precision):
    """The mask logits in test; the losses and their gradients in training."""
    model = copy.deepcopy(model).to(device)
    vars(model).update(precision)
    data = model.data_preprocessor(unique_images_collate(items()))
    with torch.no_grad():
        logits = model.eval()(data['inputs']).mask_logits.float().cpu()
    losses = model.train()(**data, mode='loss')
    sum(losses.values()).backward()
    gradients = torch.cat(
        [p.grad.float().cpu().flatten() for p in model.parameters() if p.grad is not None]
    )
    return logits, {name: float(value.detach()) for name, value in losses.items()}, gradients


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
def test_masks_losses_and_gradients_are_the_cpus(device, kind):
    model = stirred(build(kind, losses=PAPER_LOSSES))
    logits, losses, gradients = forward(model, 'cpu')
    found = forward(model, device)
    assert relative(found[0], logits) < FLOAT32
    assert found[1] == pytest.approx(losses, rel=FLOAT32)
    assert relative(found[2], gradients) < 10 * FLOAT32


def test_bfloat16_is_near(device):
    model = stirred(build(losses=PAPER_LOSSES))
    logits, losses, _ = forward(model, 'cpu')
    found = forward(model, device, autocast='bfloat16')
    assert 1e-5 < relative(found[0], logits) < BFLOAT16
    assert found[1] == pytest.approx(losses, rel=BFLOAT16)


@pytest.mark.parametrize('autocast', [None, 'bfloat16'])
def test_cuda_graphs_change_nothing(device, autocast):
    """Replayed for pictures other than the recorded one, within and without inference mode."""
    plain = stirred(build()).to(device).eval()
    graphed = copy.deepcopy(plain)
    graphed.cuda_graphs = True
    plain.autocast = graphed.autocast = autocast
    graphed.for_prediction()
    pictures = plain.data_preprocessor(unique_images_collate(items()))['inputs']
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            found = [
                [
                    model.encode_images(where[None], how[None])
                    for where, how in zip(pictures.images_siglip, pictures.images_sam)
                ]
                for model in (plain, graphed)
            ]
        for one, other in zip(*map(tree_leaves, found), strict=True):
            assert torch.equal(one, other)


def test_the_demo_has_the_cpus_masks(device):
    config, checkpoint = (next((ROOT / 'demo').glob(f'demo_tiny*.{end}')) for end in ('py', 'pth'))
    image = np.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=np.uint8)
    masks = [
        [
            answer.mask
            for answer in Predictor(config, checkpoint, str(where))
            .set_image(image)
            .predict(['the red car on the left', 'the ship'])
        ]
        for where in ('cpu', device)
    ]
    for wanted, found in zip(*masks, strict=True):
        assert (wanted != found).mean() < 1e-3  # a logit of nearly 0


def test_a_training_and_its_resume(device, towers, rrsisd_root, tmp_path):
    """Two epochs at once, and one after the other: the same losses."""
    config = write_config(
        tmp_path / 'config.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
    )
    whole = train(config, tmp_path / 'whole', **{'train_cfg.max_epochs': 2})
    train(config, tmp_path / 'parts')
    second = train(config, tmp_path / 'parts', resume=True, **{'train_cfg.max_epochs': 2})
    losses = [entry['loss'] for entry in whole.losses]
    assert [entry['loss'] for entry in second.losses] == pytest.approx(losses[2:], rel=FLOAT32)
