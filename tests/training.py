"""A config that trains in seconds: the repository's own bases, tiny towers, a fabricated split."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook

from rsrefseg2.engine import build_runner, load_config

ROOT = Path(__file__).resolve().parents[1]
TEXT = """
_base_ = [{bases}]
model = dict(
    siglip=dict(checkpoint={siglip!r}, vision_lora=dict(r=4), text_lora=dict(r=4)),
    sam=dict(checkpoint={sam!r}, lora=dict(r=4)),
    prompter=dict(inner=16, heads=2, mlp_hidden=16))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = [dict(type='LinearLR', start_factor=0.5, begin=0, end=3, by_epoch=False)]
data = dict(data_root={data_root!r})
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = dict(batch_size=2, num_workers=0, dataset=data)
default_hooks = dict(logger=dict(interval=1))
"""


def write_config(
    path: Path, *, siglip: Path, sam: Path, data_root: Path, strategy: str = 'single'
) -> Path:
    """The paper's recipe on RRSIS-D's 4 fabricated triplets, in 2 iterations an epoch; `strategy`
    is one of configs/_base_/strategies."""
    bases = [
        'default_runtime',
        'models/rsrefseg2',
        'datasets/rrsisd',
        'schedules/adamw_cosine_300e',
        f'strategies/{strategy}',
    ]
    path.write_text(
        TEXT.format(
            bases=', '.join(repr(str(ROOT / f'configs/_base_/{base}.py')) for base in bases),
            siglip=str(siglip),
            sam=str(sam),
            data_root=str(data_root),
        )
    )
    return path


class Recorder(Hook):
    """Every loss of every iteration, exactly; and the parameters before the first and after the
    last, with the names of those that are trained."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []
        self.start: dict[str, object] = {}
        self.end: dict[str, object] = {}
        self.trained: set[str] = set()

    def before_train(self, runner) -> None:
        self.start = self._parameters(runner)
        self.trained = {name for name, p in runner.model.named_parameters() if p.requires_grad}

    def after_train(self, runner) -> None:
        self.end = self._parameters(runner)

    @staticmethod
    def _parameters(runner) -> dict:
        return {name: p.detach().clone() for name, p in runner.model.named_parameters()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append({name: float(value.detach()) for name, value in outputs.items()})


def prepare(config: Path | str, work_dir: Path, **options) -> Config:
    """The config as the tools read it. mmengine keeps loggers by the experiment's name, and two
    runs within a second would share one: it is the work dir's."""
    return load_config(
        str(config),
        work_dir=str(work_dir),
        options={'experiment_name': Path(work_dir).name, **options},
    )


def train(config: Path | str, work_dir: Path, **options) -> Recorder:
    """Train in this process, as tools/train.py does."""
    runner, recorder = build_runner(prepare(config, work_dir, **options)), Recorder()
    runner.register_hook(recorder)
    runner.train()
    return recorder


def run_in_new_process(tool: str, *arguments: object) -> subprocess.CompletedProcess:
    """`python tools/<tool> arguments` from the command line."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return subprocess.run(
        [sys.executable, str(ROOT / 'tools' / tool), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES=''),
    )
