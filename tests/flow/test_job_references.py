"""`job://`: what one job made is what another takes in, the file that stands for it or any by its name."""

from uuid import uuid4

import pytest

from flows.analyze import analyze
from flows.schemas.analyze import AnalyzeJob
from flows.schemas.speech import SpeechJob
from flows.speech import speech
from musetalk_core.errors import InputError
from tasks.errors import ObjectMissing
from tasks.inputs.job_outputs import resolve_input
from tasks.inputs.sources import fetch_source
from tasks.storage.home_store import home_store


def ran(flow, job):
    """The id of a finished job, and its result."""
    state = flow(job, return_state=True)
    return state.state_details.flow_run_id, state.result()


def test_the_picture_of_an_analysis_is_looked_at_again(home, portrait_file):
    first, seen = ran(analyze, AnalyzeJob(image=f"file://{portrait_file}", features=["faces"]))
    found = resolve_input(f"job://{first}")
    assert home_store().uri(found.location.key) == seen.picture.uri and found.speech is None
    _, again = ran(analyze, AnalyzeJob(image=f"job://{first}", features=["faces"]))
    assert len(again.faces) == len(seen.faces) == 1


def test_a_speech_and_its_sounds_times_by_either_name(home):
    job, spoken = ran(speech, SpeechJob(text="Good morning."))
    for uri in (f"job://{job}", f"job://{job}/{spoken.name}"):
        found = resolve_input(uri)
        assert (home_store().uri(found.location.key), found.speech) == (spoken.audio.uri, spoken.speech.key)
        assert fetch_source(found.location, kind="audio").size == spoken.audio.size


def test_what_is_not_there(home):
    job, _ = ran(speech, SpeechJob(text="Good morning."))
    for uri in (f"job://{job}/other.wav", f"job://{uuid4()}", f"job://{uuid4()}/x.mp4"):
        with pytest.raises(ObjectMissing):
            resolve_input(uri)
    with pytest.raises(InputError, match="UUID"):
        resolve_input("job://seventeen")
