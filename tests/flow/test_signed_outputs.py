"""Every stored output is signed: its manifest, changes that are found, and failures to sign."""

import hashlib
import json

import pytest
from shown import artifacts_of

from flows.analyze import analyze
from flows.caption import caption
from flows.lip_sync import lip_sync
from flows.portrait import portrait
from flows.schemas.analyze import AnalyzeJob
from flows.schemas.caption import CaptionJob
from flows.schemas.control import Control
from flows.schemas.lineage import LINEAGE_KEY, Lineage
from flows.schemas.speech import SpeechJob
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import LipSyncJob, PortraitJob
from flows.speech import speech
from flows.transcribe import transcribe
from musetalk_core.content_credentials import certificates, isolated
from musetalk_core.content_credentials.claims import Claim
from musetalk_core.content_credentials.reading import verify_file
from musetalk_core.content_credentials.signing import Signer, sign_file
from musetalk_core.errors import SigningFailed, SigningKeyInvalid
from tasks.catalog.stored_results import find_pinned
from tasks.content_credentials import local_authority
from tasks.content_credentials.signing_keys import trust_anchors
from tasks.settings import get_settings
from tasks.steps import sign_outputs
from tasks.storage.media_types import media_type

TEXT = "Good morning."


def ran(flow, job, **more):
    """The id of a finished job, its result and its artifacts."""
    state = flow(job, return_state=True, **more)
    return state.state_details.flow_run_id, state.result(), artifacts_of(state)


def path_of(ref):
    return find_pinned(ref).path


def verified(ref, name, result):
    """The verification of a stored output with the certificates of this installation."""
    sidecar = result.provenance.sidecars.get(f"{name}.c2pa")
    data = path_of(sidecar).read_bytes() if sidecar else None
    return verify_file(path_of(ref), media_type(name), anchors=trust_anchors(), sidecar=data)


def is_altered_by_a_flipped_bit(ref, name, result, folder):
    content = bytearray(path_of(ref).read_bytes())
    content[-9] ^= 1  # the end holds media in every type that is made here
    changed = folder / f"changed-{name}"
    changed.write_bytes(content)
    sidecar = result.provenance.sidecars.get(f"{name}.c2pa")
    data = path_of(sidecar).read_bytes() if sidecar else None
    return verify_file(changed, media_type(name), sidecar=data).state == "altered"


@pytest.fixture
def configure(monkeypatch):
    def set_all(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"MUSETALK_PROVENANCE__{name.upper()}", str(value))
        get_settings.cache_clear()

    return set_all


def test_the_chain_from_a_text_to_a_captioned_video_is_listed(home, short_clip):
    first, said, _ = ran(speech, SpeechJob(text=TEXT))
    second, video, _ = ran(
        lip_sync, LipSyncJob(video=f"file://{short_clip}", audio=f"job://{first}", engine="fake")
    )
    third, heard, _ = ran(
        transcribe, TranscribeJob(audio=f"job://{second}", beam_size=1, word_timestamps=False)
    )
    fourth, captioned, shown = ran(
        caption, CaptionJob(video=f"job://{second}", captions=f"job://{third}/srt", how="track")
    )

    outputs = [
        (said, said.name, said.audio, "embedded"),
        (video, video.name, video.video, "embedded"),
        *((heard, name, ref, "sidecar") for name, ref in heard.files.items()),
        (captioned, captioned.name, captioned.video, "embedded"),
    ]
    for result, name, ref, where in outputs:
        found = verified(ref, name, result)
        assert (found.state, result.provenance.manifest) == ("valid", where), (name, found.problems)
        assert result.provenance.signer == found.manifest.signer
        assert is_altered_by_a_flipped_bit(ref, name, result, home), name
    assert set(heard.provenance.sidecars) == {f"{name}.c2pa" for name in heard.files}

    top = verified(captioned.video, captioned.name, captioned).manifest
    assert (top.facts["job"], top.source_types) == (str(fourth), ("algorithmicallyEnhanced",))
    inputs = {one.title: one for one in top.ingredients}
    assert (inputs["video"].relationship, inputs["captions"].relationship) == ("parentOf", "componentOf")
    assert inputs["video"].manifest.facts["job"] == str(second)
    assert inputs["video"].manifest.source_types == ("compositeWithTrainedAlgorithmicMedia",), (
        "synthetic speech"
    )
    assert inputs["captions"].manifest.facts["job"] == str(third)
    assert inputs["captions"].problems == inputs["video"].problems == ()
    below = {one.title: one for one in inputs["video"].manifest.ingredients}
    assert below["audio"].manifest.facts["job"] == str(first)
    assert below["audio"].manifest.facts["models"][0]["name"] == "hibari"
    assert below["video"].sha256 == hashlib.sha256(short_clip.read_bytes()).hexdigest()
    assert below["video"].manifest is None

    lineage = Lineage.model_validate_json(shown[LINEAGE_KEY].data)
    assert (lineage.outputs[0].manifest, lineage.outputs[0].signer) == ("embedded", top.signer)
    assert lineage.outputs[0].unsigned_sha256 != lineage.outputs[0].sha256
    assert "| signed output | manifest | signer |" in shown[LINEAGE_KEY].description


def test_speech_of_every_format_is_signed(home):
    for kind in ("mp3", "wav", "flac", "ogg"):
        _, result, _ = ran(speech, SpeechJob(text=TEXT, format=kind))
        found = verified(result.audio, result.name, result)
        assert found.state == "valid"
        assert found.embedded is (kind != "ogg")
        assert found.manifest.source_types == ("trainedAlgorithmicMedia",)
        assert is_altered_by_a_flipped_bit(result.audio, result.name, result, home)


@pytest.fixture
def signed_portrait(portrait_file, tmp_path):
    """The portrait, signed by a camera that is not trusted here."""
    pair = certificates.issue_signer(certificates.make_authority("camera"), "camera")
    claim = Claim("Photo", "c2pa.created", "algorithmicallyEnhanced", "A photo.", "camera", "1")
    target = tmp_path / "signed.jpg"
    return sign_file(
        portrait_file, target, "image/jpeg", claim, Signer(pair.chain, "es256", pair.private_key)
    )


@pytest.mark.parametrize("is_altered", [False, True])
def test_the_manifest_of_a_source_is_kept_with_its_validity(home, signed_portrait, speech_file, is_altered):
    if is_altered:
        content = bytearray(signed_portrait.read_bytes())
        content[-5] ^= 1
        signed_portrait.write_bytes(content)
    image = f"file://{signed_portrait}"
    _, drawn, _ = ran(analyze, AnalyzeJob(image=image, features=("faces",)))
    _, spoken, _ = ran(
        portrait, PortraitJob(image=image, audio=f"file://{speech_file}", engine="fake", fps="1")
    )

    for result, ref, source_type in (
        (drawn, drawn.picture, "algorithmicallyEnhanced"),
        (spoken, spoken.video, "compositeSynthetic"),
    ):
        found = verified(ref, result.name, result)
        assert (found.state, found.manifest.source_types) == ("valid", (source_type,))
        parent = next(one for one in found.manifest.ingredients if one.relationship == "parentOf")
        assert (parent.title, parent.manifest.program) == ("image", "camera 1")
        assert parent.problems == (("assertion.dataHash.mismatch",) if is_altered else ())


def test_a_source_whose_manifest_cannot_be_read_safely_is_listed_without_it(
    home, signed_portrait, monkeypatch
):
    monkeypatch.setattr(isolated, "_INPUT_MEMORY_BYTES", 1 << 20)  # the process that reads it fails
    _, drawn, _ = ran(analyze, AnalyzeJob(image=f"file://{signed_portrait}", features=("faces",)))
    found = verified(drawn.picture, drawn.name, drawn)
    parent = next(one for one in found.manifest.ingredients if one.relationship == "parentOf")
    assert (found.state, parent.manifest) == ("valid", None)
    assert parent.sha256 == hashlib.sha256(signed_portrait.read_bytes()).hexdigest()


def test_an_equal_job_is_not_signed_again(home, monkeypatch):
    signed = []
    really = sign_outputs.sign_file
    monkeypatch.setattr(sign_outputs, "sign_file", lambda *words: signed.append(words) or really(*words))
    _, first, _ = ran(speech, SpeechJob(text=TEXT))
    _, second, _ = ran(speech, SpeechJob(text=TEXT))

    assert len(signed) == 1
    assert "sign" not in first.cached and "sign" in second.cached
    assert first.audio.sha256 == second.audio.sha256


def test_nothing_private_is_published_unless_names_are_switched_on(home, short_clip, speech_file, configure):
    job = LipSyncJob(video=f"file://{short_clip}", audio=f"file://{speech_file}", engine="fake")
    _, result, _ = ran(lip_sync, job, control=Control(tenant="acme-studios"))
    content = path_of(result.video).read_bytes()
    for private in (b"acme-studios", b"file://", short_clip.name.encode(), speech_file.name.encode()):
        assert private not in content

    configure(source_names="true")
    _, named, _ = ran(lip_sync, job, control=Control(tenant="acme-studios"))
    content = path_of(named.video).read_bytes()
    assert short_clip.name.encode() in content and b"acme-studios" not in content


def test_keys_are_in_no_artifact_and_no_log(home, caplog):
    with caplog.at_level("DEBUG"):
        _, _, shown = ran(speech, SpeechJob(text=TEXT))
    secrets = [
        line
        for path in get_settings().provenance_folder.glob("*.pem")
        for line in path.read_text().partition("PRIVATE KEY")[2].splitlines()[1:-1]
    ]
    assert len(secrets) >= 4
    written = caplog.text + "".join(f"{one.data}{one.description}" for one in shown.values())
    assert not any(secret in written for secret in secrets)


def test_a_failure_to_sign_ends_the_job_or_is_a_warning(home, configure, tmp_path):
    pair = certificates.issue_signer(certificates.make_authority("a"), "b")
    (tmp_path / "chain.pem").write_text(pair.chain)
    configure(certificate_chain=tmp_path / "chain.pem", signer_command="false")
    state = speech(SpeechJob(text=TEXT), return_state=True)
    assert isinstance(state.result(raise_on_failure=False), SigningFailed)
    assert json.loads(artifacts_of(state)["error"].data)["code"] == "signing_failed"

    configure(if_signing_fails="publish")
    _, result, _ = ran(speech, SpeechJob(text=TEXT))
    assert result.provenance.manifest is result.provenance.signer is None
    assert result.warnings[0].startswith("not_signed: The signer command ended with code 1")
    assert verified(result.audio, result.name, result).state == "no_manifest"


def test_an_expired_certificate_is_refused(home, monkeypatch):
    monkeypatch.setattr(certificates, "_SIGNER_YEARS", 0)
    state = speech(SpeechJob(text=TEXT), return_state=True)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, SigningKeyInvalid) and "expired on" in str(error)


def test_signing_can_be_switched_off(home, configure):
    configure(sign="false")
    _, result, _ = ran(speech, SpeechJob(text=TEXT))
    assert result.provenance.manifest is None and result.warnings == []
    assert not local_authority.has_keys()
    assert verified(result.audio, result.name, result).state == "no_manifest"
