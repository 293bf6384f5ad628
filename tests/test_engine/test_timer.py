"""What the log says of speed, waiting, memory and the time left, with a clock made by hand."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from mmengine.runner import LogProcessor

from rsrefseg2.engine import TimerHook, timer
from rsrefseg2.engine.hooks import live_line
from rsrefseg2.profiling import mfu
from rsrefseg2.profiling.mfu import PEAKS, Mfu, find_mfu, peak_tflops
from rsrefseg2.profiling.training_flops import TrainingFlops

GPUS = {
    'NVIDIA A100-SXM4-80GB': 312,
    'NVIDIA H100 80GB HBM3': 989.4,
    'NVIDIA H100 PCIe': 756,
    'NVIDIA L40S': 362,
    'NVIDIA L4': 121,
    'Tesla T4': 65,
    'NVIDIA RTX 6000 Ada Generation': 364.2,
    'NVIDIA GeForce RTX 4090': 165.2,
    'NVIDIA GeForce RTX 4090 Laptop GPU': None,
    'NVIDIA A100-SXM4-40GB MIG 1g.5gb': None,
    'NVIDIA GeForce RTX 4090 D': None,
    'NVIDIA GH200 480GB': None,
    'NVIDIA A10G': None,
    'Quadro P6000': None,
}


class Loop(SimpleNamespace):
    """What the hook reads of a train loop."""

    def due(self, done):
        """As `RefSegTrainLoop._validate_if_due`, written down anew."""
        unit = self.epoch_length if self.by_epoch else 1
        regular = done % (unit * self.val_interval) == 0 and done // unit >= self.val_begin
        return regular or done == self.max_iters


def make_loop(**options):
    return Loop(
        **{
            **dict(
                by_epoch=False,
                epoch_length=4,
                val_interval=3,
                val_begin=1,
                max_iters=10,
                runner=SimpleNamespace(val_loop=object()),
            ),
            **options,
        }
    )


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=100.0)
    for name in ('perf_counter', 'time'):
        monkeypatch.setattr(timer.time, name, lambda: now.time)
    return now


class Driver:
    """A run without a model: iterations that wait and take as long as they are told to."""

    def __init__(self, hook, clock, loop, logs_every=1000):
        self.hook, self.clock = hook, clock
        logger = LoggerHook(interval=logs_every)
        hub = MessageHub.get_instance(f'timer{id(self)}')
        self.runner = SimpleNamespace(
            message_hub=hub,
            iter=0,
            max_iters=loop.max_iters,
            train_loop=loop,
            hooks=[logger],
            cfg=SimpleNamespace(model={}),
            strategy=SimpleNamespace(plain_model=None),
            train_dataloader=range(100),
        )
        hook.before_train(self.runner)
        hook.before_train_epoch(self.runner)

    def step(self, *, wait, work, images=2, sentences=3):
        batch = dict(inputs=[0] * images, data_samples=[0] * sentences)
        self.clock.time += wait
        self.hook.before_train_iter(self.runner, self.runner.iter, batch)
        self.clock.time += work
        self.hook.after_train_iter(self.runner, self.runner.iter, batch, {})
        self.runner.iter += 1
        self.hook.before_data(self.runner)

    def aside(self, seconds, validation=0.0):
        """After an iteration: a checkpoint, then perhaps a validation."""
        self.clock.time += seconds
        if validation:
            self.hook.before_val(self.runner)
            self.clock.time += validation
            self.hook.after_val(self.runner)
        self.hook.before_data(self.runner)

    def logged(self, name):
        return self.runner.message_hub.get_scalar(f'train/{name}').current()


def test_speed_and_waiting_over_the_window(clock):
    run = Driver(TimerHook(window=2), clock, make_loop(), logs_every=3)
    run.step(wait=50, work=50, images=100, sentences=100)  # leaves the window
    run.aside(20)  # neither waiting nor an iteration
    run.step(wait=1, work=3)
    run.aside(7, validation=30)
    run.step(wait=0, work=4, images=4, sentences=6)
    assert run.logged('images_per_s') == pytest.approx(6 / 8)
    assert run.logged('sentences_per_s') == pytest.approx(9 / 8)
    assert run.logged('data_share') == pytest.approx(1 / 8)
    assert run.runner.message_hub.get_scalar('train/data_time').current() == 0
    assert run.runner.message_hub.get_scalar('train/time').current() == 4
    assert 'train/mfu' not in run.runner.message_hub.log_scalars


def test_all_ranks_count(clock, monkeypatch):
    """The slowest one's seconds, the one that waits most, the one that holds most."""
    other = (8.0, 0.75, 3, 5, 7 * 2**30)
    monkeypatch.setattr(timer, 'all_gather_object', lambda own: [own, other])
    monkeypatch.setattr(timer, 'peak_bytes', lambda: 2 * 2**30)
    run = Driver(TimerHook(), clock, make_loop(), logs_every=1)
    run.step(wait=1, work=3)
    assert [
        run.logged(name) for name in ('images_per_s', 'sentences_per_s', 'data_share', 'peak_gib')
    ] == [5 / 8, 8 / 8, 0.75, 7]


def test_time_left_counts_validations_and_starts_anew_after_a_resume(clock):
    loop = make_loop(val_interval=3, max_iters=10)  # validations after 3, 6, 9 and 10
    run = Driver(TimerHook(), clock, loop)
    for _ in range(3):
        run.step(wait=1, work=1)
    assert run.runner.message_hub.get_info('eta') == 7 * 2
    run.aside(0, validation=30)
    run.step(wait=1, work=1)
    assert run.runner.message_hub.get_info('eta') == 6 * 2 + 3 * 30
    resumed = Driver(TimerHook(), clock, loop)
    resumed.runner.iter = 6
    resumed.hook.before_train(resumed.runner)
    resumed.step(wait=1, work=4)
    assert resumed.runner.message_hub.get_info('eta') == 3 * 5


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(max_iters=12),
        dict(val_begin=5),
        dict(val_interval=7, max_iters=5),
        dict(by_epoch=True, max_iters=24, val_interval=2),
        dict(by_epoch=True, max_iters=28),
        dict(by_epoch=True, max_iters=24, val_begin=4, val_interval=2),
        dict(val_begin=30),
    ],
)
def test_validations_left_are_those_of_the_loop(options):
    loop = make_loop(**options)
    for done in range(1, loop.max_iters + 1):
        expected = sum(loop.due(step) for step in range(done, loop.max_iters + 1))
        assert timer.validations_left(loop, done) == expected, done


def test_a_run_without_validation_has_none_left():
    assert timer.validations_left(make_loop(runner=SimpleNamespace(val_loop=None)), 1) == 0


def test_measured_whenever_the_logger_logs():
    """The condition is the logger's own."""

    class Lines(LogProcessor):
        def get_log_after_iter(self, *args):
            told.append(index)
            return {}, ''

    for interval, ignore_last, length in ((3, True, 10), (3, False, 10), (20, True, 10)):
        hook, told, expected = LoggerHook(interval=interval, ignore_last=ignore_last), [], []
        quiet = SimpleNamespace(info=lambda line: None, add_scalars=lambda *a, **k: None)
        runner = SimpleNamespace(
            hooks=[hook],
            train_dataloader=range(length),
            logger=quiet,
            log_processor=Lines(),
            visualizer=quiet,
            experiment_name='',
            iter=0,
        )
        for index in range(length):
            hook.after_train_iter(runner, index)
            expected += [index] if timer._is_logged(runner, index) else []
        assert told == expected and told


def resident_bytes():
    """At this moment; /proc counts pages."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def test_peak_memory_is_that_of_this_process():
    """Whatever earlier tests took: at least what it holds now, and no other unit."""
    block = torch.ones(2**28, dtype=torch.uint8)  # written, so that it is resident
    now, peak = resident_bytes(), timer.peak_bytes()
    assert 2**28 < now < peak + 2**24  # the system counts them at slightly different moments
    del block
    assert timer.peak_bytes() > peak - 2**24 and peak < 2**9 * now


def test_mfu_by_hand(clock, monkeypatch):
    """10 images of 3 TFLOP and 20 sentences of 1 in 5 s on 2 devices of 10 TFLOP/s: half."""
    flops = TrainingFlops(3 * 10**12, 10**12)
    assert Mfu(flops, 10)(10, 20, 5.0, 2) == pytest.approx(0.5)
    monkeypatch.setattr(timer, 'find_mfu', lambda *a: Mfu(flops, 10))
    run = Driver(TimerHook(peak_tflops=10), clock, make_loop(), logs_every=1)
    run.step(wait=1, work=1, images=2, sentences=3)
    assert run.logged('mfu') == pytest.approx((2 * 3 + 3 * 1) / (2 * 10))
    assert live_line(run.runner.message_hub).startswith('1.0 images/s, data 50%, MFU 45%, eta ')


@pytest.mark.parametrize(('name', 'expected'), GPUS.items())
def test_peak_by_the_gpus_name(name, expected):
    assert peak_tflops(name) == expected
    assert expected is None or expected in PEAKS.values()


def test_an_unknown_gpu_is_said_once_and_has_no_mfu(monkeypatch):
    lines = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Quadro P6000')
    monkeypatch.setattr(mfu, 'print_log', lambda line, logger: lines.append(line))
    assert find_mfu(None, {}, None) is None
    assert len(lines) == 1 and "'Quadro P6000'" in lines[0] and 'peak_tflops' in lines[0]
    assert find_mfu(torch.nn.Linear(1, 1), {}, 10.0) is None and 'Linear' in lines[1]


def test_a_cpu_has_no_mfu_and_says_nothing(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(mfu, 'print_log', lambda *a: pytest.fail('said something'))
    assert find_mfu(None, {}, None) is None
