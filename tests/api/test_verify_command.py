"""`musetalk verify`: what it prints and how it exits."""

import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from deployments.cli.main import app
from musetalk_core.content_credentials.certificates import issue_signer, make_authority
from musetalk_core.content_credentials.claims import Claim
from musetalk_core.content_credentials.signing import Signer, sign_file
from musetalk_core.imperceptible_mark.key import MarkKey
from musetalk_core.imperceptible_mark.picture_marker import PictureMarker
from tasks.settings import get_settings

ASSETS = Path(__file__).resolve().parents[1] / "assets"
CLAIM = Claim(
    title="Picture",
    action="c2pa.created",
    source_type="trainedAlgorithmicMedia",
    description="A picture.",
    program="another-program",
    version="4",
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own: without a key for the imperceptible mark."""
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def authority():
    return make_authority("test")


@pytest.fixture
def picture(tmp_path, authority):
    pair = issue_signer(authority, "studio")
    signer = Signer(pair.chain, "es256", pair.private_key)
    return sign_file(ASSETS / "astronaut.jpg", tmp_path / "picture.jpg", "image/jpeg", CLAIM, signer)


def verify(*words):
    done = CliRunner().invoke(app, ["verify", *map(str, words)])
    return done.exit_code, done.output


def test_a_signed_picture_is_described(picture, tmp_path, authority):
    (tmp_path / "roots.pem").write_text(authority.chain)

    status, text = verify(picture)
    trusted_status, trusted = verify(picture, "--trust", tmp_path / "roots.pem")

    assert (status, trusted_status) == (0, 0)
    assert text.startswith("Unchanged since it was signed, by a signer that is not trusted here.")
    assert trusted.startswith("Valid: unchanged since a trusted signer signed it.")
    assert "signed by studio" in text
    assert "made by another-program 4: c2pa.created" in text
    assert "source type: trainedAlgorithmicMedia" in text


def test_an_altered_picture_and_one_without_a_manifest_exit_with_1(picture):
    content = bytearray(picture.read_bytes())
    content[-100] ^= 1
    picture.write_bytes(content)

    status, text = verify(picture, "--json")

    assert status == 1
    assert json.loads(text)["state"] == "altered"
    assert "assertion.dataHash.mismatch" in json.loads(text)["problems"]
    assert verify(ASSETS / "astronaut.jpg") == (1, "No manifest: nothing is known about this file.\n")


def test_a_manifest_beside_the_file_is_read(tmp_path, authority):
    pair = issue_signer(authority, "studio")
    text = tmp_path / "lines.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    sign_file(
        text,
        tmp_path / "lines.srt",
        "application/x-subrip",
        CLAIM,
        Signer(pair.chain, "es256", pair.private_key),
    )

    assert verify(text)[0] == 0
    text.write_text("another text")
    assert verify(text)[1].startswith("Altered")


def test_a_missing_file_is_a_wrong_use(tmp_path):
    status, text = verify(tmp_path / "none.mp4")
    assert status == 2
    assert "none.mp4" in text


def test_the_imperceptible_mark_of_this_system_is_searched_for(tmp_path, monkeypatch):
    luma = cv2.imread(str(ASSETS / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE)
    monkeypatch.setenv("MUSETALK_MARK__SECRETS", "k" * 32)
    get_settings.cache_clear()
    cv2.imwrite(str(tmp_path / "marked.png"), PictureMarker(MarkKey(b"k" * 32), 512, 512).mark_luma(luma))

    status, text = verify(tmp_path / "marked.png")
    found = json.loads(verify(tmp_path / "marked.png", "--json")[1])["mark"]

    assert status == 1
    assert text.endswith("found in the picture. The file was made here.\n")
    assert (found["found"], found["sound"]) == (True, None)
    assert "not found" in verify(ASSETS / "astronaut.jpg")[1]
    assert "mark" not in verify(ASSETS / "astronaut.jpg", "--no-mark")[1]


def test_without_a_key_nothing_is_searched_and_no_key_is_created(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()

    assert json.loads(verify(ASSETS / "astronaut.jpg", "--json")[1])["mark"] is None
    assert not (tmp_path / "home").exists()
