"""`musetalk provenance keys`: what it prints, never a private key, and that old outputs stay valid."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli.main import app
from musetalk_core.content_credentials.claims import Claim
from musetalk_core.content_credentials.signing import sign_file
from tasks.content_credentials.signing_keys import open_signer
from tasks.settings import get_settings

ASSETS = Path(__file__).resolve().parents[1] / "assets"


@pytest.fixture(autouse=True)
def home(environment, tmp_path):
    environment.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    return tmp_path / "home"


def run(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert "PRIVATE" not in done.output
    return done.exit_code, done.output


def test_keys_are_made_shown_and_rotated(home):
    status, text = run("provenance", "keys", "show")
    assert (status, "There are no signing keys yet" in text) == (0, True)
    assert json.loads(run("provenance", "keys", "show", "--json")[1]) == {"keys": None}
    assert not home.joinpath("provenance").exists(), "showing makes no keys"

    made = json.loads(run("provenance", "keys", "make", "--json")[1])["keys"]
    assert json.loads(run("provenance", "keys", "make", "--json")[1])["keys"] == made
    assert (made["algorithm"], made["key"], made["trusted_certificates"]) == (
        "es256", str(home / "provenance"), 1,
    )  # fmt: skip
    picture = home / "picture.jpg"
    claim = Claim("Picture", "c2pa.created", "trainedAlgorithmicMedia", "A picture.", "program", "1")
    sign_file(ASSETS / "astronaut.jpg", picture, "image/jpeg", claim, open_signer())

    rotated = json.loads(run("provenance", "keys", "rotate", "--json")[1])["keys"]
    assert rotated["fingerprint"] != made["fingerprint"]
    assert rotated["trusted_certificates"] == 2
    status, text = run("verify", picture)
    assert (status, text.startswith("Valid: unchanged since a trusted signer signed it.")) == (0, True)
    assert run("provenance", "keys", "show", "--pem")[1].count("BEGIN CERTIFICATE") == 2
    assert f"fingerprint: {rotated['fingerprint']}" in run("provenance", "keys", "show")[1]


def test_configured_certificates_are_not_replaced(home, environment, tmp_path):
    run("provenance", "keys", "make")
    pair = (home / "provenance" / "signer.pem").read_text()
    chain, key = pair[: pair.index("-----BEGIN PRIVATE")], pair[pair.index("-----BEGIN PRIVATE") :]
    (tmp_path / "chain.pem").write_text(chain)
    (tmp_path / "key.pem").write_text(key)
    environment.setenv("MUSETALK_PROVENANCE__CERTIFICATE_CHAIN", str(tmp_path / "chain.pem"))
    environment.setenv("MUSETALK_PROVENANCE__PRIVATE_KEY", str(tmp_path / "key.pem"))
    get_settings.cache_clear()

    status, text = run("provenance", "keys", "rotate")
    assert status == 2 and "MUSETALK_PROVENANCE__CERTIFICATE_CHAIN" in text.replace(os.linesep, "")
    assert json.loads(run("provenance", "keys", "show", "--json")[1])["keys"]["key"] == str(
        tmp_path / "key.pem"
    )


def test_damaged_keys_are_one_sentence(home):
    (home / "provenance").mkdir(parents=True)
    (home / "provenance" / "signer.pem").write_text("nothing")
    status, text = run("provenance", "keys", "show")
    assert status == 1 and "is damaged" in text and "Traceback" not in text
    assert run("provenance", "keys", "rotate")[0] == 0
    assert run("provenance", "keys", "show")[0] == 0
