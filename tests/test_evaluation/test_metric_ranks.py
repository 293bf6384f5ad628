"""The metric in real processes: the same digits on one, two and three ranks, with padding, and
through a test that was killed and continued."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.dataset import DefaultSampler
from torch import distributed, multiprocessing

from rsrefseg2.errors import UserError
from rsrefseg2.evaluation import RefSegMetric, read_dump

N, RUN = 7, {'checkpoint': 'a.pth'}  # not a multiple: the sampler pads


def sample(index):
    generator = torch.Generator().manual_seed(index)
    pred, gt = torch.rand(2, 6, 6, generator=generator) < 0.5
    gt &= index % 3 > 0  # s0, s3 and s6 have no target
    pred &= index not in (3, 4)  # s3 is found empty, s4 lost
    return dict(
        sample_id=f's{index}',
        category='ab'[index % 2],
        pred_mask=pred,
        gt_mask=gt,
        img_path=f'{index // 2}.png',
        text='the ship\u2028on the left',
    )


def evaluate(indices, **options):
    """One sample at a time, and what the metric reports."""
    metric = RefSegMetric(**options)
    done = metric.start()
    rest = [i for i in indices if f's{i}' not in done]
    metric.skipped = len(done)
    for index in rest:
        metric.process({}, [sample(index)])
    return metric.evaluate(N - len(done))


def work(rank, ranks, out):
    """One rank: without a dump, with one, and a dump of which a part was done before."""
    distributed.init_process_group(
        'gloo', init_method=f'file://{out}/meet{ranks}', rank=rank, world_size=ranks
    )
    indices = list(DefaultSampler(range(N), shuffle=False))
    answers = [
        evaluate(indices),
        evaluate(indices, dump=f'{out}/{ranks}.jsonl', run=RUN),
        evaluate(indices, dump=f'{out}/again{ranks}.jsonl', run=RUN, resume=True),
        evaluate(indices, protocol='generalised'),
    ]
    Path(out, f'{ranks}-{rank}.json').write_text(json.dumps([indices, answers]))
    distributed.destroy_process_group()


def interrupt(path, ranks):
    """Leaves what a killed test of `ranks` ranks would: sample 1 and 3 done, one line torn."""
    for rank in range(ranks):
        metric = RefSegMetric(dump=str(path), run=RUN)
        metric.process({}, [sample(2 * rank + 1)])
        metric._records.close()
        os.replace(f'{path}.rank0', f'{path}.tmp{rank}')
    for rank in range(ranks):
        os.replace(f'{path}.tmp{rank}', f'{path}.rank{rank}')
    with open(f'{path}.rank0', 'a') as file:
        file.write('{"id": "s5", "iou": 0.')


def content(path):
    return {record.pop('id'): record for record in read_dump(path) if record.pop('location')}


def test_any_number_of_ranks_scores_as_one(tmp_path):
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
    for ranks in (2, 3):
        interrupt(tmp_path / f'again{ranks}.jsonl', 2)
    subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        check=True,
        timeout=120,
        env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1'),
    )
    expected = evaluate(range(N), dump=str(tmp_path / '1.jsonl'), run=RUN)
    assert expected == evaluate(range(N))
    generalised = evaluate(range(N), protocol='generalised')
    assert generalised['N-acc'] == 100 / 3 and generalised['T-acc'] == 75
    lines = content(tmp_path / '1.jsonl')
    assert list(lines) == [f's{i}' for i in range(N)]
    for ranks, padded in ((2, 8), (3, 9)):
        answers = [
            json.loads((tmp_path / f'{ranks}-{rank}.json').read_text()) for rank in range(ranks)
        ]
        assert sum(len(indices) for indices, _ in answers) == padded
        assert [metrics for _, metrics in answers] == [[expected] * 3 + [generalised]] * ranks
        assert content(tmp_path / f'{ranks}.jsonl') == lines
        assert content(tmp_path / f'again{ranks}.jsonl') == lines
    assert not list(tmp_path.glob('*.rank*')) + list(tmp_path.glob('*.part*'))


def test_parts_of_another_run_are_not_continued(tmp_path):
    path = tmp_path / 'dump.jsonl'
    interrupt(path, 1)
    with pytest.raises(UserError, match=r"another test \(checkpoint 'a.pth', now 'b.pth'\)"):
        RefSegMetric(dump=str(path), run={'checkpoint': 'b.pth'}, resume=True).start()
    with pytest.raises(UserError, match=r"another test \(protocol 'paper', now 'rmsin'\)"):
        RefSegMetric(dump=str(path), run=RUN, protocol='rmsin', resume=True).start()
    with pytest.raises(UserError, match='left by an interrupted test: continue it with --resume'):
        RefSegMetric(dump=str(path), run=RUN).start()
    assert RefSegMetric(dump=str(path), run=RUN, resume=True).start() == {'s1'}
    assert RefSegMetric(dump=str(path), run=RUN, resume=True).start() == {'s1'}  # killed again
    with pytest.raises(UserError, match='continue it with --resume'):
        list(read_dump(path))


def test_a_dump_is_replaced_by_the_same_test_alone(tmp_path):
    path = tmp_path / 'dump.jsonl'
    evaluate(range(N), dump=str(path), run=RUN)
    before = path.read_text()
    for resume in (False, True):  # a test that was killed after its dump
        evaluate(range(N), dump=str(path), run=RUN, resume=resume)
        assert path.read_text() == before
        for other in (dict(run={'checkpoint': 'b.pth'}), dict(run=RUN, protocol='rmsin')):
            with pytest.raises(UserError, match='replace it with --overwrite'):
                evaluate(range(N), dump=str(path), resume=resume, **other)
    assert path.read_text() == before


if __name__ == '__main__':
    # one fresh process that forks: the imports are paid once
    for number in (2, 3):
        multiprocessing.start_processes(
            work, (number, sys.argv[1]), nprocs=number, start_method='fork'
        )
