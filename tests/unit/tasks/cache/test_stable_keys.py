"""
Cache keys of fixed inputs, written down once: a release that changes one recomputes what users have stored.

Change a value here only together with CORE_VERSION or the version of the algorithm that the key names.
"""

import importlib
import pkgutil

import pytest
import torch
from prefect.tasks import Task

import tasks
from flows.batches.manifest import work_key
from flows.schemas.video import LipSyncJob
from musetalk_core.model_registry.pins import PinnedFile, PinnedModel
from musetalk_core.rendering.chunking import Chunk
from musetalk_core.rendering.portrait_crop import CropOptions
from musetalk_core.runtime import device
from musetalk_core.runtime.device import Device
from tasks.cache.content_keys import content_key
from tasks.models import environment
from tasks.models.engines import EngineSpec
from tasks.models.voices import VoiceSpec
from tasks.refs import Artefact, SourceFile
from tasks.steps import analyze_image, transcribe
from tasks.steps import speech_features as speech_features_step
from tasks.steps.analyze_image import AnalysisStep, Annotation, analysis_step_key, annotations_key
from tasks.steps.captions import CaptionStyle as CaptionLook
from tasks.steps.captions import captioned_key
from tasks.steps.encode_video import clip_key, video_key
from tasks.steps.portrait_crop import framed_key
from tasks.steps.prepare_avatar import PreparedAvatar, avatar_key
from tasks.steps.render_chunk import RenderJob, crops_key
from tasks.steps.speak import Sentence, sentence_key, speech_file_key, text_key
from tasks.steps.speech_features import KnownSpeech, SpeechFeatures, features_key
from tasks.steps.transcribe import TranscriptionRequest, transcript_key

KEYS = {
    "content": "08b81c72b9820029b4a9e82f8c6d5bdc5e98dfd81b29fdaadffe73e53e383b93",
    "avatar": "4ffb5401335f77914ff0b7e99807044f2feebc02ff224ca6b19b065acf7f1ea7",
    "crops": "c2e28793b9a561df2354bb1ffdb8c8cd1f9b25a9b43d72918f98fb2ca68a28ef",
    "clip": "e8732933d17fa3de53b628fb8893c1f74f977ae73087617f44d34896a737209a",
    "video": "be657d35790b1ed9648f56e869087e77ab3810c82dad445d8e0e9e38f6f0b4e7",
    "features": "0970826481a40fc2b534531530d5f6c6a2b63df3c2f13e4e288bf4b19d4274c3",
    "framed": "73886e2035c280cc7a31f8e6fcadfcb874ebd498ce8abb98cde8ed775935d6aa",
    "captioned": "9e538bab2d26cbb9e629e63742def1e7449cdc21961ad771126dd69614f1c570",
    "sentence": "5e18e4c04cc51a5b7b94e8476e32cd0b743ed33653d4cfd4ceb2544d525e8069",
    "text": "76d2fdc2c49c4d8b284c755d1083259b5d0942ae2380031d5b964d193ab0fa82",
    "sound": "d532b30f5197698fe105b23b86994d93a278a4281cd7b87986e9e77426ef9ee7",
    "marks": "b9c962ea49caf00acc1bef512176593c62076ea66cf7f0e0c7f5272903cc1d4a",
    "row": "1a010168f4d5d4bc457ebc64abc4a3cbae835876c5f0a459f81cb4093ace15b4",
    "look": "8adf13f3bcb3c1e4e9b7dfc6fdac8d7d913b73fc5eaece8d37f89edd1a559cca",
    "transcript": "707b4d170867f0d720f065d02686be763532770fc17cd020fac68e1975d350b1",
}
"""Keys of CORE_VERSION 3 and version 4 of the engine viseme."""

TASKS = {
    "draw",
    "encode_chunk",
    "encode_sound",
    "encode_speech",
    "fetch",
    "fetch_captions",
    "fetch_picture",
    "frame_picture",
    "hear",
    "join",
    "join_sentences",
    "look_at",
    "note_avatar",
    "prepare_avatar",
    "put_captions",
    "render_chunk",
    "speak_sentence",
    "speech_features",
    "upload",
    "upload_set",
    "voice_prompt",
}
"""Names of cached and uncached tasks in 0.1.0; a name is part of the key of Prefect's result."""

VISEME = EngineSpec(name="viseme")


def source(digit):
    return SourceFile(
        uri=f"s3://media/{digit}.mp4", name=f"{digit}.mp4", version="1", sha256=digit * 64, size=5
    )


def artefact(kind, digit):
    return Artefact.model_construct(kind=kind, key=digit * 64, files={}, size=1)


def talk():
    avatar = PreparedAvatar.model_construct(artefact=artefact("avatar", "a"))
    features = SpeechFeatures.model_construct(artefact=artefact("features", "b"))
    return RenderJob.model_construct(
        source=source("1"), avatar=avatar, features=features, engine=VISEME, rate="30000/1001",
        no_face="keep", idle_seed=None, crf=18, preset="veryfast",
    )  # fmt: skip


def keys():
    starter = VoiceSpec(engine="starter", seed=1)
    heard = TranscriptionRequest.model_construct(
        size="tiny",
        task="transcribe",
        language=None,
        beam_size=5,
        words=True,
        gate=False,
        weights=(PinnedModel("whisper-tiny", (PinnedFile("weights", "tiny.pt", "9" * 64),)),),
    )
    size = AnalysisStep(what="size")
    return {
        "content": content_key(a=1, b=[1.5, "x", None], c={"d": True}),
        "avatar": avatar_key(source("1"), VISEME, "largest"),
        "crops": crops_key(talk(), Chunk(0, 0, 25)),
        "clip": clip_key("c" * 64, talk()),
        "video": video_key(["d" * 64], source("2")),
        "features": features_key(source("2"), KnownSpeech(text="words"), VISEME, "25"),
        "framed": framed_key(source("1"), CropOptions("head", 512, 512), "largest"),
        "captioned": captioned_key(
            source("1"), source("3"), CaptionLook(how="track", size=5.0, side="bottom", crf=18)
        ),
        "sentence": sentence_key(Sentence.model_construct(text="Hello.", prompt=None, before=()), starter),
        "text": text_key([artefact("sentence", "e")], 250),
        "sound": speech_file_key(artefact("speech", "f"), "mp3"),
        "marks": annotations_key(source("1"), [Annotation(kind="face", name="face 1", box=(1, 2, 3, 4))]),
        "row": work_key("lip_sync", LipSyncJob(video="s3://media/a.mp4", audio="s3://media/b.wav")),
        "look": analysis_step_key(source("1"), size),
        "transcript": transcript_key(source("2"), heard),
    }


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_is_what_it_was(kind, monkeypatch):
    monkeypatch.setattr(transcribe, "computing_environment", lambda *names: list(names))
    monkeypatch.setattr(speech_features_step, "library_versions", lambda *names: list(names))
    assert keys()[kind] == KEYS[kind]


@pytest.mark.parametrize("changed", ["device", "precision", "torch", "openai-whisper"])
def test_transcripts_depend_on_device_precision_and_libraries(changed, monkeypatch):
    pinned = (PinnedModel("whisper-tiny", (PinnedFile("weights", "tiny.pt", "9" * 64),)),)
    request = TranscriptionRequest(
        size="tiny", task="transcribe", language=None, beam_size=5, words=True, gate=False, weights=pinned
    )
    before = transcript_key(source("2"), request)
    change_environment(changed, monkeypatch)

    assert transcript_key(source("2"), request) != before


def test_transcripts_depend_on_the_engine_and_its_version(monkeypatch):
    pinned = (PinnedModel("whisper-tiny", (PinnedFile("weights", "tiny.pt", "9" * 64),)),)
    request = TranscriptionRequest(
        size="tiny", task="transcribe", language=None, beam_size=5, words=True, gate=False, weights=pinned
    )
    reference = transcript_key(source("2"), request)
    other = request.model_copy(update={"engine": "ctranslate2"})
    before = transcript_key(source("2"), other)
    change_environment("ctranslate2", monkeypatch)

    assert len({reference, before, transcript_key(source("2"), other)}) == 3
    assert transcript_key(source("2"), request) == reference, "the reference does not use it"


@pytest.mark.parametrize("changed", ["device", "precision", "torch", "transformers"])
def test_looks_of_a_model_depend_on_device_precision_and_libraries(changed, monkeypatch):
    pinned = PinnedModel("smolvlm-256m", (PinnedFile("weights", "model.safetensors", "9" * 64),))
    look = AnalysisStep(what="describe", by="smolvlm-256m", weights=pinned)
    size = AnalysisStep(what="size")
    before, size_before = analysis_step_key(source("1"), look), analysis_step_key(source("1"), size)
    change_environment(changed, monkeypatch)

    assert analysis_step_key(source("1"), look) != before
    assert analysis_step_key(source("1"), size) == size_before, "a size needs no model"


@pytest.mark.parametrize("changed", ["pocketsphinx", "hibari-tts"])
def test_recognized_phonemes_depend_on_the_packages_that_find_them(changed, monkeypatch):
    def keys_of(known):
        return features_key(source("2"), known, VISEME, "25"), speech_features_step._phones_key(
            source("2"), None
        )

    heard, timed = (
        KnownSpeech(text="words"),
        KnownSpeech.model_construct(timed=artefact("speech", "f"), text=None),
    )
    before, timed_before = keys_of(heard), keys_of(timed)[0]
    change_environment(changed, monkeypatch)

    assert all(new != old for new, old in zip(keys_of(heard), before, strict=True))
    assert keys_of(timed)[0] == timed_before, "phonemes that the voice reports are not recognized"


def test_each_starter_model_names_the_libraries_that_run_it():
    assert set(analyze_image._LIBRARIES) == {"rapidocr", "efficientnet-lite0"}
    for names in analyze_image._LIBRARIES.values():
        assert None not in environment.computing_environment(*names)["libraries"].values()


def change_environment(changed, monkeypatch):
    if changed in ("device", "precision"):
        other = Device(torch.device("cuda" if changed == "device" else "cpu"), torch.float16)
        monkeypatch.setattr(device, "choose_device", lambda *_: other)
    else:
        version = environment._version
        monkeypatch.setattr(environment, "_version", lambda name: "9.9" if name == changed else version(name))


def test_tasks_keep_their_names():
    names = set()
    for module in pkgutil.walk_packages(tasks.__path__, "tasks."):
        values = vars(importlib.import_module(module.name)).values()
        names |= {value.name for value in values if isinstance(value, Task)}

    assert names >= TASKS
