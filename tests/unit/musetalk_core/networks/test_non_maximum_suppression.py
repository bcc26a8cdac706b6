"""Of overlapping boxes the best remains."""

import numpy as np

from musetalk_core.networks.s3fd import suppress_overlaps


def plainly(boxes, overlap=0.3):
    """The rule box by box."""
    kept = []
    for one in sorted(boxes.tolist(), key=lambda row: -row[4]):
        for best in kept:
            width = max(0, min(one[2], best[2]) - max(one[0], best[0]) + 1)
            height = max(0, min(one[3], best[3]) - max(one[1], best[1]) + 1)
            areas = [(row[2] - row[0] + 1) * (row[3] - row[1] + 1) for row in (one, best)]
            if width * height / (sum(areas) - width * height) > overlap:
                break
        else:
            kept.append(one)
    return np.array(kept, np.float32)


def boxes(seed, count=200):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 100, (count, 2)), rng.uniform(5, 60, (count, 2))
    return np.hstack((corner, corner + size, rng.uniform(0.05, 1, (count, 1)))).astype(np.float32)


def test_it_is_the_rule_applied_box_by_box():
    for seed in range(5):
        np.testing.assert_array_equal(suppress_overlaps(boxes(seed)), plainly(boxes(seed)))


def test_a_score_limit_gives_the_same_before_and_after():
    for seed in range(5):
        every = boxes(seed)
        after = suppress_overlaps(every)

        np.testing.assert_array_equal(suppress_overlaps(every[every[:, 4] > 0.5]), after[after[:, 4] > 0.5])


def test_nothing_remains_of_nothing():
    assert suppress_overlaps(np.empty((0, 5), np.float32)).shape == (0, 5)
