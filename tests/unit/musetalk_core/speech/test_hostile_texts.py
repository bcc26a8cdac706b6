"""Texts of 100,000 characters, as jobs may hold, are converted in bounded time and without foreign errors."""

import time

import pytest

from musetalk_core.speech.alignment.g2p import pronounce_words
from musetalk_core.speech.tts.csm.model import _strip_special_tokens
from musetalk_core.speech.tts.sentence_splitter import split_sentences

LONGEST = 100_000


def seconds(function, text):
    began = time.thread_time()
    function(text)
    return time.thread_time() - began


@pytest.mark.parametrize("unit", [".", "?!", '."', '"', "a. ", "A. ", "e.g. ", "! ", "\n ", ",", "a", "。"])
def test_sentences_are_split_in_linear_time(unit):
    assert seconds(lambda text: split_sentences(text, 300), (unit * LONGEST)[:LONGEST] + "x") < 2


@pytest.mark.parametrize("unit", ["<|", "|>", "<", "|", "<|>", "<|a"])
def test_tokens_are_removed_in_linear_time(unit):
    assert seconds(_strip_special_tokens, (unit * LONGEST)[:LONGEST]) < 1


@pytest.mark.parametrize("unit", ["1-", "1/", "$1", "%", "a@", "1e", "&", "a-b", "1,", "'"])
def test_words_of_symbols_take_as_long_as_others(unit):
    pronounce_words("warm")
    assert seconds(pronounce_words, (unit * 500)[:500]) < 2


@pytest.mark.parametrize(
    "number", ["9" * 37, "9" * 5000, "1" + ",000" * 13, "\u0663" * 40, "$" + "9" * 40, "-" + "9" * 40]
)
def test_numbers_without_a_name_are_spelled(number):
    words = [word.text for word in pronounce_words(f"Take {number} now.")]

    assert (words[0], words[-1]) == ("take", "now")


def test_ordinary_texts_are_not_changed():
    assert [word.text for word in pronounce_words("It cost $1,234,567.89 in 1999.")][:2] == ["it", "cost"]
    assert split_sentences("Dr. Smith paid 3.5 pounds... then left! He (J. S.) went.", 300) == [
        "Dr. Smith paid 3.5 pounds... then left!",
        "He (J. S.) went.",
    ]
