"""Runs from their logs: joined over resumes, chosen by name, drawn."""

import json

import numpy as np
import pytest
from PIL import Image

from rsrefseg2.errors import UserError
from rsrefseg2.visualization import plot_runs, read_runs
from rsrefseg2.visualization.training_curves import COLOURS, choose


def write(folder, *starts):
    """A work dir with a log for each start: lists of (step, loss) and (step, None, gIoU)."""
    for number, lines in enumerate(starts):
        path = folder / f'2026010{number}_120000' / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text(
            ''.join(
                json.dumps(
                    dict(
                        loss=loss,
                        loss_ce=loss / 2,
                        lr=1e-4,
                        grad_norm=loss + 1,
                        iter=step,
                        epoch=1,
                        step=step,
                    )
                    if loss is not None
                    else dict(gIoU=score[0], time=0.5, step=step)
                )
                + '\n'
                for step, loss, *score in lines
            )
        )
    return folder


def test_a_resumed_run_is_one_curve_and_what_was_done_twice_counts_once(tmp_path):
    """Logged to 50; gone on from 30, at a validation; then from 60."""
    folder = write(
        tmp_path / 'mine',
        [(10, 9.0), (20, 8.0), (30, 7.0), (30, None, 11.0), (40, 66.0), (45, 5.0)],
        [(30, None, 12.0), (50, 5.0), (60, 4.0), (60, None, 20.0)],
        [(70, 3.0)],
    )
    (run,) = read_runs([folder])
    assert run.name == 'mine'
    assert run.curves['train/loss'] == {
        10: 9.0,
        20: 8.0,
        30: 7.0,
        40: 66.0,
        45: 5.0,
        50: 5.0,
        60: 4.0,
        70: 3.0,
    }
    assert run.curves['val/gIoU'] == {30: 12.0, 60: 20.0}
    assert 'train/epoch' not in run.curves and 'train/step' not in run.curves


def test_a_crash_between_checkpoints(tmp_path):
    """Steps 40 and 45 are done anew, logged elsewhere: the first time is gone."""
    folder = write(
        tmp_path / 'mine',
        [(30, 7.0), (40, 66.0), (45, 55.0), (45, None, 1.0)],
        [(35, 6.0), (45, 5.0)],
    )
    (run,) = read_runs([folder])
    assert run.curves['train/loss'] == {30: 7.0, 35: 6.0, 45: 5.0}
    assert run.curves['val/gIoU'] == {45: 1.0}


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path):
    folder = write(tmp_path / 'mine', [(10, 9.0), (20, 8.0)])
    path = next(folder.glob('*/vis_data/scalars.json'))
    path.write_text(path.read_text()[:-12])
    assert read_runs([folder])[0].curves['train/loss'] == {10: 9.0}
    assert read_runs([path])[0].curves['train/loss'] == {10: 9.0}


def test_bad_input_is_one_line(tmp_path, run):
    log = tmp_path / 'log' / 'scalars.json'
    log.parent.mkdir()
    for text, says in (
        ('', 'holds no value yet'),
        ('[1]\n{}\n', 'line 1 is no line of a log'),
        ('{"step": 1, "iter": 1, "loss": 2}\nx\n{}\n', 'line 2'),
    ):
        log.write_text(text)
        with pytest.raises(UserError, match=says):
            read_runs([log])
    code, _, err = run('analysis/curves.py', tmp_path / 'nowhere')
    assert code == 1 and err.startswith('error: ') and 'does not exist' in err
    (tmp_path / 'empty').mkdir()
    assert 'holds no log of a run' in run('analysis/curves.py', tmp_path / 'empty')[2]
    folder = write(tmp_path / 'mine', [(10, 9.0)])
    assert 'did you mean loss' in run('analysis/curves.py', folder, '--keys', 'losss')[2]


def test_keys_and_defaults(tmp_path):
    runs = read_runs([write(tmp_path / 'mine', [(10, 9.0), (10, None, 3.0)])])
    assert choose(runs) == [
        'train/loss',
        'train/loss_ce',
        'train/grad_norm',
        'train/lr',
        'val/gIoU',
    ]
    assert choose(runs, ['gIoU', 'val/time', 'loss*']) == [
        'val/gIoU',
        'val/time',
        'train/loss',
        'train/loss_ce',
    ]


def test_a_plot_per_curve_and_a_colour_per_run(tmp_path):
    paths = [
        write(tmp_path / name, [(10, 9.0), (20, 8.0 + i)], *more)
        for i, (name, *more) in enumerate((['a/run'], ['b/run'], ['other', [(20, None, 50.0)]]))
    ]
    figure = plot_runs(read_runs(paths))
    titles = [axes.get_title(loc='left') for axes in figure.axes]
    assert titles == ['loss', 'loss_ce', 'grad_norm', 'lr', 'val gIoU, %']
    lines = figure.axes[0].lines
    assert [line.get_color() for line in lines] == list(COLOURS[:3])
    assert [line.get_ydata().tolist() for line in lines] == [[9, 8], [9, 9], [9, 10]]
    assert [line.get_color() for line in figure.axes[4].lines] == [COLOURS[2]]
    assert [text.get_text() for text in figure.legends[0].texts] == [
        str(paths[0]),
        str(paths[1]),
        'other',
    ]


def test_the_tool_writes_both_files(tmp_path, run):
    folder = write(tmp_path / 'mine', [(10, 9.0), (20, 8.0)])
    code, out, _ = run('analysis/curves.py', folder, '--out', tmp_path / 'to' / 'fig.png')
    assert code == 0 and out.split() == [
        str(tmp_path / 'to' / f'fig.{kind}') for kind in ('png', 'pdf')
    ]
    picture = np.asarray(Image.open(tmp_path / 'to' / 'fig.png').convert('RGB')).reshape(-1, 3)
    blue = np.array([0x00, 0x72, 0xB2])
    assert (picture == blue).all(1).sum() > 1000
