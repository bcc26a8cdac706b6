"""Signing and verification of every output type, with real certificates and the real library."""

import hashlib
import struct
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from musetalk_core.content_credentials import isolated, signing
from musetalk_core.content_credentials.certificates import (
    KeyPair,
    check_pair,
    check_usable,
    issue_signer,
    make_authority,
)
from musetalk_core.content_credentials.claims import Claim, IngredientFile
from musetalk_core.content_credentials.file_type import detect_media_type
from musetalk_core.content_credentials.reading import verify_file
from musetalk_core.content_credentials.signing import Signer, is_embeddable, sign_file
from musetalk_core.errors import SigningFailed, SigningKeyInvalid
from musetalk_core.media.output.ffmpeg import find_ffmpeg

KINDS = {
    "mp4": "video/mp4",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "webm": "video/webm",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "srt": "application/x-subrip",
}
PICTURE = ("-f", "lavfi", "-i", "testsrc=size=320x180:rate=10:duration=1")
SOUND = ("-f", "lavfi", "-i", "sine=frequency=330:duration=1")
CLAIM = Claim(
    title="Synthetic speech",
    action="c2pa.created",
    source_type="trainedAlgorithmicMedia",
    description="The speech was synthesized from a text.",
    program="musetalk-flows",
    version="1.2.3",
    facts={"job": "6f0c", "models": [{"name": "csm", "digest": "ab" * 32}]},
)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("media")
    for ending in KINDS:
        path = folder / f"a.{ending}"
        if ending == "srt":
            path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
            continue
        inputs = {"mp4": (*PICTURE, *SOUND), "jpg": PICTURE, "png": PICTURE, "webp": PICTURE}.get(
            ending, SOUND
        )
        single = ("-frames:v", "1") if ending in ("jpg", "png", "webp") else ()
        subprocess.run([find_ffmpeg(), "-v", "error", *inputs, *single, path], check=True)
    return folder


@pytest.fixture(scope="module")
def authority():
    return make_authority("test")


@pytest.fixture(scope="module")
def signer(authority):
    pair = issue_signer(authority, "studio")
    return Signer(pair.chain, check_usable(pair.chain).algorithm, pair.private_key)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def signed(media, tmp_path, ending, signer, claim=CLAIM):
    """The file that carries or is described by the manifest, and the sidecar's bytes."""
    source = media / f"a.{ending}"
    written = sign_file(source, tmp_path / f"signed.{ending}", KINDS[ending], claim, signer)
    return (written, None) if is_embeddable(KINDS[ending]) else (source, written.read_bytes())


@pytest.mark.parametrize("ending", KINDS)
def test_a_signed_file_is_valid_and_a_flipped_bit_is_found(media, tmp_path, ending, signer, authority):
    file, sidecar = signed(media, tmp_path, ending, signer)

    trusted = verify_file(file, KINDS[ending], anchors=authority.chain, sidecar=sidecar)
    unknown = verify_file(file, KINDS[ending], sidecar=sidecar)

    assert (trusted.state, unknown.state) == ("valid", "unknown_signer")
    assert trusted.embedded is (sidecar is None)
    assert trusted.manifest is not None
    assert trusted.manifest.program == "musetalk-flows 1.2.3"
    assert trusted.manifest.signer == "studio"
    assert trusted.manifest.source_types == ("trainedAlgorithmicMedia",)
    assert trusted.manifest.facts["job"] == "6f0c"
    original = (media / f"a.{ending}").read_bytes()
    carried = bytearray(file.read_bytes())
    position = carried.find(original[len(original) // 2 :][:16]) + 8  # media bytes, not the manifest's
    assert position > 7
    carried[position] ^= 1
    (tmp_path / "flipped").write_bytes(carried)
    assert verify_file(tmp_path / "flipped", KINDS[ending], sidecar=sidecar).state == "altered"


def test_an_unsigned_file_has_no_manifest(media):
    for ending, kind in KINDS.items():
        assert verify_file(media / f"a.{ending}", kind).state == "no_manifest", ending


@pytest.mark.parametrize("ending", [name for name in KINDS if name != "srt"])
def test_a_media_type_is_detected_from_the_first_bytes(media, ending):
    assert detect_media_type(media / f"a.{ending}") == KINDS[ending]


def test_ingredients_keep_their_manifests_and_the_chain_is_listed(media, tmp_path, signer):
    speech, _ = signed(media, tmp_path, "mp3", signer)
    edited = replace(
        CLAIM,
        title="Lip-synced video",
        action="c2pa.edited",
        source_type="compositeSynthetic",
        ingredients=(
            IngredientFile("video", "video/mp4", sha256(media / "a.mp4"), "parentOf", media / "a.mp4"),
            IngredientFile("audio", "audio/mpeg", sha256(speech), "componentOf", speech, job="6f0c"),
        ),
    )
    video = sign_file(media / "a.mp4", tmp_path / "video.mp4", "video/mp4", edited, signer)
    captions = IngredientFile(
        "captions", "application/x-subrip", sha256(media / "a.srt"), "componentOf", media / "a.srt"
    )
    parent = IngredientFile("video", "video/mp4", sha256(video), "parentOf", video)
    captioned = replace(CLAIM, action="c2pa.addedText", ingredients=(parent, captions))
    last = sign_file(video, tmp_path / "captioned.mp4", "video/mp4", captioned, signer)

    report = verify_file(last, "video/mp4").manifest

    assert report is not None
    assert report.actions == ("c2pa.opened", "c2pa.placed", "c2pa.addedText")
    by_role = {one.title: one for one in report.ingredients}
    assert by_role["captions"].manifest is None
    assert by_role["video"].sha256 == sha256(video)
    below = by_role["video"].manifest
    assert below is not None
    assert below.source_types == ("compositeSynthetic",)
    audio = next(one for one in below.ingredients if one.title == "audio")
    assert (audio.relationship, audio.problems) == ("componentOf", ())
    assert audio.manifest is not None
    assert audio.manifest.facts["job"] == "6f0c"


def test_an_ingredient_that_was_altered_is_kept_and_said_to_be_altered(media, tmp_path, signer):
    source, _ = signed(media, tmp_path, "mp3", signer)
    content = bytearray(source.read_bytes())
    content[-200] ^= 1
    source.write_bytes(content)
    audio = IngredientFile("audio", "audio/mpeg", sha256(source), "inputTo", source)
    output = sign_file(
        media / "a.wav", tmp_path / "o.wav", "audio/wav", replace(CLAIM, ingredients=(audio,)), signer
    )

    verification = verify_file(output, "audio/wav")

    assert verification.state == "unknown_signer"
    assert verification.manifest is not None
    assert verification.manifest.ingredients[0].problems == ("assertion.dataHash.mismatch",)


def test_an_ingredient_whose_manifest_is_damaged_does_not_stop_signing(media, tmp_path, signer):
    source, _ = signed(media, tmp_path, "mp3", signer)
    content = source.read_bytes()
    at = content.index(b"jumb") + 40
    source.write_bytes(content[:at] + bytes(400) + content[at + 400 :])
    audio = IngredientFile("audio", "audio/mpeg", sha256(source), "inputTo", source)

    output = sign_file(
        media / "a.wav", tmp_path / "o.wav", "audio/wav", replace(CLAIM, ingredients=(audio,)), signer
    )

    assert verify_file(source, "audio/mpeg").state == "altered"
    report = verify_file(output, "audio/wav").manifest
    assert report is not None
    assert (report.ingredients[0].title, report.ingredients[0].manifest) == ("audio", None)


def test_a_manifest_that_needs_too_much_memory_or_crashes_its_reader_is_unreadable(
    media, tmp_path, signer, monkeypatch
):
    good, _ = signed(media, tmp_path, "mp4", signer)
    assert isolated.is_manifest_readable(good, "video/mp4")
    altered = tmp_path / "altered.mp4"
    altered.write_bytes(good.read_bytes()[:-1] + b"?")
    assert isolated.is_manifest_readable(altered, "video/mp4"), "it can be read, and kept with its problem"

    huge = tmp_path / "huge.mp4"
    with huge.open("wb") as file:  # a manifest store of 1.5 GiB, nearly all of it a hole in the file
        file.write((media / "a.mp4").read_bytes())
        file.write(manifest_box(3 << 29))
        file.truncate(file.tell() + (3 << 29))
    assert not isolated.is_manifest_readable(huge, "video/mp4")

    monkeypatch.setattr(isolated, "_MODULE", "no_such_module")
    assert not isolated.is_manifest_readable(good, "video/mp4"), "the reader ended abnormally"
    assert isolated.is_manifest_readable(media / "a.mp4", "video/mp4"), "no manifest, no process"


def manifest_box(content_bytes):
    """The beginning of an MP4 file's `uuid` box with a manifest store whose content box has so many bytes."""
    name = bytes.fromhex("6332706100110010800000AA00389B71") + b"\x03c2pa\0"
    content = struct.pack(">I4s", 8 + content_bytes, b"json")
    described = struct.pack(">I4s", 8 + len(name), b"jumd") + name
    store = struct.pack(">I4s", 16 + len(name) + 8 + content_bytes, b"jumb") + described + content
    head = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(4) + b"manifest\0" + bytes(8)
    return struct.pack(">I4s", 8 + len(head) + len(store) + content_bytes, b"uuid") + head + store


def test_an_ingredient_that_must_not_be_parsed_is_listed_without_its_manifest(media, tmp_path, signer):
    source, _ = signed(media, tmp_path, "mp3", signer)
    audio = IngredientFile("audio", "audio/mpeg", sha256(source), "inputTo", source, is_readable=False)

    output, _ = signed(media, tmp_path, "wav", signer, replace(CLAIM, ingredients=(audio,)))

    report = verify_file(output, "audio/wav").manifest
    assert report is not None
    assert (report.ingredients[0].sha256, report.ingredients[0].manifest) == (sha256(source), None)


def test_a_chain_of_manifests_ends_before_it_is_too_long_to_be_read(media, tmp_path, signer, monkeypatch):
    monkeypatch.setattr(signing, "MAX_MANIFESTS", 5)
    link, out = tmp_path / "a.jpg", tmp_path / "b.jpg"
    link.write_bytes((media / "a.jpg").read_bytes())
    depths = []
    for _ in range(8):
        source = IngredientFile("image", "image/jpeg", sha256(link), "parentOf", link)
        sign_file(link, out, "image/jpeg", replace(CLAIM, ingredients=(source,)), signer).replace(link)
        report = verify_file(link, "image/jpeg").manifest
        depths.append(depth(report))
        assert report.ingredients[0].sha256 == source.sha256
    assert depths == [1, 2, 3, 4, 5, 1, 2, 3]


def depth(report):
    return 1 + max((depth(one.manifest) for one in report.ingredients if one.manifest), default=0)


def test_an_ingredient_keeps_the_manifest_beside_it(media, tmp_path, signer):
    captions, sidecar = signed(media, tmp_path, "srt", signer)
    changed = tmp_path / "changed.srt"
    changed.write_bytes(captions.read_bytes().replace(b"Hello", b"World"))
    for file, problems in ((captions, ()), (changed, ("assertion.dataHash.mismatch",))):
        ingredient = IngredientFile(
            "captions", "application/x-subrip", sha256(file), "componentOf", file, sidecar=sidecar
        )
        output = sign_file(
            media / "a.wav",
            tmp_path / "o.wav",
            "audio/wav",
            replace(CLAIM, ingredients=(ingredient,)),
            signer,
        )
        verification = verify_file(output, "audio/wav")
        assert verification.state == "unknown_signer"
        assert verification.manifest is not None
        kept = verification.manifest.ingredients[0]
        assert (kept.title, kept.problems) == ("captions", problems)
        assert kept.manifest is not None and kept.manifest.facts["job"] == "6f0c"


def test_manifests_of_inputs_are_left_out_above_the_limit(media, tmp_path, signer, monkeypatch):
    source, _ = signed(media, tmp_path, "mp3", signer)
    monkeypatch.setattr(signing, "MAX_MANIFEST_BYTES", 5000)
    audio = IngredientFile("audio", "audio/mpeg", sha256(source), "inputTo", source)
    for ending in ("wav", "ogg"):
        claim = replace(CLAIM, ingredients=(audio,))
        file, sidecar = signed(media, tmp_path, ending, signer, claim)
        verification = verify_file(file, KINDS[ending], sidecar=sidecar)
        assert verification.state == "unknown_signer" and verification.manifest is not None
        kept = verification.manifest.ingredients[0]
        assert (kept.sha256, kept.manifest) == (sha256(source), None)


def test_nothing_private_is_in_a_manifest(media, tmp_path, signer):
    source = tmp_path / "acme-secret-take.mp4"
    source.write_bytes((media / "a.mp4").read_bytes())
    claim = replace(
        CLAIM, ingredients=(IngredientFile("video", "video/mp4", sha256(source), "parentOf", source),)
    )
    output = sign_file(source, tmp_path / "o.mp4", "video/mp4", claim, signer)
    assert b"acme" not in output.read_bytes()
    assert str(tmp_path).encode() not in output.read_bytes()


def test_a_signing_function_is_used_and_its_failure_is_typed(media, tmp_path, authority):
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pair = issue_signer(authority, "hsm")
    key = serialization.load_pem_private_key(pair.private_key.encode(), None)
    remote = Signer(pair.chain, "es256", lambda data: key.sign(data, ec.ECDSA(hashes.SHA256())))
    file, _ = signed(media, tmp_path, "flac", remote)
    assert verify_file(file, "audio/flac", anchors=authority.chain).state == "valid"

    def refuse(data):
        raise ConnectionError("the service is down")

    with pytest.raises(SigningFailed):
        sign_file(
            media / "a.wav", tmp_path / "n.wav", "audio/wav", CLAIM, Signer(pair.chain, "es256", refuse)
        )
    assert not (tmp_path / "n.wav").exists()


def test_an_expired_or_unfit_certificate_is_refused(authority):
    pair = issue_signer(authority, "studio")
    with pytest.raises(SigningKeyInvalid, match="expired on 2031"):
        check_usable(pair.chain, datetime.now(UTC) + timedelta(days=365 * 5 + 1))
    with pytest.raises(SigningKeyInvalid, match="not valid before"):
        check_usable(pair.chain, datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(SigningKeyInvalid, match="not for signing media"):
        check_usable(authority.chain)
    with pytest.raises(SigningKeyInvalid, match="does not belong"):
        check_pair(KeyPair(pair.chain, issue_signer(authority, "other").private_key))
    with pytest.raises(SigningKeyInvalid, match="not a certificate chain"):
        check_usable("hello")


def test_keys_do_not_appear_in_representations(authority):
    pair = issue_signer(authority, "studio")
    signer = Signer(pair.chain, "es256", pair.private_key)
    secret = pair.private_key.splitlines()[1]
    assert secret not in repr(pair)
    assert secret not in repr(signer)


def test_hostile_files_give_an_answer(media, tmp_path, signer):
    file, _ = signed(media, tmp_path, "jpg", signer)
    content = file.read_bytes()
    for number, end in enumerate(range(1, len(content), max(1, len(content) // 40))):
        cut = tmp_path / f"cut{number}.jpg"
        cut.write_bytes(content[:end])
        assert verify_file(cut, "image/jpeg").state in ("altered", "no_manifest")
    (tmp_path / "empty").write_bytes(b"")
    assert verify_file(tmp_path / "empty", "video/mp4").state in ("altered", "no_manifest")
