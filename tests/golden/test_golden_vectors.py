"""The committed vectors are the full ones less bulk; the recipe still gives the weights behind them."""

import json

import numpy as np
import pytest
from golden_data import COMMITTED, golden_sets, load, script, weights

FILES = script("prune").FILES


def test_the_committed_vectors_stay_small():
    assert sum(path.stat().st_size for path in COMMITTED.iterdir() if path.is_file()) < 5_000_000


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("folder", golden_sets())
def test_pruning_gives_what_is_committed(folder, name):
    pruned, committed = script("prune").prune(name, load(folder, name)), load(COMMITTED, name)

    assert pruned.keys() == committed.keys()
    for key, array in pruned.items():
        assert array.dtype == committed[key].dtype
        np.testing.assert_array_equal(array, committed[key], err_msg=key)


@pytest.mark.parametrize("net", weights.NETS)
def test_the_stand_in_weights_are_those_of_the_vectors(net):
    expected = json.loads((COMMITTED / "checksums.json").read_text())[weights.DEFAULT_SET]

    assert weights.checksum(net) == expected[net]
