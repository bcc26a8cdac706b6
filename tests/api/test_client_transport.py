"""The client's connections: http loads no certificates, https is verified, after a redirect as well."""

import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address

import certifi
import httpx
import pytest

from api.client_transport import http_client


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("tls") / "api.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return pem


@pytest.fixture
def serve():
    """Start servers that answer `hello`, or redirect to an address."""
    started = []

    def start(pem=None, location=None):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(307 if location else 200)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "5")
                self.end_headers()
                self.wfile.write(b"hello")

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Answer)
        if pem:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        started.append(server)
        return f"{'https' if pem else 'http'}://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def test_http_loads_no_certificates(serve, monkeypatch):
    monkeypatch.setattr(certifi, "where", lambda: pytest.fail("certificates were loaded"))
    with http_client(serve(), {"A": "b"}) as client:
        assert client.get("/a").text == "hello" and client.headers["A"] == "b"


@pytest.mark.parametrize("is_redirected", [False, True])
def test_https_is_verified(serve, certificate, monkeypatch, is_redirected):
    https = serve(certificate)
    server = serve(location=https) if is_redirected else https

    with http_client(server, {}) as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY"):
        client.get("/", follow_redirects=True)
    monkeypatch.setattr(certifi, "where", lambda: str(certificate))
    with http_client(server, {}) as client:
        assert client.get("/", follow_redirects=True).text == "hello"
