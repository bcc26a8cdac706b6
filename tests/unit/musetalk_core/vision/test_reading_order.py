"""Lines of text are read from the top of the page, wherever that is."""

import math
import random

import pytest

from musetalk_core.types import Box
from musetalk_core.vision.findings import TextLine
from musetalk_core.vision.reading_order import sort_by_reading_order


def line(text, x, y, width, height=20, angle=0.0):
    """A line at a place of the upright page, on a page that was turned clockwise by some degrees."""
    turn, box = math.radians(angle), ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
    corners = tuple(
        (
            round(500 + (a - 500) * math.cos(turn) - (b - 500) * math.sin(turn)),
            round(500 + (a - 500) * math.sin(turn) + (b - 500) * math.cos(turn)),
        )
        for a, b in box
    )
    xs, ys = zip(*corners, strict=True)
    return TextLine(text, Box(min(xs), min(ys), max(xs), max(ys)), corners, 1.0)


def page(angle):
    return [
        line("title", 100, 50, 500, 40, angle),
        line("left", 100, 120, 200, 20, angle),
        line("right", 400, 124, 200, 20, angle),  # a little lower, in the same row
        line("below", 120, 160, 480, 20, angle),
        line("last", 100, 190, 60, 20, angle),
    ]


@pytest.mark.parametrize("angle", [0, 3, -7, 90, 87, 180, 200, 270])
@pytest.mark.parametrize("seed", range(3))
def test_the_order_is_that_of_the_page(angle, seed):
    lines = page(angle)
    mixed = random.Random(seed).sample(lines, len(lines))

    assert [one.text for one in sort_by_reading_order(mixed)] == [one.text for one in lines]


def test_a_word_in_the_margin_turns_nothing():
    lines = [*page(0), line("margin", 450, -460, 60, 20, 90)]

    found = [one.text for one in sort_by_reading_order(lines)]

    assert [text for text in found if text != "margin"] == [one.text for one in page(0)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_little_and_opposite_texts_are_no_trouble(count):
    lines = [line("a", 0, 0, 100), line("b", 0, 0, 100, angle=180)][:count]

    assert {one.text for one in sort_by_reading_order(lines)} == {one.text for one in lines}
