"""Kill training in every way that we can think of, resume it, and compare the end bit for bit.

    python tools/dev/fault_drill.py --kills 20 --strategies single ddp zero2 fsdp

Small runs of configs/synthrs_tiny* on 24 scenes; two ranks under torchrun but for `single`. For
each strategy: SIGKILL of all processes at random moments, among them a file of a checkpoint being
written, and validations; then the other faults, once each. Exit code 1 if a run did not end as the
one that nothing happened to, or said something else than it should.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from rsrefseg2.engine.checkpoint import OPTIM, check_whole, differing
from rsrefseg2.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
ITERATIONS = 12  # validated every 6, saved every 3
CONFIGS = {
    'single': 'synthrs_tiny',
    'ddp': 'synthrs_tiny_ddp',
    'zero2': 'synthrs_tiny_zero2',
    'fsdp': 'synthrs_tiny_fsdp',
}
TEXT = f"""
_base_ = {{base!r}}
custom_imports = dict(imports=['faults'])
default_hooks = dict(runtime_info=dict(type='FaultHook'), logger=dict(interval=1),
                     checkpoint=dict(interval=3))
train_dataloader = dict(batch_size={{batch}})
train_cfg = dict(max_iters={ITERATIONS}, val_interval=6)
env_cfg = dict(dist_cfg=dict(timeout=30))
"""
LONGEST = 300  # seconds in which any process has to end


@dataclasses.dataclass
class Ended:
    """How processes ended: exit statuses (negative: a signal), what they printed, seconds."""

    codes: list[int]
    output: str
    seconds: float


class Run:
    """One training in its own folder, started as often as it needs."""

    def __init__(self, folder: Path, strategy: str) -> None:
        self.folder, self.strategy = folder, strategy
        self.ranks = 1 if strategy == 'single' else 2
        folder.mkdir(parents=True)
        self.config = folder / 'config.py'
        self.config.write_text(
            TEXT.format(base=str(ROOT / f'configs/{CONFIGS[strategy]}.py'), batch=12 // self.ranks)
        )
        self.log = folder / 'phases'

    @property
    def last(self) -> Path:
        return self.folder / 'work' / f'iter_{ITERATIONS}.pth'

    def start(self, *, launch: str = 'torchrun', more: tuple[str, ...] = (), **faults) -> None:
        """Train or go on. launch: 'torchrun', or 'plain': one process a rank without an agent, as
        srun starts them."""
        for file in self.folder.glob('phases*'):
            file.unlink()
        self.log.touch()
        env = dict(
            os.environ,
            OMP_NUM_THREADS='1',
            CUDA_VISIBLE_DEVICES='',
            TOKENIZERS_PARALLELISM='false',
            RSREFSEG2_DATA=str(self.folder.parent),
            PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tools/dev')]),
            RSREFSEG2_DRILL=json.dumps(dict(log=str(self.log), **faults)),
        )
        train = [
            str(ROOT / 'tools/train.py'),
            str(self.config),
            '--work-dir',
            str(self.folder / 'work'),
            '--resume',
        ]
        if self.ranks > 1:
            train += ['--launcher', 'pytorch']
        train += more
        ranks = [env]
        if self.ranks > 1 and launch == 'torchrun':
            train = [
                '-m',
                'torch.distributed.run',
                '--nproc-per-node',
                str(self.ranks),
                '--master-port',
                str(free_port()),
                *train,
            ]
        elif self.ranks > 1:
            common = dict(
                env,
                WORLD_SIZE=str(self.ranks),
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=str(free_port()),
            )
            ranks = [dict(common, RANK=str(r), LOCAL_RANK=str(r)) for r in range(self.ranks)]
        self.started = time.monotonic()
        self.outputs = [self.folder / f'output {i}' for i in range(len(ranks))]
        self.processes = [
            subprocess.Popen(
                [sys.executable, *train],
                env=env,
                cwd=ROOT,
                start_new_session=True,
                stdout=open(output, 'w'),
                stderr=subprocess.STDOUT,
            )
            for env, output in zip(ranks, self.outputs, strict=True)
        ]

    def phase(self) -> str:
        """The last line of the log."""
        lines = self.log.read_text().splitlines()
        return lines[-1] if lines else 'start'

    def wait_for(self, phase: str) -> bool:
        """Until the log has a line that begins so; False if the processes ended before."""
        while not any(line.startswith(phase) for line in self.log.read_text().splitlines()):
            if all(process.poll() is not None for process in self.processes):
                return False
            self._not_forever()
            time.sleep(0.0005)
        return True

    def unfinished(self) -> list[Path]:
        """Files that are being written, or were."""
        return list((self.folder / 'work').glob('.*.unfinished'))

    def wait_for_write(self) -> bool:
        """Until a file of a checkpoint is being written; False if the processes ended before."""
        if not self.wait_for('save'):
            return False
        while not self.unfinished():  # no sleep: it is there for milliseconds
            if all(process.poll() is not None for process in self.processes):
                return False
            self._not_forever()
        return True

    def finish(self) -> Ended:
        """Wait for the end."""
        while any(process.poll() is None for process in self.processes):
            self._not_forever()
            time.sleep(0.02)
        return Ended(
            [process.returncode for process in self.processes],
            '\n'.join(output.read_text() for output in self.outputs),
            time.monotonic() - self.started,
        )

    def kill(self) -> None:
        """SIGKILL for every process: a machine that fails."""
        for rank in range(self.ranks):  # at once: the rest takes milliseconds
            self.signal_rank(rank, signal.SIGKILL)
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        # torchrun's ranks are in sessions of their own
        while (
            subprocess.run(['pkill', '-KILL', '-f', str(self.config)], check=False).returncode == 0
        ):
            time.sleep(0.01)
        for process in self.processes:
            process.wait()

    def signal_rank(self, rank: int, number: int) -> None:
        file = self.log.with_suffix(f'.{rank}')
        if file.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), number)

    def _not_forever(self) -> None:
        if time.monotonic() - self.started > LONGEST:
            self.kill()
            raise SystemExit(
                f'no end after {LONGEST} s: {self.config}\n'
                + '\n'.join(output.read_text()[-2000:] for output in self.outputs)
            )


def free_port() -> int:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def check(true: bool, what: str, ended: Ended | None = None) -> None:
    if not true:
        raise AssertionError(what + (f'\n{ended.output[-3000:]}' if ended else ''))


def check_equal(run: Run, whole: Run) -> None:
    """The run ended as the one that nothing happened to."""
    found = differing(run.last, whole.last)
    check(not found, f'{len(found)} differences: {found[:5]}')


def go_on(run: Run, whole: Run) -> None:
    """Resume without a fault, to the end, and compare."""
    run.start()
    ended = run.finish()
    check(set(ended.codes) == {0}, f'resumed: {ended.codes}', ended)
    check_equal(run, whole)


# ---------------------------------------------------------------- kills


def kills(folder: Path, strategy: str, whole: Run, number: int, rng: random.Random) -> dict:
    """`number` times SIGKILL at random moments, over as many runs as that takes."""
    counts, rounds = Counter(), 0
    phases = whole.timeline
    works = phases[-1][0] - phases[0][0]
    saving = [
        after - at for (at, what), (after, _) in zip(phases, phases[1:]) if what.startswith('save')
    ]
    while sum(counts[key] for key in ('start', 'train', 'save', 'val')) < number:
        rounds += 1
        run = Run(folder / f'kills {rounds}', strategy)
        while True:
            target = rng.choice(['start', 'work', 'work', 'write', 'save', 'val'])
            run.start()
            if target == 'start':
                time.sleep(rng.random() * whole.until_train)
            elif target == 'write':
                run.wait_for_write()
            elif run.wait_for('train' if target == 'work' else target):
                time.sleep(
                    rng.random() * {'work': 0.6 * works, 'val': 0.1, 'save': max(saving)}[target]
                )
            if all(process.poll() is not None for process in run.processes):
                break
            run.kill()
            phase = run.phase().split()[0]
            counts[phase] += 1
            # the start of a run removes those of the one before
            counts['unfinished file'] += phase == 'save' and bool(run.unfinished())
            whole_ones(run)
            print(
                f'  {strategy}: killed {sum(counts.values()) - counts["unfinished file"]}: {phase}',
                file=sys.stderr,
                flush=True,
            )
            if sum(counts[key] for key in ('start', 'train', 'save', 'val')) >= number:
                run.start()
                break
        ended = run.finish()
        check(set(ended.codes) == {0}, f'resumed after kills: {ended.codes}', ended)
        check_equal(run, whole)
        shutil.rmtree(run.folder)
    return dict(kills=number, runs=rounds, **counts)


def whole_ones(run: Run) -> None:
    """Every checkpoint that has its name and whose second file is there is whole."""
    for path in (run.folder / 'work').glob('iter_*.pth'):
        if not path.name.endswith(OPTIM) and path.with_name(path.stem + OPTIM).exists():
            try:
                check_whole(path)
            except (UserError, FileNotFoundError) as error:
                raise AssertionError(f'torn: {error}') from error


# ---------------------------------------------------------------- the other faults


def disk_full(run: Run, whole: Run) -> str:
    """The second checkpoint does not fit: one line, the first one whole, resumed from there."""
    optim = whole.last.with_name(whole.last.stem + OPTIM).stat().st_size
    run.start(limit=[2, optim // 2])
    ended = run.finish()
    check(all(ended.codes), f'exit {ended.codes}', ended)
    line = expect(ended, r'error: checkpoint \S+ cannot be written \(.*')
    check('File too large' in line, line)
    check(
        sorted(path.name for path in (run.folder / 'work').glob('*.pth'))
        == ['iter_3.pth', 'iter_3_optim.pth'],
        'other checkpoints are there',
    )
    check(not run.unfinished(), 'an unfinished file is left')
    return line


def disk_full_between(run: Run, whole: Run) -> str:
    """The weights fit, the optimizer does not (it is written first): the same."""
    run.start(limit=[2, whole.last.stat().st_size + 1000])
    ended = run.finish()
    check(all(ended.codes), f'exit {ended.codes}', ended)
    return expect(ended, r'error: checkpoint \S+_optim\.pth cannot be written \(.*')


def sigterm(run: Run, whole: Run) -> str:
    """SIGTERM to everything: a checkpoint of that iteration, exit status 143 (1: torchrun's)."""
    run.start()
    run.wait_for('train 4')
    for process in run.processes:
        process.send_signal(signal.SIGTERM)
    ended = run.finish()
    check(
        ended.codes[0] == 143 if run.ranks == 1 else ended.codes[0] != 0,
        f'exit {ended.codes}',
        ended,
    )
    line = expect(ended, r'SIGTERM: saved \S+ and stopped')
    check(bool(re.search(r'iter_(4|5)\.pth', line)), line)
    return line


def sigterm_in_validation(run: Run, whole: Run) -> str:
    """The same within a validation, to one rank only."""
    run.start(launch='plain')
    run.wait_for('val 6')
    if run.ranks > 1:
        run.signal_rank(1, signal.SIGTERM)
    else:
        run.processes[0].send_signal(signal.SIGTERM)
    ended = run.finish()
    check(set(ended.codes) == {143}, f'exit {ended.codes}', ended)
    return expect(ended, r'SIGTERM: saved \S+iter_6\.pth and stopped')


def rank_dies(run: Run, whole: Run, launch: str) -> str:
    """One rank is killed: the other says so and stops."""
    run.start(launch=launch)
    run.wait_for('train 4')
    at = time.monotonic()
    run.signal_rank(1, signal.SIGKILL)
    ended = run.finish()
    seconds = time.monotonic() - at
    check(all(ended.codes), f'exit {ended.codes}', ended)
    line = expect(ended, r'error: rank 0 of 2 .*lost another rank.*')
    check(seconds < 60, f'{seconds:.0f} s')
    return f'{line} [after {seconds:.1f} s]'


def rank_hangs(run: Run, whole: Run) -> str:
    """One rank stands still: the other waits as long as env_cfg.dist_cfg.timeout says (30 s)."""
    run.start(launch='plain')
    run.wait_for('train 4')
    at = time.monotonic()
    run.signal_rank(1, signal.SIGSTOP)
    while run.processes[0].poll() is None:
        run._not_forever()
        time.sleep(0.05)
    seconds = time.monotonic() - at
    run.signal_rank(1, signal.SIGKILL)
    ended = run.finish()
    line = expect(ended, r'error: rank 0 of 2 .*lost another rank.*')
    check(seconds < 90, f'{seconds:.0f} s')
    return f'{line} [after {seconds:.1f} s]'


def nan_stops(run: Run, whole: Run) -> str:
    """A loss that is NaN on the last rank: all stop, its samples are named."""
    run.start(nan=[4, run.ranks - 1])
    ended = run.finish()
    check(all(ended.codes), f'exit {ended.codes}', ended)
    return expect(ended, rf'error: the loss is nan on rank {run.ranks - 1}, samples .*\.jpg.*')


def nan_skipped(run: Run, whole: Run) -> str:
    """The same, skipped: the run ends, elsewhere; and so it does when it was killed and resumed."""
    options = ('--cfg-options', 'train_cfg.non_finite=skip')
    run.start(nan=[4, run.ranks - 1], more=options)
    ended = run.finish()
    check(set(ended.codes) == {0}, f'exit {ended.codes}', ended)
    line = expect(ended, r'the loss is nan on rank \d, samples .*its update is skipped')
    found = differing(run.last, whole.last)
    check(any(place.startswith('weights/') for place in found), 'nothing was skipped')
    again = Run(run.folder.parent / f'{run.folder.name} again', run.strategy)
    again.start(nan=[4, run.ranks - 1], more=options)
    again.wait_for('train 8')
    again.kill()
    again.start(nan=[4, run.ranks - 1], more=options)
    ended = again.finish()
    check(set(ended.codes) == {0}, f'resumed: {ended.codes}', ended)
    check_equal(again, run)
    return line


FAULTS: dict[str, tuple[Callable[[Run, Run], str], bool, bool]] = {
    # name: (what is done, does it need two ranks, is the run resumed and compared)
    'disk full': (disk_full, False, True),
    'disk full between the files': (disk_full_between, False, True),
    'SIGTERM': (sigterm, False, True),
    'SIGTERM in a validation': (sigterm_in_validation, False, True),
    'a rank dies, torchrun': (lambda run, whole: rank_dies(run, whole, 'torchrun'), True, True),
    'a rank dies, no agent': (lambda run, whole: rank_dies(run, whole, 'plain'), True, True),
    'a rank hangs': (rank_hangs, True, True),
    'NaN stops': (nan_stops, False, True),
    'NaN skipped': (nan_skipped, False, False),
}


def expect(ended: Ended, pattern: str) -> str:
    """The line of the output that matches."""
    lines = [
        found.group() for line in ended.output.splitlines() if (found := re.search(pattern, line))
    ]
    check(bool(lines), f'no line {pattern!r}', ended)
    return lines[0]


# ----------------------------------------------------------------


def uninterrupted(folder: Path, strategy: str) -> Run:
    """The run that nothing happens to, with the seconds at which each phase began."""
    run = Run(folder / 'whole', strategy)
    run.start()
    seen: list[tuple[float, str]] = []
    while any(process.poll() is None for process in run.processes):
        lines = run.log.read_text().splitlines()
        seen += [(time.monotonic() - run.started, line) for line in lines[len(seen) :]]
        run._not_forever()
        time.sleep(0.001)
    ended = run.finish()
    check(set(ended.codes) == {0}, f'uninterrupted: {ended.codes}', ended)
    run.timeline = [*seen, (ended.seconds, 'end')]
    run.until_train = seen[0][0]
    return run


def drill(folder: Path, strategy: str, number: int, faults: list[str], seed: int) -> Iterator[dict]:
    """Rows of the table: strategy, fault, what happened."""
    folder.mkdir(parents=True, exist_ok=True)
    os.symlink(folder.parent / 'synthrs', folder / 'synthrs')
    whole = uninterrupted(folder, strategy)
    if number:
        found = kills(folder, strategy, whole, number, random.Random(seed))
        yield dict(
            strategy=strategy,
            fault='SIGKILL',
            said=', '.join(f'{key} {value}' for key, value in found.items()),
        )
    for name in faults:
        act, several, resumed = FAULTS[name]
        run = Run(folder / name.replace(' ', '_').replace(',', ''), strategy)
        if several and run.ranks == 1:
            continue
        said = act(run, whole)
        if resumed:
            go_on(run, whole)
        yield dict(strategy=strategy, fault=name, said=said)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--strategies', nargs='+', choices=CONFIGS, default=['single', 'ddp'])
    parser.add_argument('--kills', type=int, default=20, help='for each strategy')
    parser.add_argument('--faults', nargs='*', choices=FAULTS, default=list(FAULTS))
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--json', type=Path, help='write the rows here too')
    args = parser.parse_args()
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [
                sys.executable,
                ROOT / 'tools/synthrs_generate.py',
                '--out',
                folder / 'synthrs',
                '--scenes-train',
                '24',
                '--scenes-val',
                '8',
                '--scenes-test',
                '4',
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for strategy in args.strategies:
            start = time.monotonic()
            for row in drill(folder / strategy, strategy, args.kills, args.faults, args.seed):
                row['seconds'] = round(time.monotonic() - start)
                start = time.monotonic()
                rows.append(row)
                said = row['said'].replace(str(folder), '...')
                print(
                    f'{row["strategy"]:7}{row["fault"]:29}{row["seconds"]:4} s  {said[:200]}',
                    flush=True,
                )
    print('every run that was resumed ended as the uninterrupted one, bit for bit')
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
