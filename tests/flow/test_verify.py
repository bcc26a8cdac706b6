"""The verify flow: states of stored files, outputs that are found without a manifest, hostile files."""

import http.server
import subprocess
import threading
from dataclasses import replace

import pytest
from shown import artifacts_of

from flows.schemas.control import Control
from flows.schemas.speech import SpeechJob
from flows.schemas.verify import VerifyJob
from flows.speech import speech
from flows.verify import verify
from musetalk_core.content_credentials import isolated, signing
from musetalk_core.content_credentials.certificates import issue_signer, make_authority
from musetalk_core.content_credentials.claims import Claim
from musetalk_core.content_credentials.signing import Signer, sign_file
from musetalk_core.media.output.ffmpeg import find_ffmpeg
from tasks.cache.artefacts import artefact_cache
from tasks.catalog.assets import save_asset
from tasks.catalog.stored_results import find_pinned
from tasks.content_credentials import local_authority
from tasks.errors import ObjectMissing
from tasks.run.tenancy import on_behalf_of

CLAIM = Claim("Sound", "c2pa.created", "trainedAlgorithmicMedia", "A sound.", "another-program", "4")


def checked(media, tenant=None, **fields):
    control = {"control": Control(tenant=tenant)} if tenant else {}
    return verify(VerifyJob(media=str(media), **fields), **control)


@pytest.fixture
def spoken(home):
    """A speech job of the tenant acme: its id and result."""
    state = speech(SpeechJob(text="Good morning."), control=Control(tenant="acme"), return_state=True)
    return state.state_details.flow_run_id, state.result()


@pytest.fixture
def stranger():
    pair = issue_signer(make_authority("a"), "stranger")
    return Signer(pair.chain, "es256", pair.private_key)


def test_an_output_is_valid_also_after_a_rotation_and_found_without_its_manifest(home, spoken):
    job, result = spoken
    local_authority.rotate_keys()
    by_job = checked(f"job://{job}", tenant="acme")
    assert (by_job.state, by_job.embedded, by_job.found) == ("valid", True, [])
    assert by_job.manifest.facts["job"] == str(job)
    assert by_job.sha256 == result.audio.sha256

    [unsigned] = (
        path
        for path in artefact_cache().folder.glob("artefacts/*/*/*/speech.mp3")
        if "signed" not in path.parts
    )
    stripped = home / "stripped.mp3"
    stripped.write_bytes(unsigned.read_bytes())
    for tenant, count in (("acme", 1), ("other", 0)):
        found = checked(stripped.as_uri(), tenant=tenant)
        assert (found.state, found.manifest, len(found.found)) == ("no_manifest", None, count)
    found = checked(stripped.as_uri(), tenant="acme").found[0]
    assert (found.job, found.name, found.how, found.confidence) == (job, result.name, "file", 1.0)


def test_an_output_that_was_encoded_anew_is_found_by_its_sound(home):
    text = "My mother bought five big blue balloons, and they flew away in the wind."
    state = speech(SpeechJob(text=text), control=Control(tenant="acme"), return_state=True)
    job, result = state.state_details.flow_run_id, state.result()
    copy = home / "copy.ogg"
    source = find_pinned(result.audio).path
    subprocess.run(
        [find_ffmpeg(), "-v", "error", "-i", source, "-ss", "0.4", "-b:a", "48k", copy], check=True
    )
    [found] = checked(copy.as_uri(), tenant="acme").found
    assert (found.job, found.how, found.picture) == (job, "fingerprint", None)
    assert 0.6 < found.confidence == found.sound < 1
    assert checked(copy.as_uri(), tenant="other").found == []


def test_uploads_sidecars_and_unknown_signers(home, stranger, speech_file):
    signed = sign_file(speech_file, home / "s.wav", "audio/wav", CLAIM, stranger)
    with on_behalf_of("acme"):
        asset = save_asset([signed.read_bytes()], "s.wav")
    uploaded = checked(f"asset://{asset}", tenant="acme")
    assert (uploaded.state, uploaded.manifest.signer) == ("unknown_signer", "stranger")
    assert uploaded.problems == ["signingCredential.untrusted"]
    with pytest.raises(ObjectMissing):
        checked(f"asset://{asset}", tenant="other")

    text = home / "words.txt"
    text.write_text("some words")
    sidecar = sign_file(text, home / "words.txt", "text/plain", CLAIM, stranger)
    assert checked(text.as_uri()).state == "no_manifest"
    assert checked(text.as_uri(), sidecar=sidecar.as_uri()).state == "unknown_signer"
    text.write_text("other words")
    assert checked(text.as_uri(), sidecar=sidecar.as_uri()).state == "altered"


def test_the_manifest_beside_the_output_of_a_job_is_found(home):
    state = speech(SpeechJob(text="Good morning.", format="ogg"), return_state=True)
    job, result = state.state_details.flow_run_id, state.result()
    found = checked(f"job://{job}")
    assert (found.state, found.embedded) == ("valid", False)
    path = find_pinned(result.provenance.sidecars[f"{result.name}.c2pa"]).path
    path.write_bytes(b"junk")
    assert checked(f"job://{job}").state == "altered"


def test_files_that_are_no_media_have_no_manifest(home):
    for name, content in (
        ("a.bin", b"\0" * 100),
        ("a.jpg", b"\xff\xd8\xff"),
        ("a.mp4", b"\0\0\0\x18ftypisom"),
    ):
        (home / name).write_bytes(content)
        assert checked((home / name).as_uri()).state in ("no_manifest", "altered"), name


def test_a_reference_to_a_remote_manifest_is_not_followed(home, stranger, speech_file):
    import c2pa

    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    definition = signing.manifest_definition(CLAIM, "image/jpeg")
    picture = home / "remote.jpg"
    source = home / "plain.jpg"
    from PIL import Image

    Image.new("RGB", (64, 64)).save(source)
    with c2pa.Builder(definition) as builder, source.open("rb") as read, picture.open("w+b") as write:
        builder.set_no_embed()
        builder.set_remote_url(f"http://127.0.0.1:{server.server_port}/manifest.c2pa")
        builder.sign(signing._native_signer(stranger, []), "image/jpeg", read, write)
    try:
        assert b"manifest.c2pa" in picture.read_bytes()
        assert checked(picture.as_uri()).state in ("no_manifest", "altered")
    finally:
        server.shutdown()
        server.server_close()
    assert asked == []


def test_a_check_that_crashes_or_takes_too_long_is_an_answer(home, speech_file, monkeypatch):
    words = {"anchors": "", "sidecar": None, "limit_s": 0.001}
    slow = isolated.verify_isolated(speech_file, "audio/wav", **words)
    assert slow["state"] == "altered" and "took more than" in slow["problems"][0]
    monkeypatch.setattr(isolated, "_MODULE", "no_such_module")
    crashed = isolated.verify_isolated(speech_file, "audio/wav", **(words | {"limit_s": 60}))
    assert crashed["state"] == "altered" and "ended with code 1" in crashed["problems"][0]


def test_long_statements_are_cut(home, stranger, speech_file):
    claim = replace(CLAIM, title="t" * 5000, facts={"models": ["m" * 9000]})
    path = sign_file(speech_file, home / "s.wav", "audio/wav", claim, stranger)
    found = checked(path.as_uri())
    assert found.state == "unknown_signer"
    assert (len(found.manifest.title), found.manifest.facts) == (300, {})


def test_verification_is_recorded_as_a_job(home, speech_file):
    state = verify(VerifyJob(media=speech_file.as_uri()), return_state=True)
    shown = artifacts_of(state)
    assert {"result", "lineage", "timings"} <= set(shown)
    assert not local_authority.has_keys(), "a check makes no keys"
