"""The table of docs/presence.md from runs' dumps, its numbers counted here by hand."""

import json
import sys

import numpy as np
import pytest

from tests.dumps import SIDE, rle, target, write_dump
from tools.dev import presence

RULES = ('category', 'attribute', 'place', 'relation')
NOTHING = np.zeros((SIDE, SIDE), bool)


def run(folder, missed, n=80):
    """Every second sentence names nothing, of the four rules in turn. A target's presence is 0.9, an
    absent one's 0.1 but 0.8 for the first `missed` relations; every fifth mask is right, then half."""
    folder.mkdir()
    relations = [i for i in range(n) if i % 8 == 7]

    def absent(i):
        return i % 2 == 1

    for name in ('val', 'test'):
        made = missed if name == 'test' else 0
        write_dump(
            folder,
            name,
            lambda i: target(i) if i % 5 else np.roll(target(i), 10, axis=1),
            n=n,
            ground_truth=lambda i: rle(NOTHING if absent(i) else target(i)),
            presence=lambda i, made=made: (
                0.9 if not absent(i) or i in relations[:made] else 0.1 + 0.001 * i
            ),
            predicted_iou=lambda i: 0.9 if i % 5 else 0.4,
            mean_probability=lambda i: 0.6 + 0.01 * (i % 30),
            level=lambda i: 'none' if absent(i) else 'attribute',
            rule=lambda i: f'none: {RULES[i // 2 % 4]}' if absent(i) else 'attribute: colour',
        )


def test_the_numbers_of_two_runs(tmp_path, capsys, monkeypatch):
    run(tmp_path / 'a', missed=2)
    run(tmp_path / 'b', missed=4)
    arguments = ['presence.py', str(tmp_path / 'a'), str(tmp_path / 'b')]
    monkeypatch.setattr(sys, 'argv', [*arguments, '--json'])
    presence.main()
    found = json.loads(capsys.readouterr().out)
    for name, missed in (('a', 2), ('b', 4)):
        one = found[name]
        assert one['T-acc'] == one['N-acc, easy: the category is not there'] == 100
        # 10 sentences of each rule
        assert one['N-acc, hard: relation'] == pytest.approx(100 - 10 * missed)
        assert one['N-acc, hard, together'] == pytest.approx(100 - 100 * missed / 30)
        # 32 of 40 masks are exact; the others 20 columns moved by 10: 1/3
        drawn = one['gIoU of sentences with a target: masks as drawn']
        assert drawn == pytest.approx(100 * (32 + 8 / 3) / 40)
        assert one['the same, masks below the threshold emptied'] == pytest.approx(drawn)
        assert 0.18 < one['threshold of presence, from val'] < 0.9
    monkeypatch.setattr(sys, 'argv', arguments)
    presence.main()
    table = capsys.readouterr().out.splitlines()
    # 80 and 60: mean 70, standard deviation sqrt(200)
    assert '| N-acc, hard: relation | 70.0 ± 14.1 | 80.0 | 60.0 |' in table


def test_without_level_none_it_says_so(tmp_path, monkeypatch, capsys):
    run(tmp_path / 'a', missed=0)
    path = tmp_path / 'a/test.jsonl'
    path.write_text(path.read_text().replace('"none: ', '"other: '))
    monkeypatch.setattr(sys, 'argv', ['presence.py', str(tmp_path / 'a')])
    with pytest.raises(SystemExit):
        presence.main()
    assert 'there is no level none in it' in capsys.readouterr().err
