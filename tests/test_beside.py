"""The next one is read, and the last one scored, while the caller works."""

import threading

import pytest

from rsrefseg2.beside import WorkBehind, read_ahead

SECONDS = 30  # that a test waits for what must happen


def test_one_is_read_ahead_in_order_and_no_more():
    begun, caller = [], threading.get_ident()
    second = threading.Event()

    def read(k):
        begun.append(k)
        assert threading.get_ident() != caller
        if k == 1:
            second.set()
        return 10 * k

    found = read_ahead(read, range(5))
    assert next(found) == 0
    assert second.wait(SECONDS)  # without being asked for
    assert begun == [0, 1]
    assert list(found) == [10, 20, 30, 40]


@pytest.mark.parametrize('items', [[], [7]])
def test_none_and_one(items):
    assert list(read_ahead(str, items)) == [str(k) for k in items]


def test_an_error_comes_at_its_turn():
    found = read_ahead(lambda k: 1 / k, [1, 0, 2])
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_work_goes_on_behind_the_caller_in_order():
    done, may = [], threading.Event()

    def work(k, *, base):
        assert may.wait(SECONDS)
        done.append(base + k)

    behind = WorkBehind(work)
    behind(1, base=10)
    assert not done  # the caller is back, the work is not done
    may.set()
    for k in range(2, 6):
        behind(k, base=10)
        assert done[: k - 1] == list(range(11, 10 + k))
    behind.wait()
    assert done == [11, 12, 13, 14, 15]


def test_what_it_raises_is_raised_once_by_the_next_call():
    behind = WorkBehind(lambda k: 1 / k)
    behind(0)
    with pytest.raises(ZeroDivisionError):
        behind(1)
    behind(0)
    with pytest.raises(ZeroDivisionError):
        behind.wait()
    behind.wait()
