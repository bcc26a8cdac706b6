"""RFC 3161 time stamps from an authority on this machine, which `openssl ts` answers for."""

import http.server
import shutil
import subprocess
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from musetalk_core.content_credentials.certificates import issue_signer, make_authority
from musetalk_core.content_credentials.claims import Claim
from musetalk_core.content_credentials.reading import verify_file
from musetalk_core.content_credentials.signing import Signer, sign_file
from musetalk_core.errors import SigningFailed

CLAIM = Claim("Text", "c2pa.created", "trainedAlgorithmicMedia", "A text.", "musetalk-flows", "1")
SIGNS_ONLY = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
CONFIGURATION = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
"""


def certificate(subject, key, issuer, issuer_key):
    """A certificate that signs time stamps."""
    now = datetime.now(UTC)
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    return (
        x509.CertificateBuilder(named[1], named[0], key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(SIGNS_ONLY, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )


class Authority:
    """Answers requests for time stamps; `works` is turned off to refuse them."""

    def __init__(self, folder):
        key, root_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        pem = certificate("Clock", key, "Clock root", root_key).public_bytes(serialization.Encoding.PEM)
        form = serialization.PrivateFormat.PKCS8
        secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        for name, content in (("tsa.pem", pem), ("tsa.key", secret), ("serial", b"01\n")):
            (folder / name).write_bytes(content)
        (folder / "tsa.cnf").write_text(CONFIGURATION.format(folder=folder))
        self.folder, self.works, self.requests = folder, True, 0

    def answer(self, query):
        self.requests += 1
        (self.folder / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-section", "one", "-queryfile", "query"]
        command += ["-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "reply"]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
        return (self.folder / "reply").read_bytes()


@pytest.fixture
def authority(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    authority = Authority(tmp_path)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            query = self.rfile.read(int(self.headers["Content-Length"]))
            if not authority.works or self.headers["Content-Type"] != "application/timestamp-query":
                self.send_error(503)
                return
            reply = authority.answer(query)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    authority.url = f"http://127.0.0.1:{server.server_port}"
    yield authority
    server.shutdown()
    server.server_close()


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("some words")
    return path


@pytest.fixture(params=["key", "function"])
def signer(request, authority):
    """A signer with a time stamp authority, by a key or by a function that signs, and its own authority."""
    own = make_authority("own")
    pair = issue_signer(own, "studio")
    key = pair.private_key
    if request.param == "function":
        loaded = serialization.load_pem_private_key(key.encode(), None)
        key = lambda data: loaded.sign(data, ec.ECDSA(hashes.SHA256()))  # noqa: E731  a Signer takes a function
    return Signer(pair.chain, "es256", key, authority.url), own


def test_a_manifest_holds_the_time_of_the_authority(authority, signer, text):
    signing, own = signer
    sidecar = sign_file(text, text, "text/plain", CLAIM, signing).read_bytes()
    found = verify_file(text, "text/plain", anchors=own.chain, sidecar=sidecar)
    assert (found.state, found.problems, authority.requests) == ("valid", (), 1)
    assert abs(datetime.fromisoformat(found.manifest.signed_at) - datetime.now(UTC)) < timedelta(minutes=5)


def test_without_an_authority_no_time_is_stated(authority, signer, text):
    signing, own = signer
    unstamped = Signer(signing.chain, signing.algorithm, signing.key)
    sidecar = sign_file(text, text, "text/plain", CLAIM, unstamped).read_bytes()
    found = verify_file(text, "text/plain", anchors=own.chain, sidecar=sidecar)
    assert (found.state, found.manifest.signed_at, authority.requests) == ("valid", None, 0)


def test_an_authority_that_does_not_answer_is_a_failure_to_sign(authority, signer, text):
    authority.works = False
    with pytest.raises(SigningFailed):
        sign_file(text, text, "text/plain", CLAIM, signer[0])
    assert not text.with_name("words.txt.c2pa").exists()
