"""Text to speech to portrait and back to text: what went in comes out."""

import pytest

from flows.portrait import portrait
from flows.schemas.video import PortraitJob
from tasks.storage.home_store import home_store

SENTENCES = (
    "The morning train was late again, so we walked along the river.",
    "She keeps three old clocks in the kitchen, and none of them agree.",
    "Please leave the blue box by the door before you go home.",
    "A cold wind came down from the hills in the early evening.",
    "They spoke about music for an hour and forgot the time.",
)


@pytest.mark.parametrize("count", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_what_a_portrait_was_given_to_say_is_heard_in_its_video(home, portrait_file, count):
    transcribe = pytest.importorskip("flows.transcribe")
    from word_errors import word_error_rate

    from flows import schemas

    heard, said = [], SENTENCES[:count]
    for number, text in enumerate(said):
        made = portrait(PortraitJob(image=f"file://{portrait_file}", text=text, framing={"max_width": 160}))
        video = home / f"{number}.mp4"
        key = "outputs/" + made.video.uri.split("/outputs/", 1)[1]
        home_store().download(key, made.video.version, video)
        heard.append(transcribe.transcribe(schemas.TranscribeJob(audio=f"file://{video}")).text)

    assert word_error_rate(zip(said, heard, strict=True)) <= 0.05
