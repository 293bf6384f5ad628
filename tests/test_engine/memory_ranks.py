"""Gradients on two CPU ranks: plain, with layers computed again in the backward pass, and with
compiled ones: `python -m tests.test_engine.memory_ranks FOLDER` writes `FOLDER/{wrapper} {way}.pth`."""

import sys

import torch
from torch import distributed as dist
from torch import multiprocessing
from torch._dynamo.utils import counters
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from rsrefseg2.engine.fsdp2 import UNITS
from rsrefseg2.models.towers.activation_checkpointing import (
    recompute_in_backward,
    store_frozen_in_bfloat16,
)
from rsrefseg2.models.towers.compiling import compile_towers
from tests.test_models.tiny_model import PAPER_LOSSES, batch, build, stirred

SHARES = [(0, 2, 3), (1, 4, 5)]
WAYS = ('plain', 'again', 'compiled', 'compiled again')
CASES = [(wrapper, way) for wrapper in ('DDP', 'FSDP2') for way in WAYS]
BACKEND = 'aot_eager'  # traces forward and backward passes, and needs no compiler


def wrap(model, wrapper):
    """As the strategies do."""
    if wrapper == 'DDP':
        return DistributedDataParallel(model)
    mesh = init_device_mesh('cpu', (2,))
    for module in [m for m in model.modules() if type(m).__name__ in UNITS]:
        fully_shard(module, mesh=mesh)
    return fully_shard(model, mesh=mesh, reshard_after_forward=False)


def gradients(rank, wrapper, way):
    """{name: gradient} and `graphs`, how many were compiled, under autocast with frozen weights in BF16 and LoRA's dropout."""
    model = stirred(build(lora=dict(r=2, dropout=0.3), losses=PAPER_LOSSES)).train()
    model.autocast = 'bfloat16'
    for tower in (
        model.encoder.vision_model,
        model.encoder.text_model,
        model.mask_generator.sam.vision_encoder,
    ):
        store_frozen_in_bfloat16(tower)
        if 'again' in way:
            recompute_in_backward(tower)
    torch._dynamo.reset()
    counters.clear()
    if 'compiled' in way:
        compile_towers(model, BACKEND)
    data = batch(model, SHARES[rank], training=True)
    wrapped = wrap(model, wrapper)
    torch.manual_seed(rank)
    sum(wrapped(**data, mode='loss').values()).backward()
    graphs = torch.tensor(counters['stats']['unique_graphs'])
    return {'graphs': graphs} | {
        name: p.grad.full_tensor() if hasattr(p.grad, 'full_tensor') else p.grad
        for name, p in model.named_parameters()
        if p.grad is not None
    }


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    for wrapper, way in CASES:
        found = gradients(rank, wrapper, way)
        if rank == 0:
            torch.save(found, f'{folder}/{wrapper} {way}.pth')
    dist.barrier()
    dist.destroy_process_group()


if __name__ == '__main__':
    torch.set_num_threads(1)
    multiprocessing.start_processes(work, (sys.argv[1],), nprocs=2, start_method='fork')
