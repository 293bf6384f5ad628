"""Size and seconds of a checkpoint at full size, with random weights in place of the towers' own.

    python tools/benchmarks/checkpoints.py configs/rrsisd_siglip2_sam21l.py

The towers count as loaded from files, so a checkpoint holds what is trained. Medians of --repeats
writes to the disk, flushed; ratios to writing the whole state dict and the optimizer in one file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.optim import OptimWrapper

from rsrefseg2.engine import SingleDeviceStrategy, load_config
from rsrefseg2.engine.checkpoint import (
    check_whole,
    load_checkpoint,
    optim_file,
    trained_keys,
    write_atomically,
)
from rsrefseg2.engine.optim import group_parameters
from rsrefseg2.errors import report_user_errors
from rsrefseg2.models.towers.fingerprints import (
    TowerSource,
    content_hash,
    set_source,
    tower_sources,
)
from rsrefseg2.options import add_shared
from rsrefseg2.registry import MODELS


def median_seconds(act: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def strategy_of(model: torch.nn.Module) -> SingleDeviceStrategy:
    """As a run has it after one step of AdamW."""
    strategy = SingleDeviceStrategy()
    strategy.model = model
    optimizer = torch.optim.AdamW(group_parameters(model), lr=1e-4)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    strategy.optim_wrapper = OptimWrapper(optimizer)
    return strategy


@report_user_errors()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('--repeats', type=int, default=3)
    add_shared(parser, 'cfg-options')
    args = parser.parse_args()
    cfg = load_config(args.config, options={'model.init': 'random', **(args.cfg_options or {})})
    model = MODELS.build(cfg.model)
    hashing = 0.0
    for tower, checkpoint in (
        (model.encoder.vision_model, cfg.model.siglip.checkpoint),
        (model.encoder.text_model, cfg.model.siglip.checkpoint),
        (model.mask_generator.sam, cfg.model.sam.checkpoint),
    ):
        start = time.perf_counter()
        set_source(tower, TowerSource(str(checkpoint), content_hash(tower)))
        hashing += time.perf_counter() - start
    strategy = strategy_of(model)
    meta = dict(saved=0.0, iter=1)
    with tempfile.TemporaryDirectory(dir='.') as folder:
        path, whole = Path(folder) / 'iter_1.pth', Path(folder) / 'whole.pth'

        def save_weights():
            write_atomically(
                dict(
                    state_dict=strategy.trained_weights(),
                    meta=meta,
                    towers={
                        name: source._asdict() for name, source in tower_sources(model).items()
                    },
                ),
                path,
            )

        def save_optim():
            write_atomically(
                dict(optimizer=strategy.optimizer_state(), meta=meta), optim_file(path)
            )

        def save_whole():
            write_atomically(
                dict(state_dict=model.state_dict(), optimizer=strategy.optim_wrapper.state_dict()),
                whole,
            )

        rows = [
            (
                'everything in one file',
                median_seconds(save_whole, args.repeats),
                whole.stat().st_size,
            )
        ]
        whole.unlink()
        rows += [
            (
                'weights that were trained',
                median_seconds(save_weights, args.repeats),
                path.stat().st_size,
            ),
            (
                'the optimizer beside it',
                median_seconds(save_optim, args.repeats),
                optim_file(path).stat().st_size,
            ),
        ]
        for name, seconds, size in rows:
            print(
                f'{name:27}{size / 1e9:7.3f} GB ({size / rows[0][2]:5.1%}), written in '
                f'{seconds:5.1f} s ({seconds / rows[0][1]:5.1%})'
            )
        checking = median_seconds(lambda: check_whole(path), args.repeats)
        loading = median_seconds(lambda: load_checkpoint(model, path), args.repeats)
    print(
        f'{len(list(trained_keys(model)))} tensors of {len(model.state_dict())}; both files '
        f'checked to the last byte in {checking:.1f} s, the weights loaded in {loading:.1f} s; '
        f'the towers hashed in {hashing:.1f} s'
    )


if __name__ == '__main__':
    main()
