"""The whole path on real triplets: the tiny model fits RRSIS-D's files in their own layout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / 'shared' / 'data' / 'rrsisd_mini'


@pytest.mark.slow
def test_the_tiny_model_fits_real_triplets(tmp_path):
    """28 training triplets to a gIoU of at least 85; val and test are scored, nothing is claimed
    of them."""
    if not REAL.is_dir():
        pytest.skip(f'{REAL} is absent: it holds real triplets that are not part of the project')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'rrsisd').symlink_to(REAL)
    environment = {**os.environ, 'RSREFSEG2_DATA': str(tmp_path / 'data'), 'OMP_NUM_THREADS': '1'}

    def tool(name, *arguments):
        subprocess.run(
            [sys.executable, ROOT / 'tools' / name, *arguments],
            cwd=ROOT,
            check=True,
            env=environment,
        )

    config, work_dir = 'configs/rrsisd_tiny.py', tmp_path / 'run'
    tool(
        'train.py',
        config,
        '--work-dir',
        work_dir,
        '--cfg-options',
        'train_cfg.max_iters=400',
        'train_cfg.val_interval=400',
        'param_scheduler.1.end=400',
        'default_hooks.checkpoint.interval=400',
    )
    scores = {}
    for split in ('train', 'val', 'test'):
        tool(
            'test.py',
            config,
            work_dir / 'iter_400.pth',
            '--work-dir',
            work_dir / split,
            '--cfg-options',
            f'test_dataloader.dataset.split={split}',
            'test_cfg.exchanged=False',
        )
        scores[split] = json.loads((work_dir / split / 'scores.json').read_text())
    assert scores['train']['gIoU'] >= 85
    assert all(0 <= scores[split]['gIoU'] <= 100 for split in ('val', 'test'))
