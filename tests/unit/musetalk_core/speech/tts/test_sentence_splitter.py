"""Where a text is cut."""

import pytest

from musetalk_core.speech.tts.sentence_splitter import split_sentences


def test_ends_are_told_from_dots_that_are_none():
    text = (
        'Dr. Smith paid $3.50 at 5 p.m. on Monday. "Stop!" he said. See www.example.org. No. 5 is by'
        " J. R. R. Tolkien, e.g. of the U.S. Army. So did I. Then we left... and came back. Really?! Yes!"
    )

    assert split_sentences(text, 200) == [
        "Dr. Smith paid $3.50 at 5 p.m. on Monday.",
        '"Stop!" he said.',
        "See www.example.org.",
        "No. 5 is by J. R. R. Tolkien, e.g. of the U.S. Army.",
        "So did I.",
        "Then we left... and came back.",
        "Really?!",
        "Yes!",
    ]


def test_an_empty_line_ends_a_sentence_and_a_line_end_does_not():
    assert split_sentences("A headline\n\nIt was\na night.", 100) == ["A headline", "It was a night."]


def test_what_is_too_long_is_cut_at_a_clause_else_between_words_else_anywhere():
    assert split_sentences("We walked along the river, and then we walked home.", 40) == [
        "We walked along the river,",
        "and then we walked home.",
    ]
    assert split_sentences("one two three four five", 12) == ["one two", "three four", "five"]
    assert split_sentences("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


@pytest.mark.parametrize("longest", [20, 60, 125])
def test_nothing_is_lost_and_nothing_is_over_the_limit(longest):
    text = "In 1999, as Mr. Bell said; it rained - and how it rained! " * 40

    pieces = split_sentences(text, longest)

    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert max(map(len, pieces)) <= longest


@pytest.mark.parametrize("text", ["", " \n\n ", "... !?", "\u2014"])
def test_what_holds_no_word_is_nothing(text):
    assert split_sentences(text, 100) == []


def test_one_edit_changes_one_piece():
    text = "The first one is short. The second one is not. The third one ends it."
    before, after = split_sentences(text, 100), split_sentences(text.replace("not", "long"), 100)

    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
