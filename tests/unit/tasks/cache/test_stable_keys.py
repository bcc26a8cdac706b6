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
    "avatar": "f6c14c1914feaf0311c1bb7bd6745b2a21ac2820cf32732d1f89214bb0e3b99a",
    "crops": "716caa437bd37e7c4e16ca114582a06f6a99e779cab20431b858b4432c0b5ad7",
    "clip": "4bbd84dd05c99c475637a8153e7cadff1a5840a6aee0e85dab7c8517cfd07931",
    "video": "e81778d6edb7ebfeedf371e51911b0564668a6bfc22dcd9843d3a4193b53ebe7",
    "features": "b097a1098537d3a6ae813d71e365f99706f6a77472dbc53a110ec58e2e3c8281",
    "framed": "9abbe29a7a98b2842ec52bd111fd878be7c63b2fe09cb17ef0c47bbee50613a9",
    "captioned": "21842cac6881fb144e72631d83d8962096f3dffe117461b2163586c438eb93e2",
    "sentence": "6b12b55c2cdd6b08ee2a00983f040edf86602f06e910b5953f64fe7341ff26bd",
    "text": "992fb6c43d6448e8fd3f3b966c3d624bc90f67e14c7a33ea5418d8b9da9e3d36",
    "sound": "638c8cf19ae60e1d9326939cf1dffbbc9b25344e54e3aaf6e62de6ec97f18a0c",
    "marks": "d7b4fd2e7d6b0d175b639db1b10ac99fbb8f290a62eca5de0c2d6d41af453a10",
    "row": "1a010168f4d5d4bc457ebc64abc4a3cbae835876c5f0a459f81cb4093ace15b4",
    "look": "09f71ea586606fc05a606b62c879cf8be7ac1ead55a91156cc7a76b423fdc097",
    "transcript": "86cee870662c591585b943166cb5d5bbdb9790cc53d2689965330413aee92eed",
}
"""Keys computed by version 0.1.0, except `transcript`: its decoding version was raised to 2."""

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


@pytest.mark.parametrize("changed", ["device", "precision", "torch", "transformers"])
def test_looks_of_a_model_depend_on_device_precision_and_libraries(changed, monkeypatch):
    pinned = PinnedModel("smolvlm-256m", (PinnedFile("weights", "model.safetensors", "9" * 64),))
    look = AnalysisStep(what="describe", by="smolvlm-256m", weights=pinned)
    size = AnalysisStep(what="size")
    before, size_before = analysis_step_key(source("1"), look), analysis_step_key(source("1"), size)
    change_environment(changed, monkeypatch)

    assert analysis_step_key(source("1"), look) != before
    assert analysis_step_key(source("1"), size) == size_before, "a size needs no model"


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
