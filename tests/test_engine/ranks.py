"""One global batch on one process or on two CPU ranks: `python -m tests.test_engine.ranks FOLDER`
runs the two, and the whole model's (`whole_model.py`).

Rank r takes its share of the rows (the shares differ in size); gradients of the shared weights are
averaged over the ranks, as DDP and ZeRO do. Everything is in float64.
"""

import sys

import torch
from torch import distributed as dist
from torch import multiprocessing, nn

from rsrefseg2.models.distributed import gather_with_gradient
from rsrefseg2.models.losses import SampleContrastLoss
from rsrefseg2.models.prompter.batch_norm import SyncedBatchNorm2d
from rsrefseg2.models.symbols import Targets
from tests.test_engine import whole_model
from tests.test_engine.stand_ins import outputs_of

B, N_T, GRID, D = 7, 3, (4, 4), 6
SHARES = [slice(0, 3), slice(3, 7)]


def rows():
    """v (B, N, D), t2 (B, n_t, D), masks and image ids; two rows are one object."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(B, GRID[0] * GRID[1], D, generator=generator, dtype=torch.float64)
    t2 = torch.randn(B, N_T, D, generator=generator, dtype=torch.float64)
    masks = [torch.rand(8, 8, generator=generator) > 0.6 for _ in range(B)]
    ids = torch.tensor([5, 1, 2, 5, 3, 4, 5])
    v[3], masks[3] = v[0], masks[0]  # the same object, asked for on the other rank
    v[6] = v[0]  # the same image, another object
    return v, t2, masks, ids


class Net(nn.Module):
    """Weights that both losses reach."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.v, self.t = nn.Linear(D, D), nn.Linear(D, D)
        self.conv, self.norm = nn.Conv2d(D, D, 1), SyncedBatchNorm2d(D)
        self.contrast = SampleContrastLoss()
        self.double()

    def forward(self, part, ranks):
        """The sample contrast; and a sum over all rows of what leaves the BatchNorm."""
        v, t2, masks, ids = (x[part] for x in rows())
        v = self.v(v)
        contrast = self.contrast(outputs_of(v, self.t(t2), GRID), Targets(masks, ids))
        grid = v.transpose(1, 2).unflatten(2, GRID)  # (b, N, D) -> (b, D, h, w)
        normed = self.norm(self.conv(grid))
        # Each rank has the sum of its own rows, and their mean over ranks is the whole.
        square = (normed * torch.linspace(-1, 2, 16, dtype=v.dtype).view(GRID)).tanh().sum()
        return contrast['loss_sample'], ranks * square / B


def results(part, ranks):
    """Losses, gradients (averaged over the ranks), running statistics."""
    net = Net()
    contrast, normed = net(part, ranks)
    (contrast + normed).backward()
    found = {f'grad {name}': p.grad for name, p in net.named_parameters()}
    found['loss normed'] = normed.detach()
    for value in found.values() if ranks > 1 else ():
        dist.all_reduce(value)
        value /= ranks
    return {
        **found,
        'loss contrast': contrast.detach(),
        'mean': net.norm.running_mean,
        'var': net.norm.running_var,
        'batches': net.norm.num_batches_tracked,
    }


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=len(SHARES)
    )
    found = results(SHARES[rank], len(SHARES))
    counted = torch.arange(rank + 1)[:, None] + 10 * rank
    found['gathered'] = gather_with_gradient(counted)
    torch.save(found, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


if __name__ == '__main__':
    # one fresh process that forks, for both modules: the imports are paid once
    torch.set_num_threads(1)
    multiprocessing.start_processes(work, (sys.argv[1],), nprocs=len(SHARES), start_method='fork')
    whole_model.run(sys.argv[1])
