"""Composed sentences say what was seen, and no more."""

from musetalk_core.types import Box
from musetalk_core.vision.findings import DetectedObject, Tag, TextLine
from musetalk_core.vision.template_caption import compose_description, unanswered_text

FACE = DetectedObject("face", Box(10, 10, 40, 40), 0.99)


def line(text):
    return TextLine(text, Box(0, 0, 10, 10), ((0, 0), (10, 0), (10, 10), (0, 10)), 0.9)


def test_nothing_found_is_said():
    text = compose_description((300, 200), [], [], [], "normal")

    assert text == (
        "A picture of 300 x 200 pixels with no faces and no lines of text."
        " No ImageNet class matched with confidence above 0.25."
    )


def test_what_was_found_is_counted_and_quoted():
    text = compose_description(
        (300, 200), [Tag("espresso", 0.9)], [FACE], [line("Open"), line("today")], "normal"
    )

    assert "one face and two lines of text" in text
    assert "As a whole it looks like: espresso (90%)." in text
    assert "“Open / today”" in text


def test_a_doubtful_likeness_is_called_one_and_a_guess_is_left_out():
    doubtful, guess = Tag("tabby", 0.3), Tag("bobsled", 0.1)

    text = compose_description((300, 200), [doubtful, guess], [], [], "normal")

    assert "may look like: tabby (30%)." in text and "bobsled" not in text


def test_length_decides_how_much_is_quoted_and_whether_places_are_told():
    words = line("word " * 100)

    short, normal, long = (
        compose_description((300, 200), [], [FACE], [words], length) for length in ("short", "normal", "long")
    )

    assert len(short) < len(normal) < len(long)
    assert "top left" in long and "top left" not in normal
    assert short.endswith(" …”") and long.endswith("word ”")


def test_many_are_counted_in_figures():
    assert "with 12 faces" in compose_description((300, 200), [], [FACE] * 12, [], "short")


def test_a_question_that_nobody_answered_is_called_so():
    assert unanswered_text("A picture.").startswith("The question was not answered")
