"""tools/analysis/summary.py: parameters and FLOPs by part, without weights and network."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rsrefseg2.profiling.complexity import PARTS, build_on_meta, summarize
from rsrefseg2.registry import MODELS
from tests import tiny_towers

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools' / 'analysis' / 'summary.py'
FULL = ROOT / 'configs' / 'rrsisd_siglip2_sam21l.py'


def run_tool(monkeypatch, capfd, *arguments: str) -> str:
    """What the tool prints on stdout."""
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')
    return capfd.readouterr().out


def tiny_model(rank: int | None = 2) -> dict:
    lora = None if rank is None else dict(r=rank)
    return dict(
        type='RSRefSeg2',
        siglip=dict(checkpoint=tiny_towers.siglip_config(), vision_lora=lora, text_lora=lora),
        sam=dict(checkpoint=tiny_towers.sam2_config(), lora=lora),
        prompter=dict(type='CascadedPrompter', inner=16, heads=2, mlp_hidden=16, dense=dict()),
    )


def test_full_size_as_json(monkeypatch, capfd):
    summary = json.loads(run_tool(monkeypatch, capfd, FULL, '--json'))
    parameters, flops = summary['parameters'], summary['flops']
    millions = {name: number / 1e6 for name, number in parameters.items()}
    assert millions['vision_tower'] == pytest.approx(413.5, abs=0.05)
    assert millions['text_tower'] == pytest.approx(707.8, abs=0.05)
    assert millions['sam'] == pytest.approx(216.9, abs=0.05)
    assert millions['prompter'] == pytest.approx(83, abs=1)
    # Counted independently: 979.6 with the pooling head, whose keys and values are 5.4.
    assert flops['vision_tower'] / 1e9 == pytest.approx(979.6 - 5.4, abs=0.2)
    assert flops['text_tower'] / 1e9 == pytest.approx(53.1, abs=0.1)
    # 1823, and 1.6 of the two convolutions on the high-resolution maps, which the decoder owns;
    # less q k^T across the heads of each place, which transformers computes and drops.
    blocks = ((2, 2, 256), (1, 4, 256), (5, 4, 128), (1, 8, 128), (35, 8, 64), (1, 16, 64))
    blocks = (*blocks, (3, 16, 32))  # how many, heads of 72, side before the queries are pooled
    dropped = sum(2 * n * (heads**2 * 72) * side**2 for n, heads, side in blocks) / 1e9
    assert flops['sam_image_encoder'] / 1e9 == pytest.approx(1823 + 1.6 - dropped, abs=0.6)
    assert 1 < dropped < 3
    for counts in (parameters, flops):
        assert all(isinstance(number, int) for number in counts.values())
        assert counts['total'] == sum(counts[part] for part in PARTS) + counts.get('other', 0)
    assert parameters['vision_tower_trainable'] == parameters['text_tower_trainable'] == 0
    assert parameters['lora_trainable'] == parameters['lora'] > 0
    assert parameters['trainable'] == sum(
        parameters[f'{part}_trainable'] for part in (*PARTS, 'other')
    )


def test_table_and_options(monkeypatch, capfd, tmp_path):
    config = tmp_path / 'tiny.py'
    config.write_text(f"default_scope = 'rsrefseg2'\nmodel = {tiny_model()!r}")
    text = run_tool(monkeypatch, capfd, config, '--cfg-options', 'model.sam.lora.r=4000')
    assert '1 MAC = 2 FLOP' in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert float(rows['lora'][1]) > 1 > float(rows['sam'][1])  # millions


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['no/such/config.py'], 'no/such/config.py'),
        (
            [FULL, '--cfg-options', 'model.sam.checkpoint=facebook/sam2.1-hiera-tny'],
            'did you mean facebook/sam2.1-hiera-tiny',
        ),
        ([FULL, '--cfg-options', 'model.prompter.n_tt=3'], 'n_tt'),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, capfd, arguments, says):
    with pytest.raises(SystemExit) as caught:
        run_tool(monkeypatch, capfd, *arguments)
    output = capfd.readouterr()
    assert caught.value.code == 1 and output.out == ''
    lines = [line for line in output.err.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and says in lines[0]


@pytest.fixture(scope='module')
def tiny_summary() -> dict:
    return summarize(build_on_meta(tiny_model()))


def test_counts_on_meta_are_the_real_ones(tiny_summary):
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        model = MODELS.build(dict(tiny_model(), init='random'))
    assert tiny_summary['parameters']['total'] == sum(p.numel() for p in model.parameters())
    assert tiny_summary['parameters']['trainable'] == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )

    length = model.encoder.max_length
    # On the CPU torch does not count its fused attention; written out, it does.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        images = model.encode_images(torch.randn(1, 3, 32, 32), torch.randn(1, 3, 64, 64))
        model.segment(
            images,
            torch.zeros(1, dtype=torch.int64),
            torch.ones(1, length, dtype=torch.int64),
            torch.full((1,), length),
        )
    assert tiny_summary['flops']['total'] == counter.get_total_flops()


def test_lora_stands_apart(tiny_summary):
    without = summarize(build_on_meta(tiny_model(None)))
    for kind in ('parameters', 'flops'):
        assert tiny_summary[kind]['lora'] > 0 and without[kind]['lora'] == 0
        for part in ('vision_tower', 'text_tower', 'sam', 'prompter'):
            assert tiny_summary[kind][part] == without[kind][part]
    # rank 2 on 4 projections of 2 layers in both towers, 32 to 32, and on qkv and proj of Hiera
    towers = 2 * 2 * 4 * 2 * (32 + 32)
    hiera = sum(
        2 * ((d_in + 3 * d_out) + (d_out + d_out))
        for d_in, d_out in ((8, 8), (8, 16), (16, 32), (32, 32), (32, 64))
    )
    assert tiny_summary['parameters']['lora'] == towers + hiera
