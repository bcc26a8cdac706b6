"""Model selection for transcription."""

import pytest

from musetalk_core.errors import ModelNotInstalled
from musetalk_core.transcription.model_choice import choose, model_name

STARTER = {"whisper-tiny.en"}


@pytest.mark.parametrize(
    ("installed", "size"),
    [
        ({"whisper-large-v3", "whisper-medium", "whisper-base", "whisper-tiny.en"}, "medium"),
        ({"whisper-large-v3", "whisper-small", "whisper-tiny"}, "small"),
        ({"whisper-base", "whisper-tiny.en"}, "base"),
        ({"whisper-tiny", "whisper-tiny.en"}, "tiny"),
        (STARTER, "tiny.en"),
    ],
)
def test_nothing_named_is_the_largest_up_to_medium(installed, size):
    choice = choose(None, "transcribe", "", installed, fallback=False)

    assert (choice.size, choice.instead_of) == (size, None)


def test_a_named_model_is_taken_when_it_is_there():
    assert choose("large", "translate", "de", {"whisper-large-v3"}, fallback=False).size == "large"
    assert model_name("large") == "whisper-large-v3"


def test_a_named_model_that_is_missing_is_refused_with_the_command():
    with pytest.raises(ModelNotInstalled, match=r"medium is not installed.*weights pull whisper-medium"):
        choose("medium", "transcribe", "", STARTER, fallback=False)


def test_another_may_stand_in():
    choice = choose("medium", "transcribe", "English", STARTER, fallback=True)

    assert (choice.size, choice.instead_of) == ("tiny.en", "medium")


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("asked", [None, "medium", "tiny.en"])
@pytest.mark.parametrize(("task", "language"), [("translate", ""), ("translate", "en"), ("transcribe", "de")])
def test_an_english_model_neither_translates_nor_knows_other_languages(task, language, asked, fallback):
    with pytest.raises(ModelNotInstalled):
        choose(asked, task, language, STARTER, fallback=fallback)


def test_nothing_installed_is_told():
    with pytest.raises(ModelNotInstalled, match="No model that transcribes is installed"):
        choose(None, "transcribe", "", {"whisper-large-v2"}, fallback=False)
