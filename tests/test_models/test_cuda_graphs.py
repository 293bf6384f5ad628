"""One picture is recorded once and replayed; what a graph could not hold is not in the towers."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rsrefseg2.errors import UserError
from rsrefseg2.models.towers.cuda_graphs import Graphed, Recorded

from .tiny_model import batch, build, stirred


def on_cpu(function, images):
    """A recording without a GPU: a replay reads and writes the same memory, as a graph's does."""
    own = images.clone()
    outputs = function(own)

    def replay():
        for kept, new in zip(tree_leaves(outputs), tree_leaves(function(own)), strict=True):
            kept.copy_(new)

    on_cpu.recorded += 1
    return Recorded(own, outputs, replay)


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
def test_replays_give_the_towers_features(kind):
    model = stirred(build(kind)).eval()
    pictures = batch(model)['inputs'].images_sam
    assert len(pictures) > 2
    on_cpu.recorded = 0
    with torch.no_grad():
        encode = model.mask_generator.encode_images
        graphed = Graphed(encode, on_cpu)
        found = [graphed(picture[None]) for picture in pictures]
        assert on_cpu.recorded == 1
        for one, picture in zip(found, pictures, strict=True):  # earlier ones stay as they are
            for kept, wanted in zip(tree_leaves(one), tree_leaves(encode(picture[None]))):
                assert torch.equal(kept, wanted)
        for kept, wanted in zip(tree_leaves(graphed(pictures)), tree_leaves(encode(pictures))):
            assert torch.equal(kept, wanted)
        assert on_cpu.recorded == 1
        with torch.autocast('cpu', torch.bfloat16):
            graphed(pictures[:1])
        assert on_cpu.recorded == 2


class Waits(TorchDispatchMode):
    """Names the operators for which a GPU is waited for, or whose size data decide."""

    STOPS = ('_local_scalar_dense', 'nonzero', 'masked_select', 'unique')

    def __init__(self):
        super().__init__()
        self.found, self.seen = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().split('::')[1]
        self.seen += 1
        self.found += [name] if name.startswith(self.STOPS) else []
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('kind', ['sam2', 'sam'])
def test_the_image_towers_wait_for_nothing(kind):
    model = build(kind).eval()
    inputs = batch(model)['inputs']
    with torch.no_grad(), Waits() as waits:
        model.encode_images(inputs.images_siglip[:1], inputs.images_sam[:1])
    assert waits.seen > 50 and waits.found == []
    with Waits() as waits:
        torch.ones(1).item()
    assert waits.found == ['_local_scalar_dense']


def test_it_is_for_predictions_on_a_gpu():
    model = build()
    model.cuda_graphs = True
    with pytest.raises(
        UserError, match='model.cuda_graphs=True records graphs on a GPU, not on cpu'
    ):
        model.eval().for_prediction()
    with pytest.raises(UserError, match='model.cuda_graphs=True is for tests and predictions'):
        model.train()
