"""
Downloads: allowed addresses, how files are fetched, and the errors of refused or failed requests.

No test asks a real resolver: names are looked up in a table, and anything dialled is on loopback.
"""

import socket

import httpcore
import httpx
import pytest

from musetalk_core.errors import MediaTooLarge
from tasks.errors import InputBlocked, InputUnreachable, ObjectMissing
from tasks.outbound import downloads, guarded_transport
from tasks.outbound.address_rules import validate_addresses, validate_url
from tasks.outbound.downloads import WebDownloader
from tasks.outbound.guarded_transport import GuardedBackend, guarded_client
from tasks.run.cancellation import Cancelled, request_cancellation, reset_cancellation
from tasks.settings import EgressSettings
from tasks.storage.resumable_file import PartialFile

BODY = bytes(range(256)) * 2000


@pytest.fixture(autouse=True)
def dialled(monkeypatch) -> list[str]:
    """Every address dialled; a foreign one fails before a packet leaves."""
    numbers: list[str] = []
    real = httpcore.SyncBackend.connect_tcp

    def connect(self, host, port, *more, **named):
        numbers.append(host)
        if host != "127.0.0.1":
            raise httpcore.ConnectError("a test tried to leave this machine")
        return real(self, host, port, *more, **named)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    ask = socket.getaddrinfo

    def answer(host, *more, **named):
        return ask(host, *more, **named) if host == "127.0.0.1" else pytest.fail("a test asked a resolver")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return numbers


def names(**table: str):
    """A resolver with a table: `a_test="1.2.3.4 5.6.7.8"` is a.test."""
    known = {name.replace("_", "."): answer.split() for name, answer in table.items()}

    def resolve(host: str, port: int) -> list[str]:
        if host in known:
            return known[host]
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
        except OSError:
            raise OSError("no such name") from None
        return [host]

    return resolve


def rules(**more) -> EgressSettings:
    return EgressSettings(**({"allow_http": True} | more))


def egress(web=None, **table: str) -> WebDownloader:
    """An egress that may talk to media.test on the test server's port, wherever that resolves to."""
    hosts = () if web is None else (f"media.test:{web.port}", f"other.test:{web.port}")
    named = {"media_test": "127.0.0.1", "other_test": "127.0.0.1"} | table
    return WebDownloader(rules(allowed_hosts=hosts), names(**named))


@pytest.fixture
def part(tmp_path):
    with PartialFile(tmp_path / "x.part", 10**6) as part:
        yield part


# --- addresses and spellings that pass; what is refused is in test_guard_vectors.py


def test_ipv4_in_ipv6_is_judged_as_ipv4():
    assert validate_addresses(["::ffff:1.1.1.1"], trusted=False) == ["::ffff:1.1.1.1"]
    assert validate_addresses(["::ffff:127.0.0.1"], trusted=False) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://media.test/a.mp4?X-Amz-Signature=ab%2Fc",
        "https://MEDIA.test:443/",
        "https://media.test:8443/",
        "http://media.test/",
        "https://bücher.test/",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
        "https://mylocalhost/",
    ],
)
def test_ordinary_spellings_pass(url):
    assert not validate_url(url, rules()).trusted


def test_http_is_refused_unless_switched_on():
    with pytest.raises(InputBlocked):
        validate_url("http://media.test/", EgressSettings())
    validate_url("https://media.test/", EgressSettings())


# --- what an operator allows


def test_an_allowed_host_may_be_private_on_its_port_only(web, dialled):
    web.put("/a", BODY)

    assert egress(web).probe(f"http://media.test:{web.port}/a").size == len(BODY)
    assert dialled == ["127.0.0.1"]
    assert web.asked[0][1]["host"] == f"media.test:{web.port}"
    with pytest.raises(InputBlocked):
        egress(web).probe("http://media.test:80/a")
    with pytest.raises(InputBlocked):
        egress(web).probe(f"http://127.0.0.1:{web.port}/a")


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"])
def test_metadata_addresses_are_refused_to_allowed_hosts_too(web, dialled, address):
    with pytest.raises(InputBlocked):
        egress(web, media_test=address).probe(f"http://media.test:{web.port}/a")
    assert dialled == []


def test_denied_networks_of_the_settings_beat_allowed_hosts(web, dialled):
    closed = rules(allowed_hosts=(f"media.test:{web.port}",), denied_networks=("127.0.0.0/8",))

    with pytest.raises(InputBlocked):
        WebDownloader(closed, names(media_test="127.0.0.1")).probe(f"http://media.test:{web.port}/a")
    assert dialled == []


def test_a_name_that_changes_its_answer_is_judged_at_each_connection(web, dialled):
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    web.put("/a", BODY)
    rebinding = WebDownloader(
        rules(allowed_hosts=(f"media.test:{web.port}",)), lambda host, port: next(answers)
    )

    rebinding.probe(f"http://media.test:{web.port}/a")
    with pytest.raises(InputBlocked):
        rebinding.probe(f"http://media.test:{web.port}/a")
    assert dialled == ["127.0.0.1"]


def test_a_proxy_in_the_environment_is_not_used(web, dialled, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    web.put("/a", BODY)

    egress(web).probe(f"http://media.test:{web.port}/a")
    with pytest.raises(InputBlocked):
        WebDownloader(rules(), names(media_test="10.0.0.1")).probe("https://media.test/a")
    assert dialled == ["127.0.0.1"]


def test_blocked_and_unreachable_read_the_same(dialled):
    with pytest.raises(InputUnreachable) as unreachable:
        WebDownloader(rules(), names()).probe("https://media.test/a?token=secret")
    with pytest.raises(InputBlocked) as denied:
        WebDownloader(rules(), names(media_test="10.0.0.1")).probe("https://media.test/a?token=secret")

    assert type(unreachable.value) is InputUnreachable
    assert str(unreachable.value) == str(denied.value)
    assert (unreachable.value.code, unreachable.value.details) == (denied.value.code, denied.value.details)
    assert "secret" not in str(denied.value)


def test_secrets_of_a_link_are_not_logged(caplog):
    for url in (
        "https://media.test/a?token=secret",
        "https://user:secret@media.test/a",
        "https://media.test/#secret",
    ):
        with pytest.raises(InputUnreachable):
            WebDownloader(rules(), names(media_test="10.0.0.1")).probe(url)
    assert caplog.records
    assert "secret" not in caplog.text


def test_httpx_still_has_the_pool_that_the_guard_replaces():
    backend = GuardedBackend(names(), lambda host, port: False, (), 1e12)
    with guarded_client(backend, httpx.Timeout(1)) as client:
        assert client._transport._pool._network_backend is backend  # type: ignore[attr-defined]
        with pytest.raises(httpx.ConnectError):
            client.get("http://127.0.0.1/")


def test_the_guard_opens_no_unix_sockets():
    with pytest.raises(httpcore.ConnectError):
        GuardedBackend(names(), lambda host, port: True, (), 1e12).connect_unix_socket("/run/docker.sock")


# --- redirects


def test_redirects_are_followed_three_times(web, part):
    for i in range(3):
        web.put(f"/{i}", status=302, headers={"Location": f"/{i + 1}"})
    web.put("/3", BODY)

    egress(web).fetch_into(part, f"http://media.test:{web.port}/0")
    assert part.size == len(BODY)
    web.put("/3", status=302, headers={"Location": "/4"})
    web.put("/4", BODY)
    with pytest.raises(InputBlocked):
        egress(web).probe(f"http://media.test:{web.port}/0")


@pytest.mark.parametrize(
    "target",
    [
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://inner.test/",
        "http://127.0.0.1:{port}/secret",
        "http://localhost:{port}/secret",
        "http://2130706433:{port}/secret",
        "http://user@media.test:{port}/secret",
        "file:///etc/passwd",
        "//169.254.169.254/latest/meta-data",
        "https://media.test:22/",
        "",
    ],
)
def test_each_redirect_is_judged(web, dialled, target):
    web.put("/a", status=302, headers={"Location": target.format(port=web.port)})
    web.put("/secret", b"secret")

    with pytest.raises(InputBlocked) as caught:
        egress(web, inner_test="192.168.0.1").probe(f"http://media.test:{web.port}/a")

    assert {path for path, _ in web.asked} == {"/a"}
    assert str(caught.value).startswith(f"http://media.test:{web.port}/a ")
    assert set(dialled) == {"127.0.0.1"}


def test_no_redirect_leads_from_https_to_http(monkeypatch, web):
    class Answers(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert request.url.scheme == "https"
            return httpx.Response(302, headers={"Location": "http://media.test/a"}, request=request)

    monkeypatch.setattr(
        "tasks.outbound.downloads.guarded_client", lambda backend, timeout: httpx.Client(transport=Answers())
    )
    with pytest.raises(InputBlocked):
        egress().probe("https://media.test/a")


# --- transfers


def test_only_what_the_server_really_serves_is_asked_for(web, part):
    web.put("/a", BODY, headers={"ETag": '"1"'})
    found = egress(web).probe(f"http://media.test:{web.port}/a")
    egress(web).fetch_into(part, found.url, found)

    assert (found.version, found.size, found.has_strong_etag) == ('etag:"1"', len(BODY), True)
    asked = [headers for _, headers in web.asked]
    assert all(headers["accept-encoding"] == "identity" for headers in asked)
    assert all("authorization" not in headers and "cookie" not in headers for headers in asked)
    assert part.path.read_bytes() == BODY


def test_a_broken_transfer_is_continued_where_it_broke(web, part):
    page = web.put("/a", BODY, headers={"ETag": '"1"'})
    found = egress(web).probe(f"http://media.test:{web.port}/a")
    page.cut_after = 100_000

    egress(web).fetch_into(part, found.url, found)

    assert part.path.read_bytes() == BODY
    assert web.asked[-1][1]["range"] == "bytes=100000-"
    assert web.asked[-1][1]["if-range"] == '"1"'


def test_a_part_of_an_earlier_try_is_continued(web, part):
    web.put("/a", BODY, headers={"ETag": '"1"'})
    found = egress(web).probe(f"http://media.test:{web.port}/a")
    part.write(BODY[:1000])
    before = web.sent_bytes

    egress(web).fetch_into(part, found.url, found)

    assert part.path.read_bytes() == BODY
    assert web.sent_bytes - before == len(BODY) - 1000


def test_a_complete_part_needs_no_more_bytes(web, part):
    web.put("/a", BODY, headers={"ETag": '"1"'})
    found = egress(web).probe(f"http://media.test:{web.port}/a")
    part.write(BODY)

    assert egress(web).fetch_into(part, found.url, found) == found
    assert part.path.read_bytes() == BODY


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_of_another_content_is_thrown_away(web, part, ranges):
    web.put("/a", BODY, headers={"ETag": '"1"'})
    found = egress(web).probe(f"http://media.test:{web.port}/a")
    part.write(BODY[:1000])
    web.put("/a", BODY[::-1], headers={"ETag": '"2"'}, ranges=ranges)

    assert egress(web).fetch_into(part, found.url, found).version == 'etag:"2"'
    assert part.path.read_bytes() == BODY[::-1]


def test_without_a_tag_a_broken_transfer_begins_anew(web, part):
    web.put("/a", BODY).cut_after = 100_000

    egress(web).fetch_into(part, f"http://media.test:{web.port}/a")

    assert part.path.read_bytes() == BODY
    assert "range" not in web.asked[-1][1]


def test_weak_tags_and_dates_tell_versions_apart_but_resume_nothing(web, part):
    for headers, version in (
        ({"ETag": 'W/"1"'}, f'weak:W/"1":{len(BODY)}'),
        ({"Last-Modified": "Mon"}, f"modified:Mon:{len(BODY)}"),
        ({}, None),
    ):
        web.put("/a", BODY, headers=headers)
        found = egress(web).probe(f"http://media.test:{web.port}/a")
        assert (found.version, found.has_strong_etag) == (version, False)


def test_a_server_without_ranges_is_looked_at_without_reading_it_all(web):
    web.put("/a", b"x" * 50_000_000, ranges=False)

    assert egress(web).probe(f"http://media.test:{web.port}/a").size == 50_000_000
    assert web.sent_bytes < 50_000_000


def test_bytes_are_counted_as_they_arrive(web, part):
    web.put("/a", b"x" * 2_000_000)

    with pytest.raises(MediaTooLarge):
        egress(web).fetch_into(part, f"http://media.test:{web.port}/a")
    assert part.size == 0


def test_the_announced_size_is_not_trusted(tmp_path):
    endless = _server(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000, times=10_000)
    with PartialFile(tmp_path / "p", 100_000) as part, pytest.raises(MediaTooLarge):
        WebDownloader(rules(allowed_hosts=("127.0.0.1",)), names()).fetch_into(
            part, f"http://127.0.0.1:{endless}/"
        )


def test_compressed_answers_are_refused(web, part):
    web.put("/a", b"\x1f\x8b", headers={"Content-Encoding": "gzip"})

    with pytest.raises(InputUnreachable):
        egress(web).fetch_into(part, f"http://media.test:{web.port}/a")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, ObjectMissing),
        (410, ObjectMissing),
        (403, InputUnreachable),
        (500, InputUnreachable),
        (204, InputUnreachable),
    ],
)
def test_other_answers_are_errors_without_the_servers_words(web, status, kind):
    web.put("/a", b"internal secrets" if status != 204 else b"", status=status)

    with pytest.raises(kind) as caught:
        egress(web).probe(f"http://media.test:{web.port}/a")
    assert "secrets" not in str(caught.value)


def _server(head: bytes, block: bytes, times: int, pause_s: float = 0.0) -> int:
    """A server that sends raw bytes to one caller, block by block; returns its port."""
    import threading
    import time

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        caller, _ = listener.accept()
        with caller, listener:
            try:
                caller.recv(10_000)
                caller.sendall(head)
                for _ in range(times):
                    time.sleep(pause_s)
                    caller.sendall(block)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
def test_a_server_that_drips_is_given_up_at_the_deadline(part, head):
    import time

    port = _server(head, b"x", times=1000, pause_s=0.05)  # 50 s
    slow = rules(allowed_hosts=("127.0.0.1",), total_timeout_s=0.4, first_byte_timeout_s=0.2)
    began = time.monotonic()

    with pytest.raises(InputUnreachable):
        WebDownloader(slow, names()).fetch_into(part, f"http://127.0.0.1:{port}/")
    assert time.monotonic() - began < 25


def test_a_silent_server_is_given_up(part):
    import time

    port = _server(b"", b"", times=1, pause_s=50)
    impatient = rules(allowed_hosts=("127.0.0.1",), first_byte_timeout_s=0.1)
    began = time.monotonic()

    with pytest.raises(InputUnreachable):
        WebDownloader(impatient, names()).probe(f"http://127.0.0.1:{port}/")
    assert time.monotonic() - began < 25


def test_the_real_resolver_gives_addresses_as_text(monkeypatch):
    def answers(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.2.3.4", port))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)

    assert list(guarded_transport.resolve_host("media.test", 443)) == ["1.2.3.4"]


# --- TLS


@pytest.fixture
def https(tmp_path, monkeypatch):
    """A TLS server for the name media.test, on loopback; its certificate is the only one trusted."""
    import datetime
    import ssl
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "media.test")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("media.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = HTTPServer(("127.0.0.1", 0), Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    trusting = ssl.create_default_context(cafile=pem)
    monkeypatch.setattr(guarded_transport, "_tls_context", lambda: trusting)
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_certificates_are_checked_for_the_name_and_not_the_address_dialled(https, part):
    hosts = rules(allowed_hosts=(f"media.test:{https}", f"other.test:{https}"))
    known = names(media_test="127.0.0.1", other_test="127.0.0.1")

    WebDownloader(hosts, known).fetch_into(part, f"https://media.test:{https}/a")
    assert part.path.read_bytes() == b"hello"
    with pytest.raises(InputUnreachable):
        WebDownloader(hosts, known).probe(f"https://other.test:{https}/a")


@pytest.mark.parametrize("digits", ["9" * 5000, "²", "-1", "1e9", " "])
def test_a_size_that_is_no_size_is_not_taken_for_one(web, part, digits):
    web.put("/a", BODY, status=206, headers={"Content-Range": f"bytes 0-0/{digits}"}, ranges=False)
    web.put("/b", BODY, status=206, headers={"Content-Range": f"bytes {digits}-9/*"}, ranges=False)

    assert egress(web).probe(f"http://media.test:{web.port}/a").size is None
    with pytest.raises(InputUnreachable):
        egress(web).fetch_into(part, f"http://media.test:{web.port}/b")


def test_the_wait_for_a_host_does_not_count_against_the_deadline(part):
    import threading
    import time

    port = _server(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"abc", times=1)
    one_at_a_time = rules(allowed_hosts=("127.0.0.1",), total_timeout_s=1, per_host=1)
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with downloads._host_slot("127.0.0.1", 1):
            held.set()
            leave.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(20)
    threading.Timer(1.5, leave.set).start()
    began = time.monotonic()

    assert WebDownloader(one_at_a_time, names()).fetch_into(part, f"http://127.0.0.1:{port}/").size == 3
    assert time.monotonic() - began > 1.4
    holder.join()


def test_a_host_is_forgotten_with_its_last_download_and_a_canceled_job_waits_no_longer():
    import threading
    import time

    with downloads._host_slot("media.test", 1):
        threading.Timer(0.3, request_cancellation).start()
        began = time.monotonic()
        try:
            with pytest.raises(Cancelled), downloads._host_slot("media.test", 1):
                pytest.fail("there is one connection only")
        finally:
            reset_cancellation()
        assert time.monotonic() - began < 1.3
        assert set(downloads._host_slots) == {("media.test", 1)}
    assert downloads._host_slots == {}
