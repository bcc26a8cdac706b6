"""Where signing keys come from: made at first use, PEM files, a command, a web service."""

import http.server
import os
import subprocess
import sys
import threading

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from musetalk_core.content_credentials.certificates import (
    check_signature,
    describe_chain,
    issue_signer,
    make_authority,
)
from musetalk_core.errors import SigningFailed, SigningKeyInvalid
from tasks.content_credentials import local_authority
from tasks.content_credentials.signing_keys import open_signer, signing_certificate, trust_anchors
from tasks.settings import get_settings


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Set settings of the group; the home is a new folder."""
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path / "home"))

    def set_all(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"MUSETALK_PROVENANCE__{name.upper()}", str(value))
        get_settings.cache_clear()
        return tmp_path

    yield set_all
    get_settings.cache_clear()


@pytest.fixture
def pair(configure, tmp_path):
    """A configured chain without a key, and the pair that belongs to it."""
    made = issue_signer(make_authority("company"), "company signer")
    (tmp_path / "chain.pem").write_text(made.chain)
    (tmp_path / "key.pem").write_text(made.private_key)
    return made


def sign_with(pair, data):
    key = serialization.load_pem_private_key(pair.private_key.encode(), None)
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def test_keys_are_made_at_first_use_and_stay(configure):
    folder = configure() / "home" / "provenance"
    first = open_signer()

    assert open_signer().chain == first.chain
    assert signing_certificate().fingerprint == describe_chain(first.chain).fingerprint
    for name in ("authority.pem", "signer.pem"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
        assert (folder / name).read_text().count("PRIVATE KEY-----") == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} == {"authority.pem", "signer.pem", ".lock"}
    assert "PRIVATE" not in trust_anchors() and trust_anchors().count("BEGIN CERTIFICATE") == 1


def test_several_processes_at_once_make_one_authority(configure):
    home = configure() / "home"
    code = (
        "from tasks.content_credentials.signing_keys import signing_certificate as c; print(c().fingerprint)"
    )
    environment = {**os.environ, "MUSETALK_HOME": str(home)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert len({one.communicate()[0] for one in running}) == 1


def test_a_rotation_trusts_the_former_authority_and_drops_its_key(configure):
    configure()
    before = open_signer()
    old_root = trust_anchors()
    local_authority.rotate_keys()
    local_authority.rotate_keys()

    assert open_signer().chain != before.chain
    assert old_root.strip() in trust_anchors()
    assert trust_anchors().count("BEGIN CERTIFICATE") == 3
    former = list((get_settings().provenance_folder / "former").iterdir())
    assert len(former) == 2
    assert not any("PRIVATE" in path.read_text() for path in former)


def test_damaged_keys_are_reported_with_the_command_that_replaces_them(configure):
    folder = configure() / "home" / "provenance"
    folder.mkdir(parents=True)
    (folder / "signer.pem").write_text("nothing")
    with pytest.raises(SigningKeyInvalid, match="musetalk provenance keys rotate"):
        open_signer()


def test_a_home_that_cannot_be_written_is_a_typed_error(configure):
    (configure() / "home").write_text("a file")
    with pytest.raises(SigningFailed, match="cannot be read or made"):
        open_signer()


def test_pem_files_sign_and_their_root_is_trusted(configure, pair, tmp_path):
    configure(certificate_chain=tmp_path / "chain.pem", private_key=tmp_path / "key.pem")
    signer = open_signer()
    assert (signer.chain, signer.key, signer.time_stamp_url) == (pair.chain, pair.private_key, None)
    configure(time_stamp_url="https://clock.example.com/tsa")
    assert open_signer().time_stamp_url == "https://clock.example.com/tsa"
    assert trust_anchors().strip() == pair.chain[pair.chain.rindex("-----BEGIN") :].strip()
    assert not (tmp_path / "home").exists(), "no local keys are made"


def test_a_key_of_another_certificate_is_refused(configure, pair, tmp_path):
    (tmp_path / "key.pem").write_text(issue_signer(make_authority("a"), "b").private_key)
    configure(certificate_chain=tmp_path / "chain.pem", private_key=tmp_path / "key.pem")
    with pytest.raises(SigningKeyInvalid, match="does not belong"):
        open_signer()
    configure(private_key=tmp_path / "missing.pem")
    with pytest.raises(SigningFailed, match=r"missing\.pem cannot be read"):
        open_signer()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"private_key": "/k.pem"}, "certificate_chain needs"),
        ({"certificate_chain": "/c.pem"}, "certificate_chain needs"),
        ({"private_key": "/k", "signer_command": "x", "certificate_chain": "/c"}, "only one of"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(configure, settings, words):
    configure(**settings)
    with pytest.raises(ValidationError, match=words):
        get_settings()


def test_a_command_signs(configure, pair, tmp_path):
    program = tmp_path / "sign.py"
    program.write_text(
        "import sys\n"
        "from cryptography.hazmat.primitives import hashes, serialization\n"
        "from cryptography.hazmat.primitives.asymmetric import ec\n"
        f"key = serialization.load_pem_private_key(open({str(tmp_path / 'key.pem')!r}, 'rb').read(), None)\n"
        "sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256())))\n"
    )
    configure(certificate_chain=tmp_path / "chain.pem", signer_command=f"{sys.executable} {program}")
    signer = open_signer()
    check_signature(pair.chain, b"words", signer.key(b"words"))


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        ("sh -c 'echo no key >&2; exit 3'", SigningFailed, "ended with code 3: no key"),
        ("sleep 60", SigningFailed, "did not end within"),
        ("true", SigningFailed, "returned 0 bytes"),
        ("echo hello", SigningFailed, "does not match the signing certificate"),
        ("/no/such/program", SigningKeyInvalid, "cannot be run"),
    ],
)
def test_a_command_that_does_not_sign_is_a_typed_error(configure, pair, tmp_path, command, error, words):
    configure(certificate_chain=tmp_path / "chain.pem", signer_command=command, signer_timeout_s=0.5)
    if command != "sleep 60":
        configure(signer_timeout_s=60)
    with pytest.raises(error, match=words):
        open_signer().key(b"words")


@pytest.fixture
def service(pair):
    """A signing service on this machine; its answer is chosen by the path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"]))
            body = {"/sign": sign_with(pair, data), "/big": bytes(100_000)}.get(self.path, b"x")
            self.send_response(503 if self.path == "/busy" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_web_service_signs(configure, pair, service, tmp_path):
    configure(certificate_chain=tmp_path / "chain.pem", signer_url=f"{service}/sign")
    check_signature(pair.chain, b"words", open_signer().key(b"words"))


@pytest.mark.parametrize(
    ("path", "words"), [("/busy", "status 503"), ("/big", "not a signature"), ("/wrong", "does not match")]
)
def test_a_web_service_that_does_not_sign_is_a_typed_error(configure, pair, service, tmp_path, path, words):
    configure(certificate_chain=tmp_path / "chain.pem", signer_url=service + path)
    with pytest.raises(SigningFailed, match=words):
        open_signer().key(b"words")


def test_denied_networks_bind_the_signer_too(configure, pair, service, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSETALK_EGRESS__DENIED_NETWORKS", "127.0.0.0/8")
    configure(certificate_chain=tmp_path / "chain.pem", signer_url=f"{service}/sign")
    with pytest.raises(SigningFailed, match="does not respond"):
        open_signer().key(b"words")


def test_a_job_cannot_read_the_keys_as_a_file(configure, monkeypatch):
    from tasks.errors import LocalPathDisabled
    from tasks.inputs.origins import input_origin

    folder = configure()
    open_signer()
    monkeypatch.setenv("MUSETALK_STORE__LOCAL_ROOTS", str(folder))
    get_settings.cache_clear()
    with pytest.raises(LocalPathDisabled):
        input_origin(f"file://{folder}/home/provenance/signer.pem")
