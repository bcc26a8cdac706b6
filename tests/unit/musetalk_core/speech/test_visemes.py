"""Names of phones and the mouth shapes they stand for."""

import pytest

from musetalk_core.speech.visemes import BILABIALS, SILENCE, letter_to_arpabet, to_arpabet, visemes_of

VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
PLAIN = list("BDFGKLMNPRSTVWYZ")
ENGLISH = [*VOWELS, *PLAIN, "CH", "DH", "HH", "JH", "NG", "SH", "TH", "ZH"]


@pytest.mark.parametrize("name", ENGLISH)
def test_every_english_phone_has_a_shape_with_and_without_stress(name):
    assert to_arpabet(name) == name
    assert to_arpabet(name + "1") == name
    assert visemes_of(name) != visemes_of(SILENCE)


@pytest.mark.parametrize("name", ["", "SIL", "+SPN+", "?", "\u02c8"])
def test_everything_else_is_silence(name):
    assert to_arpabet(name) == SILENCE


def test_w_and_y_are_consonants_as_phones_but_diphthongs_as_letters_of_the_voice():
    assert (to_arpabet("W"), to_arpabet("Y")) == ("W", "Y")
    assert (letter_to_arpabet("W"), letter_to_arpabet("Y")) == ("AW", "OY")
    assert (letter_to_arpabet("w"), letter_to_arpabet("j")) == ("W", "Y")


def test_stress_marks_and_spaces_are_no_sounds():
    assert [letter_to_arpabet(mark) for mark in "\u02c8\u02cc ,."] == [None] * 5


def test_only_lips_that_meet_close_the_mouth():
    assert {name for name in ENGLISH if visemes_of(name)[0].closure == 1} == BILABIALS


def test_a_diphthong_moves_from_one_vowel_to_another():
    assert visemes_of("AW") == (*visemes_of("AA"), *visemes_of("UH"))
