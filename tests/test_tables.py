"""Tables as text: aligned, without marks beside letters and a rule, and safe to print."""

import pytest

from rsrefseg2.tables import plain_table


def test_numbers_are_aligned_right_and_words_left():
    table = plain_table(
        ('name', 'score', 'count', 'kind'),
        [('a', 1.5, 3, 'near'), ('longer', 100.0, 12000, 'far away'), ('none', None, None, None)],
        title='A title',
    )
    assert table.splitlines() == [
        'A title',
        'name     score  count  kind',
        '-------------------------------',
        'a         1.50      3  near',
        'longer  100.00  12000  far away',
        'none         -      -  -',
    ]


def test_text_of_data_is_neither_markup_nor_control():
    table = plain_table(('head',), [('[bold]a[/bold] :smile:',), ('b\x1b[2J\nc\td\u202e',)])
    assert table.splitlines()[2:] == ['[bold]a[/bold] :smile:', 'b\\x1b[2J c d\\u202e']


def test_wide_letters_keep_the_columns():
    lines = plain_table(('name', 'n'), [('日本', 1), ('abcd', 2)]).splitlines()
    assert lines[2:] == ['日本  1', 'abcd  2']


def test_no_width_of_a_terminal_cuts_or_colours_it(monkeypatch):
    wide = ('x' * 300, 1.0)
    plain = plain_table(('a', 'b'), [wide])
    for name, value in (('COLUMNS', '20'), ('FORCE_COLOR', '1'), ('TERM', 'xterm-256color')):
        monkeypatch.setenv(name, value)
    assert plain_table(('a', 'b'), [wide]) == plain and plain.isascii()
    assert plain.splitlines()[2] == 'x' * 300 + '  1.00'


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError):
        plain_table(('a', 'b'), [(1,)])
