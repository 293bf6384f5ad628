"""The command `rsrefseg2`, its listing and its files: what a user types outside a checkout."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from rsrefseg2.cli import COMMANDS, main
from rsrefseg2.errors import UserError
from rsrefseg2.shipped import find_shipped

ROOT = Path(__file__).resolve().parents[1]


def test_every_tool_is_a_command():
    scripts = {
        path.read_text(encoding='utf-8').split("run_command('")[1].split("'")[0]
        for folder in ('', 'data', 'analysis')
        for path in (ROOT / 'tools' / folder).glob('*.py')
    }
    assert scripts == set(COMMANDS)


def test_the_listing_names_every_command(capsys):
    assert main(['--help']) == 0
    out = capsys.readouterr().out
    assert all(f'\n  {name}  ' in out for name in COMMANDS)


def test_an_unknown_command_gets_its_near_match(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['data', 'verfy', 'rrsisd', 'x'])
    assert ended.value.code
    assert 'data verify' in capsys.readouterr().err


def test_it_is_installed():
    (entry,) = (e for e in entry_points(group='console_scripts') if e.name == 'rsrefseg2')
    assert entry.load().__module__.startswith('rsrefseg2.cli')


def test_a_shipped_config_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_shipped('configs/rrsisd_tiny.py')
    assert Path(found) == ROOT / 'configs/rrsisd_tiny.py'
    with pytest.raises(UserError, match='looked in'):
        find_shipped('configs/no_such.py')
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs/rrsisd_tiny.py').touch()
    assert find_shipped('configs/rrsisd_tiny.py') == 'configs/rrsisd_tiny.py', 'his own comes first'


@pytest.mark.slow
def test_the_wheel_works_from_another_folder(tmp_path):
    """Built, installed beside the checkout, and used from a third folder."""
    pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
    source = tmp_path / 'source'
    subprocess.run(['git', 'clone', '--quiet', ROOT, source], check=True)
    subprocess.run(
        [*pip, 'wheel', '--no-deps', '--no-build-isolation', '-w', tmp_path / 'wheel', source],
        check=True,
    )
    (wheel,) = (tmp_path / 'wheel').glob('rsrefseg2-*.whl')
    subprocess.run([*pip, 'install', '--no-deps', '--target', tmp_path / 'site', wheel], check=True)
    away = tmp_path / 'away'
    away.mkdir()
    scenes = '--scenes-train 4 --scenes-val 2 --scenes-test 2 --workers 1'
    row = '--rows t10_neither --scale tiny --cfg-options train_cfg.max_iters=2'
    short = 'train_cfg.val_interval=2 default_hooks.checkpoint.interval=1'
    for command in (
        'predict --demo --out out',
        f'synthrs generate --out data/synthrs {scenes}',
        f'ablate table10 {row} {short} train_dataloader.batch_size=6',
    ):
        done = subprocess.run(
            [sys.executable, '-m', 'rsrefseg2.cli', *command.split()],
            cwd=away,
            env={**os.environ, 'PYTHONPATH': str(tmp_path / 'site')},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert list((away / 'out').glob('*_mask.png'))
    assert (away / 'work_dirs/ablations/tiny/t10_neither/seed0/scores.json').is_file()
