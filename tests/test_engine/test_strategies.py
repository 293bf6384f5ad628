"""Every strategy and launcher gives the training of one device; faults cost no more than they must.

Minutes each: python -m pytest -m slow tests/test_engine/test_strategies.py
"""

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.training import ROOT, train, write_config

pytestmark = pytest.mark.slow
# float32: the order in which ranks' gradients are summed.
FLOAT32 = 1e-4


def run_tool(tool, *arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / tool), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3000,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.mark.parametrize('strategy', ['ddp', 'zero2', 'fsdp'])
def test_it_agrees_with_one_device(tmp_path, strategy):
    """Gradients and losses on one rank, on two, and on two that are torchrun groups of their
    own; ZeRO-2 within what BF16 changes on one device."""
    run_tool(
        'tools/benchmarks/strategies.py',
        '--strategies',
        strategy,
        '--ranks',
        1,
        2,
        '--iterations',
        4,
        '--json',
        tmp_path / 'rows.json',
    )
    rows = json.loads((tmp_path / 'rows.json').read_text())
    assert [(row['strategy'], row['ranks'], row['nodes']) for row in rows[:4]] == [
        ('single', 1, 1),
        (strategy, 1, 1),
        (strategy, 2, 1),
        (strategy, 2, 2),
    ]
    if strategy == 'zero2':
        bf16 = rows[4]
        assert bf16['strategy'] == 'autocast' and bf16['gradient'] > 1e-3
        for row in rows[1:4]:  # ZeRO-2 rounds weights and norms too
            assert row['gradient'] < 4 * bf16['gradient'] and row['loss'] < 0.01, (row, bf16)
    else:
        assert all(max(row['gradient_worst'], row['loss']) < FLOAT32 for row in rows), rows


def test_the_slurm_launcher(tmp_path, towers, rrsisd_root):
    """Two tasks with srun's variables; MASTER_ADDR stands in for what scontrol would say."""
    single = train(
        write_config(
            tmp_path / 'single.py', siglip=towers.siglip, sam=towers.sam2, data_root=rrsisd_root
        ),
        tmp_path / 'single',
    )
    config = write_config(
        tmp_path / 'ddp.py',
        siglip=towers.siglip,
        sam=towers.sam2,
        data_root=rrsisd_root,
        strategy='ddp',
    )
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    env = dict(
        os.environ,
        PYTHONPATH=str(ROOT),
        OMP_NUM_THREADS='1',
        CUDA_VISIBLE_DEVICES='',
        SLURM_NTASKS='2',
        SLURM_NODELIST='localhost',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    tasks = [
        subprocess.Popen(
            [
                sys.executable,
                ROOT / 'tools/train.py',
                config,
                '--work-dir',
                tmp_path / 'ddp',
                '--launcher',
                'slurm',
                '--cfg-options',
                'train_dataloader.batch_size=1',
            ],
            cwd=ROOT,
            env=dict(env, SLURM_PROCID=str(task), SLURM_LOCALID=str(task)),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for task in range(2)
    ]
    outputs = [task.communicate(timeout=600)[0] for task in tasks]
    assert all(task.returncode == 0 for task in tasks), outputs
    lines = [
        json.loads(line)
        for path in (tmp_path / 'ddp').glob('*/vis_data/scalars.json')
        for line in path.read_text().splitlines()
    ]
    losses = [line['loss'] for line in lines if 'loss' in line]
    first, second = (entry['loss'] for entry in single.losses)
    assert losses == pytest.approx([first, (first + second) / 2], rel=1e-4)  # the log is smoothed


@pytest.mark.parametrize('strategy', ['single', 'ddp', 'zero2', 'fsdp'])
def test_faults(strategy):
    """tools/dev/fault_drill.py with few kills; 20 and more by hand."""
    done = run_tool('tools/dev/fault_drill.py', '--strategies', strategy, '--kills', 3)
    assert 'bit for bit' in done.stdout
    assert done.stdout.count(f'{strategy} ') >= 7
