"""Model selection for transcription."""

import pytest

from musetalk_core.errors import InputError, ModelNotInstalled
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
@pytest.mark.parametrize("asked", [None, "medium", "large-v3"])
@pytest.mark.parametrize(
    ("task", "language", "reason"),
    [
        ("translate", "", "Translation requires a multilingual model"),
        ("translate", "en", "Translation requires a multilingual model"),
        ("transcribe", "de", "The language de requires a multilingual model"),
    ],
)
def test_the_reason_comes_first_if_only_an_english_model_is_there(task, language, reason, asked, fallback):
    with pytest.raises(ModelNotInstalled) as caught:
        choose(asked, task, language, STARTER, fallback=fallback)

    said = str(caught.value)
    assert said.startswith(f"{reason}, and {asked or 'none'} is{' not' * bool(asked)} installed. Run: "), said
    assert said.endswith(f"weights pull {model_name(asked or 'base')}")


@pytest.mark.parametrize(("task", "language"), [("translate", ""), ("transcribe", "de")])
def test_an_english_model_named_for_another_language_is_a_wrong_request(task, language):
    """Installing something would not help: the code is that of a wrong field."""
    with pytest.raises(InputError, match=r"requires a multilingual model, and tiny\.en supports") as caught:
        choose("tiny.en", task, language, {*STARTER, "whisper-base"}, fallback=False)
    assert caught.value.code == "invalid_input"

    assert choose("tiny.en", task, language, {*STARTER, "whisper-base"}, fallback=True).size == "base"
    with pytest.raises(ModelNotInstalled, match=r"and none is installed.*weights pull whisper-base"):
        choose("tiny.en", task, language, STARTER, fallback=True)


def test_nothing_installed_is_told():
    with pytest.raises(ModelNotInstalled, match="No model that transcribes is installed"):
        choose(None, "transcribe", "", {"whisper-large-v2"}, fallback=False)
