"""
Every way we know to reach what must not be reached, against the guard: with a made-up resolver, and a dialler
that only writes down what it is asked for.
"""

import ipaddress
import socket

import httpcore
import pytest
from guard_vectors import NETWORKS, PUBLIC, PUBLIC_ADDRESSES, VECTORS

from tasks.errors import InputBlocked, InputUnreachable
from tasks.outbound.address_rules import DENIED_NETWORKS
from tasks.outbound.downloads import WebDownloader
from tasks.outbound.webhook_post import post_webhook
from tasks.settings import EgressSettings

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
FOUND = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret"


class Dialler:
    """Opens nothing: writes down whom it was to reach, and answers as the first server or with the secret."""

    def __init__(self):
        self.dialled, self.redirect = [], None

    def connect(self, host, port):
        self.dialled.append(host)
        if self.redirect is not None and len(self.dialled) == 1:
            return httpcore.MockStream([self.moved(self.redirect)])
        return httpcore.MockStream([FOUND])

    @staticmethod
    def moved(target):
        head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: "
        return head + target.encode().replace(b"\r", b"%0D").replace(b"\n", b"%0A") + b"\r\n\r\n"


@pytest.fixture(autouse=True)
def dialler(monkeypatch):
    dialler = Dialler()
    monkeypatch.setattr(
        httpcore.SyncBackend, "connect_tcp", lambda self, host, port, *_, **__: dialler.connect(host, port)
    )

    def forbidden(*_, **__):
        pytest.fail("a packet or a question would have left")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    return dialler


def resolver(answers):
    """Literal addresses are themselves; any name gives the next answer."""
    left = list(answers)

    def resolve(host, port):
        try:
            return [str(ipaddress.ip_address(host.strip("[]")))]
        except ValueError:
            return list(left.pop(0) if len(left) > 1 else left[0])

    return resolve


def rules(vector):
    return EgressSettings(allow_http=True, allowed_hosts=("media.test",) if vector.allowed else ())


@pytest.fixture(params=VECTORS)
def vector(request, dialler, monkeypatch):
    vector = VECTORS[request.param]
    dialler.redirect = vector.redirect
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        if vector.proxies:
            monkeypatch.setenv(name, "http://127.0.0.1:9")
    return vector


def test_nothing_is_fetched(vector, dialler):
    with pytest.raises(InputUnreachable) as refused:  # blocked is one kind of it, and reads the same
        WebDownloader(rules(vector), resolver(vector.answers)).probe(vector.url)

    assert "secret" not in str(refused.value) and PUBLIC not in str(refused.value)
    assert dialler.dialled == ([] if vector.redirect is None else [PUBLIC])


def test_no_webhook_is_sent(vector, dialler):
    answer = post_webhook(vector.url, b"{}", {}, rules(vector), resolve=resolver(vector.answers))

    if vector.redirect is None:
        assert (answer.response.status, answer.body, dialler.dialled) == (None, "", [])
    else:  # its own address is a public one; where that sends it is not followed
        assert answer.response.status in {302, None} and dialler.dialled == [PUBLIC]


@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_are_dialled_and_nothing_else(dialler, monkeypatch, address, proxied):
    for name in PROXIES:
        if proxied:
            monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert WebDownloader(EgressSettings(), resolver(((address,),))).probe("https://media.test/a").size == 6
    assert dialler.dialled == [address]


def test_a_redirect_between_public_addresses_is_followed(dialler):
    dialler.redirect = "https://other.test/b"

    assert (
        WebDownloader(EgressSettings(), resolver(((PUBLIC,), ("1.1.1.1",))))
        .probe("https://media.test/a")
        .size
        == 6
    )
    assert dialler.dialled == [PUBLIC, "1.1.1.1"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("embedded null"),
        OverflowError("port"),
        UnicodeError("label too long"),
        OSError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_resolver_may_raise_is_an_unreachable_address(dialler, error):
    def resolve(host, port):
        raise error

    with pytest.raises(InputUnreachable):
        WebDownloader(EgressSettings(), resolve).probe("https://media.test/a")
    assert post_webhook("https://media.test/a", b"{}", {}, EgressSettings(), resolve=resolve).failure
    assert dialler.dialled == []


def test_an_allowed_host_may_have_a_private_address_in_any_form(dialler):
    rules = EgressSettings(allowed_hosts=("media.test",))
    for number, address in enumerate(["10.0.0.9", "::ffff:10.0.0.9", "64:ff9b::a00:9", "fd12::9"], 1):
        assert WebDownloader(rules, resolver(((address,),))).probe("https://media.test/a").size == 6
        assert dialler.dialled == [*dialler.dialled[: number - 1], address]


@pytest.mark.parametrize("url", ["https://xn--1-/a.mp4", "https://a.xn--1-.test/"])
@pytest.mark.parametrize("redirected", [False, True])
def test_a_name_that_is_no_name_is_blocked(dialler, url, redirected):
    dialler.redirect = url if redirected else None

    with pytest.raises(InputBlocked):
        WebDownloader(EgressSettings(), resolver(((PUBLIC,),))).probe(
            "https://media.test/a" if redirected else url
        )


def test_the_table_is_as_long_as_it_looks():
    assert len(VECTORS) == len(set(VECTORS.values())) == 810
    assert len(set(PUBLIC_ADDRESSES)) == len(PUBLIC_ADDRESSES) >= 10


def test_the_networks_of_the_table_are_those_of_the_guard():
    mapped = ipaddress.ip_network("::ffff:0:0/96")  # is judged as what it carries

    assert {ipaddress.ip_network(text) for text in NETWORKS} | {mapped} == set(DENIED_NETWORKS)
