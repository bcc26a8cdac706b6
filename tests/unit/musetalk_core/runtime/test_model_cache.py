"""Networks are loaded once, cached while they fit, and unloaded when idle."""

import threading
import time

import pytest
import torch
from torch import nn

from musetalk_core.runtime.model_cache import ModelCache, parameter_bytes


def net(kilobytes):
    return nn.Linear(256 * kilobytes, 1, bias=False)


def test_a_network_is_loaded_once_whoever_asks():
    shelf, made = ModelCache(), []

    def load():
        time.sleep(0.05)
        made.append(net(1))
        return made[-1]

    threads = [threading.Thread(target=lambda: shelf.get("unet", load)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    assert shelf.loads["unet"] == 1


def test_the_longest_unused_goes_first():
    shelf = ModelCache(budget_bytes=10 * 1024)
    for name in ("a", "b"):
        shelf.get(name, lambda: net(4))
    shelf.get("a", lambda: pytest.fail("it is there"))

    shelf.get("c", lambda: net(4))

    assert shelf.keys == ("a", "c")
    assert shelf.bytes == 8 * 1024


def test_one_that_is_larger_than_the_budget_is_kept_alone():
    shelf = ModelCache(budget_bytes=1024)
    shelf.get("small", lambda: net(1))

    large = shelf.get("large", lambda: net(8))

    assert shelf.keys == ("large",)
    assert shelf.get("large", lambda: pytest.fail("it is there")) is large


def test_what_fails_to_load_is_tried_again():
    shelf = ModelCache()
    with pytest.raises(OSError, match="gone"):
        shelf.get("unet", lambda: (_ for _ in ()).throw(OSError("gone")))

    assert isinstance(shelf.get("unet", lambda: net(1)), nn.Linear)


def test_idle_networks_are_let_go():
    shelf = ModelCache(idle_s=0.2)
    shelf.get("unet", lambda: net(1))
    shelf.get("vae", lambda: net(1))
    until = time.monotonic() + 10

    while shelf.keys and time.monotonic() < until:
        time.sleep(0.05)

    assert shelf.keys == ()
    shelf.get("unet", lambda: net(1))
    assert shelf.loads["unet"] == 2


def test_shared_tensors_are_counted_once_and_wrappers_are_looked_into():
    class Wrapper:
        def __init__(self):
            self.first = nn.Linear(8, 8, bias=False)
            self.second = nn.Linear(8, 8, bias=False)
            self.second.weight = self.first.weight

    assert parameter_bytes(Wrapper()) == 256
    assert parameter_bytes(nn.BatchNorm1d(2)) == 4 * 2 * 4 + torch.zeros((), dtype=torch.int64).nbytes
