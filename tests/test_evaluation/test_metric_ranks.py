"""The metric in real processes: the same digits on one rank and on several, with padding."""
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from mmengine.dataset import DefaultSampler
from torch import distributed, multiprocessing

from rsrefseg2.evaluation import RefSegMetric

N, RANKS = 7, 3  # not a multiple: the sampler pads


def sample(index):
    generator = torch.Generator().manual_seed(index)
    pred, gt = torch.rand(2, 6, 6, generator=generator) < .5
    return dict(sample_id=str(index), category=None, pred_mask=pred, gt_mask=gt)


def evaluate(indices):
    metric = RefSegMetric()
    metric.process({}, [sample(i) for i in indices])
    return metric.evaluate(N)


def work(rank, out):
    """One rank."""
    distributed.init_process_group('gloo', init_method=f'file://{out}/meet', rank=rank,
                                   world_size=RANKS)
    indices = list(DefaultSampler(range(N), shuffle=False))
    Path(out, f'{rank}.json').write_text(json.dumps([indices, evaluate(indices)]))
    distributed.destroy_process_group()


def test_three_ranks_score_as_one(tmp_path):
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
    subprocess.run([sys.executable, __file__, str(tmp_path)], check=True, timeout=120,
                   env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1'))
    answers = [json.loads(Path(tmp_path, f'{rank}.json').read_text()) for rank in range(RANKS)]
    assert sum(len(indices) for indices, _ in answers) == 9
    assert [metrics for _, metrics in answers] == [evaluate(range(N))] * RANKS


if __name__ == '__main__':
    # one fresh process that forks: the imports are paid once
    multiprocessing.start_processes(work, (sys.argv[1],), nprocs=RANKS, start_method='fork')
