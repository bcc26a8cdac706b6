"""The batch size is found on the job's own frames and survives the end of memory."""

import weakref

import numpy as np
import pytest
import torch

from musetalk_core.engines.musetalk import batch_size
from musetalk_core.engines.musetalk.batch_size import BatchSize, shared_batch_size
from musetalk_core.errors import EngineOutOfMemory


class Clock:
    """A device whose time per frame is a table by batch size."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds, self.batches = 0.0, seconds, []
        monkeypatch.setattr(batch_size.time, "perf_counter", lambda: self.now)

    def render(self, part):
        count = part.stop - part.start
        self.batches.append(count)
        self.now += self.seconds(count) * count
        return np.arange(part.start, part.stop)


def rendered(batch, render, frames):
    out = []
    while len(out) < frames:
        out.extend(batch.run(len(out), frames - len(out), render))
    return out


def test_it_doubles_while_that_pays_and_then_stays(monkeypatch):
    clock = Clock(monkeypatch, lambda n: 0.01 / min(n, 8))
    batch = BatchSize(32)

    assert rendered(batch, clock.render, 200) == list(range(200))

    assert batch.size == 8
    assert clock.batches[:8] == [1, 1, 2, 2, 4, 4, 8, 8]
    assert clock.batches[8:10] == [16, 16], "one size too many is tried"
    assert set(clock.batches[10:-1]) == {8}


def test_it_stops_at_the_most(monkeypatch):
    clock = Clock(monkeypatch, lambda n: 0.01 / n)
    batch = BatchSize(4)
    rendered(batch, clock.render, 60)

    assert (batch.size, max(clock.batches)) == (4, 4)


def test_a_card_is_given_few_different_sizes():
    batch = BatchSize(24, initial_size=24)

    given = [batch.padded_size(count) for count in range(1, 25)]

    assert set(given) == {1, 2, 4, 8, 16, 24}
    assert all(count <= more < 2 * count or more == count == 1 for count, more in enumerate(given, 1))
    batch.size = 13  # halved
    assert [batch.padded_size(count) for count in (7, 9, 13, 20)] == [8, 13, 13, 20]


def test_a_fixed_size_is_not_measured(monkeypatch):
    clock = Clock(monkeypatch, lambda n: n)
    batch = BatchSize(4, initial_size=4)
    rendered(batch, clock.render, 20)

    assert clock.batches == [4] * 5


def test_sizes_above_32_are_used_and_told(monkeypatch):
    clock = Clock(monkeypatch, lambda n: 0.01 / n)
    batch = BatchSize(128, initial_size=4)
    rendered(batch, clock.render, 2000)

    assert (batch.size, batch.rendered_size, max(clock.batches)) == (128, 128, 128)


def test_a_size_that_was_never_rendered_is_not_told(monkeypatch):
    clock = Clock(monkeypatch, lambda n: 0.01 / n)
    batch = BatchSize(64, initial_size=4)
    assert batch.rendered_size == 0
    rendered(batch, clock.render, 8)  # two batches of four: eight would be next

    assert (batch.size, batch.rendered_size) == (8, 4)


def test_a_batch_takes_about_a_second_at_most(monkeypatch):
    clock = Clock(monkeypatch, lambda n: 0.06 + 0.2 / n)  # larger batches always pay
    batch = BatchSize(64)
    rendered(batch, clock.render, 200)

    assert batch.size == 8
    assert max(clock.seconds(n) * n for n in clock.batches) <= 1


def test_a_process_measures_each_key_once():
    assert shared_batch_size(("cuda", "a"), 64, 4) is shared_batch_size(("cuda", "a"), 64, 4)
    assert shared_batch_size(("cuda", "a"), 64, 4) is not shared_batch_size(("cuda", "b"), 64, 4)
    assert shared_batch_size(("cuda", "a"), 64, 4) is not shared_batch_size(("cuda", "a"), 32, 4)


def failing(limit, error):
    def render(part):
        if part.stop - part.start > limit:
            raise error
        return np.arange(part.start, part.stop)

    return render


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_ends_halves_the_batch_and_loses_no_frame(error):
    batch = BatchSize(32, initial_size=32)

    assert rendered(batch, failing(5, error), 50) == list(range(50))
    assert (batch.size, batch.halvings) == (4, 3)


def test_what_the_failed_call_held_is_free_before_the_device_gives_back(monkeypatch):
    alive, held = [], []

    def render(part):
        if part.stop - part.start > 4:
            batch_of_8 = torch.zeros(8)
            held.append(weakref.ref(batch_of_8))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.arange(part.start, part.stop)

    monkeypatch.setattr(batch_size, "_release_memory", lambda: alive.append(held[-1]() is not None))

    rendered(BatchSize(8, initial_size=8), render, 8)

    assert alive == [False]


def test_no_memory_for_one_frame_is_an_error_of_its_own():
    with pytest.raises(EngineOutOfMemory, match="single frame") as caught:
        BatchSize(8, initial_size=8).run(0, 8, failing(0, torch.OutOfMemoryError("out of memory")))
    assert caught.value.retryable


def test_other_errors_are_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shape"):
        BatchSize(8, initial_size=8).run(0, 8, failing(0, RuntimeError("shape mismatch")))
