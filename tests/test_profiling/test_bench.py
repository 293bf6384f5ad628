"""The bench measures the model itself: its numbers, its FLOP, all of its time."""

import json

import pytest
import torch

from rsrefseg2.cli import bench_command
from rsrefseg2.engine import load_config
from rsrefseg2.profiling.bench import (
    LEVERS,
    Clock,
    agreement_of,
    bench,
    build_model,
    flop_by_part,
    make_work,
    predict,
    relative_difference,
    run,
)
from rsrefseg2.profiling.complexity import build_on_meta, count_flops
from rsrefseg2.profiling.training_flops import count_training_flops

CPU = torch.device('cpu')
FORWARD = ['SigLIP image', 'SAM image', 'SigLIP text', 'prompter', 'decoder']


@pytest.fixture(scope='module')
def config():
    return load_config('configs/synthrs_tiny.py')


@pytest.fixture
def work():
    return make_work(2, 5, 64, CPU)


def test_work_is_different_pictures_and_sentences(work):
    assert work.image_index.tolist() == [0, 1, 0, 1, 0] and len(set(work.sentences)) == 5
    assert not torch.equal(*work.images) and work.images[0].shape == (3, 64, 64)


def test_a_timed_prediction_is_the_models(config, work):
    """The parts one after the other give what `encode_images` and `segment` do."""
    model = build_model(config, 'plain', CPU).eval()
    clock = Clock(CPU)
    found = predict(model, work, clock)
    with torch.no_grad():
        images = model.encode_images(*model.data_preprocessor.images(work.images))
        tokens = model.data_preprocessor.tokenize(work.sentences)
        logits = model.segment(images, work.image_index, *tokens).mask_logits
    wanted = model.masks(logits, [(64, 64)] * 5)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert list(clock.seconds) == ['preprocess', *FORWARD, 'upsampling']


def test_a_timed_step_trains(config, work):
    model, clock = build_model(config, 'plain', CPU), Clock(CPU)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run(model, work, clock, training=True, passes=2)
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert any('lora_' in name for name in moved) and any('prompter' in name for name in moved)
    assert {'losses', 'backward', 'optimizer'} < set(clock.seconds)
    assert all(len(seconds) == 2 for seconds in clock.seconds.values())


def test_flop_are_those_of_the_counters(config, work):
    model = build_on_meta(config.model.to_dict())
    one, both = count_flops(model), count_training_flops(model)
    forward = flop_by_part(config, work, training=False)
    assert forward['SAM image'] == 2 * one['sam_image_encoder']
    assert forward['prompter'] == 5 * one['prompter'] and list(forward) != []
    assert sum(flop_by_part(config, work, training=True).values()) == (
        2 * both.image + 5 * both.sentence
    )


def test_levers_start_from_one_model_and_are_compared(config, work):
    first, second = bench(config, work, CPU, levers=['bf16'], repeats=1)
    assert (first.lever, first.ratio, first.largest_difference, first.agreement) == (
        'plain',
        1.0,
        0.0,
        1.0,
    )
    assert 0 < second.largest_difference < 0.3 and 0.8 < second.agreement < 1
    total = first.parts[-1]
    assert total.name == 'total' and total.seconds == pytest.approx(
        sum(part.seconds for part in first.parts[:-1])
    )
    for part in first.parts[:-1]:  # one peak for all: the machine's speed cancels
        if part.flop is not None:
            rate = part.flop / part.seconds / (total.flop / total.seconds)
            assert part.share / total.share == pytest.approx(rate)
    assert first.memory > 2**20


def test_agreement_is_that_of_all_masks_together():
    plain = [torch.tensor([[1.0, -1.0], [2.0, 4.0]]), torch.tensor([[-1.0]])]
    other = [torch.tensor([[1.0, 1.0], [-2.0, 4.0]]), torch.tensor([[1.0]])]
    assert agreement_of(other, plain) == 2 / 5
    assert relative_difference(other, plain) == 1.0
    assert agreement_of([-torch.ones(2, 2)], [-torch.ones(2, 2)]) == 1.0


def test_the_command_names_every_lever():
    assert ('plain', *bench_command.LEVERS) == tuple(LEVERS)


def test_the_command(run_bench):
    out = run_bench('--per-image', 2)
    assert 'SigLIP image' in out and 'sentences a second' in out
    (first,) = json.loads(run_bench('--json', '--train'))
    assert first['lever'] == 'plain' and first['parts'][-1]['name'] == 'total'


@pytest.fixture
def run_bench(run):
    def run_bench(*options):
        size = ('--side', 64, '--repeats', 1, '--device', 'cpu')
        code, out, err = run('bench.py', 'configs/synthrs_tiny.py', *size, *options)
        assert code in (0, None), err
        return out

    return run_bench
