"""
Outputs of every type read as intact, and as altered after one flipped bit anywhere in the media.

The second test repeats that with a C2PA implementation that shares no code with c2pa-rs. It needs
`pip install encypher-c2pa`, and is skipped by name without it.
"""

from dataclasses import dataclass

import pytest

from flows.analyze import analyze
from flows.caption import caption
from flows.lip_sync import lip_sync
from flows.portrait import portrait
from flows.schemas.analyze import AnalyzeJob
from flows.schemas.caption import CaptionJob
from flows.schemas.speech import SpeechJob
from flows.schemas.transcribe import TranscribeJob
from flows.schemas.video import LipSyncJob, PortraitJob
from flows.speech import speech
from flows.transcribe import transcribe
from musetalk_core.content_credentials.reading import verify_file
from tasks.catalog.stored_results import find_pinned
from tasks.content_credentials.signing_keys import trust_anchors
from tasks.storage.media_types import media_type

pytestmark = pytest.mark.slow
SPEECH_S = 2
FLIPS = 12
"""Positions, spread over the media, at which a bit is flipped."""
OPAQUE = "text/css"
"""A type whose files the other implementation does not parse, for sidecars of types that it does not know."""


@dataclass(frozen=True)
class Stored:
    """An output as it is stored: content, type, and the manifest beside it."""

    name: str
    content: bytes
    kind: str
    sidecar: bytes | None


def stored(result, name, ref):
    sidecar = result.provenance.sidecars.get(f"{name}.c2pa")
    data = find_pinned(sidecar).path.read_bytes() if sidecar else None
    kind = media_type(name).partition(";")[0]
    return Stored(name, find_pinned(ref).path.read_bytes(), kind, data)


def ran(flow, job):
    state = flow(job, return_state=True)
    return state.state_details.flow_run_id, state.result()


@pytest.fixture
def outputs(home, short_clip, portrait_file, speech_file):
    """An output of each type that each job type stores."""
    clip, recording, picture = (one.as_uri() for one in (short_clip, speech_file, portrait_file))
    video_job, video = ran(lip_sync, LipSyncJob(video=clip, audio=recording, engine="fake"))
    heard_job, heard = ran(transcribe, TranscribeJob(audio=recording, beam_size=1, word_timestamps=False))
    captions = {"video": f"job://{video_job}", "captions": f"job://{heard_job}/srt"}
    _, burned = ran(caption, CaptionJob(**captions, how="burned"))
    _, track = ran(caption, CaptionJob(**captions, how="track"))
    _, spoken = ran(portrait, PortraitJob(image=picture, audio=recording, engine="fake", fps="5"))
    _, drawn = ran(analyze, AnalyzeJob(image=picture, features=("faces",)))
    voices = [
        ran(speech, SpeechJob(text="Good morning.", format=kind))[1] for kind in ("mp3", "wav", "flac", "ogg")
    ]
    return [
        *(stored(one, one.name, one.video) for one in (video, burned, track, spoken)),
        *(stored(heard, name, ref) for name, ref in heard.files.items()),
        *(stored(one, one.name, one.audio) for one in voices),
        stored(drawn, drawn.name, drawn.picture),
    ]


def flipped(output):
    """Copies with one bit flipped in the media: outside the manifest and the first box of an MP4 file."""
    content = output.content
    media = range(64 if output.kind == "video/mp4" else 0, len(content))
    if output.sidecar is None:
        box = content.index(b"jumb") - 4
        manifest = range(box - 256, box + int.from_bytes(content[box : box + 4]) + 256)
        media = [position for position in media if position not in manifest]
    for step in range(FLIPS):
        changed = bytearray(content)
        changed[media[(2 * step + 1) * len(media) // (2 * FLIPS)]] ^= 1
        yield bytes(changed)


def test_every_type_of_output_is_valid_and_a_flipped_bit_anywhere_is_found(outputs, home):
    def state(content):
        path = home / "copy"
        path.write_bytes(content)
        return verify_file(path, output.kind, anchors=trust_anchors(), sidecar=output.sidecar).state

    for output in outputs:
        assert state(output.content) == "valid", output.name
        assert {state(changed) for changed in flipped(output)} == {"altered"}, output.name
    assert len({output.name.rpartition(".")[2] for output in outputs}) == 11


@pytest.fixture
def read_by_another_implementation():
    """Integrity of content as another implementation reports it, and whether it trusts the signer."""
    other = pytest.importorskip("encypher_c2pa", reason="encypher-c2pa is not installed")

    def read(content, output):
        kind = output.kind if output.kind.startswith(("video/", "audio/", "image/")) else OPAQUE
        try:
            report = other.verify(
                content,
                kind,
                manifest_store=output.sidecar,
                trust_pem=trust_anchors(),
                no_default_trust=True,
                telemetry=False,
                online=False,
            )
        except ValueError as error:  # a damaged file that it cannot parse
            return f"refused: {error}", None
        return report["integrity"], report["trust"]["status"]

    return read


def test_another_implementation_agrees(read_by_another_implementation, outputs):
    for output in outputs:
        found = read_by_another_implementation(output.content, output)
        assert found == ("valid", "valid_for_supplied_material"), output.name
        for changed in flipped(output):
            assert read_by_another_implementation(changed, output)[0] != "valid", output.name
