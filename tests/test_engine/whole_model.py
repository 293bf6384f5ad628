"""The whole model on one global batch, divided over 1, 2 and 4 CPU ranks: gradients in float64.

`run(folder)`, called by ranks.py, writes what rank 0 of each case found, as `folder/{case}.pth`.
The ranks hold different samples and different numbers of them. DDP averages the gradients. CONTROLS
spoil one thing each.
"""

import torch
from torch import distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from rsrefseg2.models import distributed
from rsrefseg2.models import ref_seg_model as composer
from rsrefseg2.models.losses import alignment
from rsrefseg2.models.prompter import batch_norm
from tests.test_models.tiny_model import PAPER_LOSSES, batch, build, stirred

LOSSES = dict(
    PAPER_LOSSES,
    dense=dict(type='DenseLoss'),
    spatial=dict(type='SpatialLoss', kind='mil'),
    response=dict(type='ResponseLoss'),
    attention=dict(type='AttentionLoss'),
    iou=dict(type='PredictedIoULoss'),
    presence=dict(type='PresenceLoss'),
)
HEADS = dict(score_heads=['iou', 'object'])
WITH_TARGET = ('seg', 'sample')
PROMPTER = dict(interaction=dict(image_scores=True))
# The sentences of an image stay together: transformers' Hiera computes some steps in float32, and
# the sum of two rounded gradients is not the rounded sum (1e-7 where an image is divided).
SHARES = {1: [range(6)], 2: [(0, 2), (1, 3, 4, 5)], 4: [(0, 2), (3,), (1, 5), (4,)]}
CONTROLS = (
    'gather without gradient',
    'local BatchNorm',
    'unweighted means',
    'unweighted means over some sentences',
)


def model_and_batch(which):
    model = stirred(build(losses=LOSSES, prompter=PROMPTER, sam=HEADS)).double().train()
    model.with_target = WITH_TARGET
    data = batch(model, which, training=True)
    for i, sample in zip(which, data['data_samples'], strict=True):
        if i == 0:
            sample.gt_mask[:] = False  # one empty mask: MIL leaves it out
        if i == 3:  # of four ranks one has this alone
            sample.gt_mask[:] = False
            sample.set_metainfo(dict(no_target=True))
        sample.other_mask = torch.zeros_like(sample.gt_mask)
        sample.other_mask[-8:] = i in (1, 4, 5)  # of the others the negatives leave out all
    return model, data


def gradients(which, wrap=lambda model: model):
    """{name: gradient} of the trained parameters, and the running statistics."""
    model, data = model_and_batch(which)
    wrapped = wrap(model)  # held on to: DDP's hooks end with it
    losses = wrapped(**data, mode='loss')
    sum(losses.values()).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return found | {
        name: value.double() for name, value in model.named_buffers() if 'running' in name
    }


def spoil(control):
    if control == 'gather without gradient':
        alignment.gather_with_gradient = lambda x, through_others=True: (
            _gather(x.detach(), through_others=False) if x.is_floating_point() else _gather(x)
        )
    elif control == 'local BatchNorm':
        batch_norm.gather_with_gradient = lambda x: x
    elif control == 'unweighted means':
        composer.weight_of_rank = lambda count, like: torch.ones_like(like.sum())
    elif control == 'unweighted means over some sentences':
        distributed.weight_of_rank = lambda count, like: torch.ones_like(like.sum())


_gather = alignment.gather_with_gradient


def work(rank, shares, case, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet {case}', rank=rank, world_size=len(shares)
    )
    if case in CONTROLS:
        spoil(case)
    found = gradients(shares[rank], DistributedDataParallel)
    if rank == 0:
        torch.save(found, f'{folder}/{case}.pth')
    dist.barrier()
    dist.destroy_process_group()


def run(folder):
    """Every case, each on processes of its own that fork."""
    for ranks in (2, 4):
        multiprocessing.start_processes(
            work, (SHARES[ranks], str(ranks), folder), nprocs=ranks, start_method='fork'
        )
    for control in CONTROLS:
        multiprocessing.start_processes(
            work, (SHARES[2], control, folder), nprocs=2, start_method='fork'
        )
