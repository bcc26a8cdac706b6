"""The speech flow."""

import pytest

from flows.schemas import Output, SpeechJob
from flows.speech import speech


@pytest.mark.parametrize(
    ("given", "name"), [(None, "speech.wav"), ("greeting", "greeting.wav"), ("greeting.wav", "greeting.wav")]
)
def test_a_name_is_taken_with_and_without_its_ending(home, given, name):
    result = speech(SpeechJob(text="Hello.", output=Output(name=given)))

    assert result.name == name
    assert result.audio.uri.endswith(f"/{name}")
