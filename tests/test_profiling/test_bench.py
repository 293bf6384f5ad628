"""The bench measures the model itself: its numbers, its FLOP, all of its time."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

from rsrefseg2.cli import bench_command
from rsrefseg2.engine import load_config
from rsrefseg2.profiling.bench import (
    LEVERS,
    agreement_of,
    bench,
    build_model,
    count_levers,
    flop_by_part,
    make_work,
    predict,
    relative_difference,
    run,
)
from rsrefseg2.profiling.complexity import build_on_meta, count_flops
from rsrefseg2.profiling.machine import Clock, peak_memory, reset_peak
from rsrefseg2.profiling.step_watch import StepWatch, checksums, gradient_faults
from rsrefseg2.profiling.sweep import sweep
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
    watch = StepWatch(model, check=True)
    run(model, work, clock, passes=2, watch=watch)
    assert watch.faults == []
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
    first, second = bench(config, work, CPU, levers=['plain', 'bf16'], repeats=1)
    assert (first.kept, first.states, first.faults) == (None, None, [])
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


# ------------------------------------------------------------------ memory


def test_a_step_keeps_what_is_counted(config, work):
    """Of a training step that runs, and of one without data; in BF16 what is computed again too."""
    levers = ['eager', 'SAM again', 'bf16 all again']
    measured = bench(config, work, CPU, levers=levers, training=True, repeats=1)
    counted = count_levers(config, 2, 5, 64, levers=levers)
    for one, other in zip(measured, counted, strict=True):
        assert one.lever == other.lever and one.weights == other.weights
        assert other.kept == pytest.approx(one.kept, rel=2e-2)
        # AdamW's step counts: 4 bytes a tensor
        assert other.states == pytest.approx(one.states, rel=1e-2)
    kept = [one.kept for one in counted]
    assert kept[0] > kept[1] > kept[2] and counted[0].largest == 0 < counted[1].largest


def test_plain_keeps_more_than_the_cheaper_forms(config):
    plain, eager, stages = count_levers(
        config, 2, 4, 64, levers=['plain', 'eager', 'stages 1-2 again']
    )
    assert plain.kept > eager.kept > stages.kept and plain.states == eager.states


def test_the_peak_is_that_since_the_reset():
    reset_peak(CPU)
    before = peak_memory(CPU)
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    assert 60 * 2**20 < peak_memory(CPU) - before < 80 * 2**20
    del block
    assert peak_memory(CPU) - before > 60 * 2**20
    reset_peak(CPU)
    assert peak_memory(CPU) - before < 30 * 2**20


# ------------------------------------------------------------------ checks of a step


def test_checksums_cover_what_training_must_not_move():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)).bfloat16()
    model[0].requires_grad_(False)
    model.register_buffer('position', torch.ones(()), persistent=False)
    model.register_buffer('ids', torch.arange(3))
    before = checksums(model)
    assert set(before) == {'0.weight', '0.bias', 'position', 'ids'}
    model(torch.randn(4, 2).bfloat16())  # moves BatchNorm's statistics
    assert checksums(model) == before
    model.position += 1
    model.ids[2] = 7
    after = checksums(model)
    assert {name for name in before if before[name] != after[name]} == {'position', 'ids'}


def test_faults_of_gradients_are_named():
    model = nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in ('a', 'b', 'c', 'd')})
    model['d'].requires_grad_(False)
    model['b'].weight.grad = torch.zeros(2, 2)
    model['c'].weight.grad = torch.full((2, 2), torch.inf)
    found = gradient_faults(model, {})
    assert found == [
        'gradient of a.weight: none',
        'gradient of b.weight: zero',
        'gradient of c.weight: not finite',
    ]
    assert gradient_faults(model, {r'b\.': 'meant so'}) == [found[0], found[2]]


def test_a_frozen_weight_that_moves_is_a_fault(config, work):
    model = build_model(config, 'eager', CPU)
    watch = StepWatch(model, check=True)
    frozen = model.encoder.vision_model.post_layernorm.weight
    frozen.data.add_(1)
    run(model, work, Clock(CPU), passes=1, watch=watch)
    assert watch.faults == ['frozen encoder.vision_model.post_layernorm.weight: changed']


# ------------------------------------------------------------------ how it grows


def test_a_sweep_asks_more_of_one_model(config):
    points = sweep(config, CPU, 'sentences', values=(1, 3), lever='eager', side=64, repeats=1)
    assert [(one.value, one.sentences) for one in points] == [(1, 1), (3, 3)]
    one, three = ({part.name: part.flop for part in point.parts} for point in points)
    assert one['SAM image'] == three['SAM image'] and 3 * one['prompter'] == three['prompter']
    (large,) = sweep(config, CPU, 'side', values=(128,), lever='eager', images=2, repeats=1)
    assert large.sentences == 2 and large.parts[-1].name == 'total'


# ------------------------------------------------------------------ the command


def test_the_command_names_every_lever():
    assert ('plain', *bench_command.LEVERS) == tuple(LEVERS)


def test_the_command(run_bench):
    out = run_bench('--per-image', 2)
    assert 'SigLIP image' in out and 'sentences a second' in out
    (first,) = json.loads(run_bench('--json', '--train', '--check', '--images', 2))
    assert first['lever'] == 'plain' and first['parts'][-1]['name'] == 'total'
    assert first['faults'] == [] and first['kept'] > 0


def test_levers_stand_side_by_side(run_bench):
    out = run_bench('--alone', '--levers', 'eager', 'bf16')
    assert 'plain' not in out and 'masks agree' in out
    first, second = (line.split() for line in out.splitlines()[-2:])
    assert (first[0], first[2], second[0]) == ('eager', '1.00', 'bf16')


def test_the_count_is_a_table(run):
    code, out, err = run('bench.py', 'configs/synthrs_tiny.py', '--train', '--count', '--alone')
    assert code in (0, None), err
    assert 'the largest layer again' in out and out.splitlines()[-1].split()[0] == 'eager'


def test_a_sweep_is_drawn(run_bench, tmp_path, monkeypatch):
    from rsrefseg2.profiling import sweep as module

    monkeypatch.setitem(module.VALUES, 'sentences', (1, 2))
    monkeypatch.setitem(module.VALUES, 'side', (64, 128))
    out = run_bench('--sweep', 'sentences', 'side', '--out', tmp_path / 'costs')
    assert 'ms of a pass by sentences of a picture' in out and 'costs.png' in out
    with Image.open(tmp_path / 'costs.png') as picture:
        assert min(picture.size) > 300
    found = json.loads(run_bench('--sweep', 'side', '--json', '--train'))
    assert [point['value'] for point in found['side']] == [64, 128]


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        (['--count'], 'add --train'),
        (['--check'], 'add --train'),
        (['--check', '--train'], 'add --images 2'),
        (['--train', '--count', '--sweep', 'side'], 'give one of them'),
        (['--sweep', 'side', '--levers', 'bf16', 'eager'], 'takes one lever'),
        (['--out', 'costs'], 'add --sweep'),
    ],
)
def test_options_that_do_not_go_together(run, options, says):
    code, _, err = run('bench.py', 'configs/synthrs_tiny.py', *options)
    assert code == 2 and says in err


@pytest.fixture
def run_bench(run):
    def run_bench(*options):
        size = ('--side', 64, '--repeats', 1, '--device', 'cpu')
        code, out, err = run('bench.py', 'configs/synthrs_tiny.py', *size, *options)
        assert code in (0, None), err
        return out

    return run_bench
