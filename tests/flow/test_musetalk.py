"""The neural engine through real flows, with stand-in weights: it makes noise, but in the right place."""

import shutil
import subprocess
import wave
from itertools import product

import av
import numpy as np
import pytest

from flows.lip_sync import lip_sync
from flows.media import model_selection
from flows.portrait import portrait
from flows.schemas.musetalk import MuseTalkOptions
from flows.schemas.video import LipSyncJob, PortraitJob
from musetalk_core.avatar import prepare
from musetalk_core.content_credentials.reading import verify_file
from musetalk_core.errors import InputError, ModelNotInstalled
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from musetalk_core.runtime.model_cache import model_cache
from tasks.catalog.stored_results import find_pinned
from tasks.content_credentials.signing_keys import trust_anchors
from tasks.models.engines import runtime_config
from tasks.models.install import pin
from tasks.settings import get_settings
from tasks.storage.home_store import home_store

FRAMES = 10

pytestmark = pytest.mark.usefixtures("shared_cache")


def uri(path):
    return f"file://{path}"


@pytest.fixture
def short_speech(speech_file):
    return cut(speech_file, FRAMES / 25)


def cut(path, seconds):
    target = path.with_name(f"short_{path.name}")
    with wave.open(str(path)) as source, wave.open(str(target), "w") as out:
        out.setparams(source.getparams())
        out.writeframes(source.readframes(int(seconds * source.getframerate())))
    return target


def pictures(reference, folder):
    """(T, H, W, 3) uint8 BGR of a result."""
    target = folder / "result.mp4"
    home_store().download("outputs/" + reference.uri.split("/outputs/", 1)[1], reference.version, target)
    with av.open(str(target)) as container:
        return np.stack([frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)])


QUICK = [("v15", "raw"), ("v15", "jaw"), ("v1", "jaw")]
ALL = list(product(("v15", "v1"), ("raw", "neck", "jaw")))


@pytest.mark.parametrize("looks", [QUICK, pytest.param(ALL, marks=pytest.mark.slow)], ids=["some", "all"])
def test_both_versions_and_all_masks_replace_the_mouth_and_nothing_else(
    home, musetalk, short_clip, short_speech, monkeypatch, looks
):
    if looks is ALL:  # a cache without what the quick test has rendered
        monkeypatch.delenv("MUSETALK_STORE__CACHE_FOLDER")
        get_settings.cache_clear()
    prepared = []
    real = prepare.prepare_avatar
    monkeypatch.setattr(prepare, "prepare_avatar", lambda *a, **k: prepared.append(1) or real(*a, **k))
    with av.open(str(short_clip)) as container:
        forwards = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    source = np.stack([*forwards, *reversed(forwards)])[:FRAMES]

    changed = {}
    for version, mode in looks:
        is_rendered = version not in {known for known, _ in changed}
        options = MuseTalkOptions(mask_mode=mode)
        job = LipSyncJob(video=uri(short_clip), audio=uri(short_speech), version=version, musetalk=options)
        result = lip_sync(job)
        assert (result.engine, result.version, result.frames) == ("musetalk", version, FRAMES)
        assert (result.rendering is not None) == ("render" not in result.cached) == is_rendered
        assert result.rendering is None or result.rendering.device == "cpu:float32"
        assert result.rendering is None or result.rendering.batch_size == 4
        difference = np.abs(pictures(result.video, home).astype(int) - source).max(axis=-1) > 60
        changed[version, mode] = difference.any(axis=0)
        assert not difference[:, :60].any(), "the hair is no mouth"

    assert all(spot.sum() > 300 for spot in changed.values())
    assert (changed["v15", "raw"] != changed["v15", "jaw"]).any()
    assert (changed["v15", "jaw"] != changed["v1", "jaw"]).any()
    assert len(prepared) == 2, "masks and weights of the same geometry share an avatar"


def test_networks_are_loaded_once_for_many_jobs(home, musetalk, short_clip, speech_file):
    settings = runtime_config()
    loads = model_cache(settings.memory_bytes, settings.idle_s).loads
    for seconds in (0.3, 0.4):
        lip_sync(LipSyncJob(video=uri(short_clip), audio=uri(cut(speech_file, seconds))))

    weights = {model.digest for model in pin("musetalk-v15", "sd-vae", "whisper-tiny", "face-parse")}
    mine = {key: count for key, count in loads.items() if key.digest in weights}
    assert {key.name for key in mine} >= {"musetalk-v15", "sd-vae", "whisper-tiny", "face-parse"}
    assert set(mine.values()) == {1}


def test_a_still_blinks_with_a_neural_mouth(home, musetalk, portrait_file, short_speech):
    result = portrait(PortraitJob(image=uri(portrait_file), audio=uri(short_speech)))

    assert (result.engine, result.frames) == ("musetalk", FRAMES)


def test_a_neural_mouth_is_measured_at_the_border_of_its_mask(home, musetalk, short_clip, short_speech):
    result = lip_sync(LipSyncJob(video=uri(short_clip), audio=uri(short_speech), quality="card"))
    card = result.quality

    assert (card.speech, card.frames) == ("silence", FRAMES), "0.4 s are too short to be speech"
    assert {"seam", "colour", "outside"} <= set(card.figures) and "rounding" not in card.figures


def test_its_output_is_signed_and_names_its_models(home, musetalk, short_clip, short_speech):
    result = lip_sync(LipSyncJob(video=uri(short_clip), audio=uri(short_speech)))
    path = find_pinned(result.video).path
    found = verify_file(path, "video/mp4", anchors=trust_anchors())

    assert (found.state, result.provenance.manifest) == ("valid", "embedded"), found.problems
    assert found.manifest.source_types == ("compositeWithTrainedAlgorithmicMedia",)
    models = {model["name"]: model["digest"] for model in found.manifest.facts["models"]}
    assert {"musetalk-v15", "sd-vae", "whisper-tiny", "face-parse"} <= set(models)
    assert all(models.values()) and found.manifest.facts["engine"] == "musetalk"
    assert result.provenance.mark is not None

    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    changed = home / "changed.mp4"
    changed.write_bytes(content)
    assert verify_file(changed, "video/mp4", anchors=trust_anchors()).state == "altered"


def test_the_same_job_again_is_cached_and_other_options_are_not(
    home, musetalk, short_clip, short_speech, monkeypatch
):
    monkeypatch.delenv("MUSETALK_STORE__CACHE_FOLDER")  # an empty cache, not the shared one
    get_settings.cache_clear()
    job = LipSyncJob(video=uri(short_clip), audio=uri(short_speech))
    lip_sync(job)
    again = lip_sync(job)
    wider = lip_sync(job.model_copy(update={"musetalk": MuseTalkOptions(left_cheek_width=60)}))
    other = lip_sync(job.model_copy(update={"musetalk": MuseTalkOptions(extra_margin=0)}))

    assert again.cached == ["prepare", "features", "sound", "join", "sign"]
    assert again.rendering is None
    assert wider.cached == ["prepare", "features", "sound", "render"], "the crops are in the cache"
    assert "prepare" not in other.cached


def test_a_missing_restoration_is_refused_or_replaced_and_crops_are_reused(
    home, musetalk, short_clip, short_speech, monkeypatch
):
    monkeypatch.delenv("MUSETALK_STORE__CACHE_FOLDER")  # an empty cache, not the shared one
    get_settings.cache_clear()
    job = LipSyncJob(video=uri(short_clip), audio=uri(short_speech))
    lip_sync(job)
    wanted = job.model_copy(update={"musetalk": MuseTalkOptions(restore="gfpgan")})
    with pytest.raises(ModelNotInstalled, match="weights pull gfpgan"):
        lip_sync(wanted)
    with pytest.raises(ModelNotInstalled, match="fallback: true"):
        model_selection.check_engine(wanted)
    substituted = lip_sync(wanted.model_copy(update={"fallback": True}))
    assert (substituted.engine, "render" in substituted.cached) == ("musetalk", True)
    assert "detail was used" in substituted.warnings[0] and "model_substituted" in substituted.warnings[0]


def test_without_weights_auto_is_viseme_and_a_named_engine_says_how_to_get_them(
    home, short_clip, short_speech, monkeypatch
):
    monkeypatch.setenv("MUSETALK_WEIGHTS__FOLDER", str(home / "nothing"))
    get_settings.cache_clear()

    job = LipSyncJob(video=uri(short_clip), audio=uri(short_speech))
    assert lip_sync(job).engine == "viseme"
    with pytest.raises(ModelNotInstalled, match="musetalk weights pull musetalk") as caught:
        lip_sync(job.model_copy(update={"engine": "musetalk"}))
    assert caught.value.code == "model_not_installed"
    substituted = lip_sync(job.model_copy(update={"engine": "musetalk", "fallback": True}))
    assert substituted.engine == "viseme" and "model_substituted" in substituted.warnings[0]


def test_v1_without_its_weights_names_them(home, musetalk, short_clip, short_speech, tmp_path, monkeypatch):
    folder = tmp_path / "only15"
    shutil.copytree(musetalk, folder, ignore=shutil.ignore_patterns("musetalk"))
    monkeypatch.setenv("MUSETALK_WEIGHTS__FOLDER", str(folder))
    get_settings.cache_clear()
    job = LipSyncJob(video=uri(short_clip), audio=uri(short_speech), engine="musetalk", version="v1")
    with pytest.raises(ModelNotInstalled, match="musetalk-v1"):
        lip_sync(job)


@pytest.mark.parametrize(
    ("version", "options"), [("v15", MuseTalkOptions(bbox_shift=5)), ("v1", MuseTalkOptions(extra_margin=5))]
)
def test_what_belongs_to_the_other_version_is_refused_before_any_work(
    home, musetalk, short_clip, short_speech, version, options
):
    job = LipSyncJob(video=uri(short_clip), audio=uri(short_speech), version=version, musetalk=options)
    with pytest.raises(InputError, match="belongs to MuseTalk"):
        lip_sync(job)


@pytest.mark.parametrize("version", ["v15", pytest.param("v1", marks=pytest.mark.slow)])
def test_a_real_clip_and_a_real_voice(home, musetalk, samples, version):
    ffmpeg = str(find_ffmpeg())
    clip, voice = home / "sun.mp4", home / "eng.wav"
    for source, target in ((samples / "sun.mp4", clip), (samples / "eng.wav", voice)):
        subprocess.run([ffmpeg, "-v", "error", "-t", "0.4", "-i", source, target], check=True)

    result = lip_sync(LipSyncJob(video=uri(clip), audio=uri(voice), version=version))

    assert (result.engine, result.version) == ("musetalk", version)
    assert result.faces.with_face == result.faces.frames
    assert len(pictures(result.video, home)) == result.frames
