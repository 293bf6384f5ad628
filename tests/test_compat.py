"""Work-arounds for dependencies that no other test shows at work."""

import threading

import pytest
from mmengine.utils import ManagerMixin

import rsrefseg2.engine  # noqa: F401  # puts them in place


class Fragile(ManagerMixin):
    """An instance by name, as mmengine's loggers and scopes are."""

    def __init__(self, name, fail=False):
        super().__init__(name)
        if fail:
            raise OSError('no space left')


@pytest.mark.parametrize('nested', [False, True])
def test_a_manager_that_fails_does_not_lock_out_other_threads(nested):
    class Outer(ManagerMixin):
        def __init__(self, name):
            super().__init__(name)
            Fragile.get_instance('a', fail=True)

    with pytest.raises(OSError, match='no space left'):
        Outer.get_instance('o') if nested else Fragile.get_instance('a', fail=True)
    with pytest.raises(RuntimeError, match='get_instance'):
        type('Empty', (ManagerMixin,), {}).get_current_instance()
    found = []
    other = threading.Thread(target=lambda: found.append(Fragile.get_instance('b')), daemon=True)
    other.start()
    other.join(timeout=60)
    assert [instance.instance_name for instance in found] == ['b']
    assert Fragile.get_current_instance() is found[0]
