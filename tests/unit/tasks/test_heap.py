"""A job's process: what it had loaded is no business of the collector's meanwhile."""

import gc

import pytest

from tasks.heap import settled_heap


@pytest.fixture(autouse=True)
def as_it_was():
    gc.unfreeze()
    yield
    gc.freeze()


def test_what_was_there_is_left_alone_as_long_as_the_body_runs():
    before = {"here": []}
    before["here"].append(before)

    with pytest.raises(ZeroDivisionError), settled_heap():
        assert gc.get_freeze_count() > 1000
        assert all(one is not before for one in gc.get_objects())
        raise ZeroDivisionError

    assert gc.get_freeze_count() == 0
    assert any(one is before for one in gc.get_objects())


def test_garbage_of_the_body_is_collected_in_it():
    with settled_heap():
        gc.collect()
        mine = []
        mine.append(mine)
        del mine
        assert gc.collect() >= 1


def test_a_process_that_has_settled_stays_so():
    gc.freeze()

    with settled_heap():
        pass

    assert gc.get_freeze_count() > 1000
