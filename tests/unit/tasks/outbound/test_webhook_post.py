"""One POST: what counts, what is kept, and where it never goes."""

import socket
import threading

import pytest
from receiver import receiving

from tasks.outbound import guarded_transport
from tasks.outbound.webhook_post import MAX_KEPT_BODY_BYTES, post_webhook
from tasks.settings import EgressSettings

BODY = b'{"type":"job.completed"}'


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


def rules(receiver, **more):
    return EgressSettings(**{"allow_http": True, "allowed_hosts": (receiver.host,)} | more)


def test_the_bytes_and_headers_arrive(receiver):
    receiver.will(202, body=b"thanks")

    answer = post_webhook(receiver.url, BODY, {"webhook-id": "msg_1"}, rules(receiver))

    assert (answer.response.status, answer.body, answer.failure) == (202, "thanks", None)
    (got,) = receiver.got
    assert (got.path, got.body, got.id) == ("/hook", BODY, "msg_1")
    assert got.headers["content-type"] == "application/json"


def test_the_beginning_of_a_long_answer_is_kept(receiver):
    receiver.will(500, body="ä".encode() * 100_000)

    assert len(post_webhook(receiver.url, BODY, {}, rules(receiver)).body.encode()) == MAX_KEPT_BODY_BYTES


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver, status):
    receiver.will(status, {"Location": receiver.url + "/elsewhere"})

    answer = post_webhook(receiver.url, BODY, {}, rules(receiver))

    assert answer.response.status == status and not answer.response.is_success
    assert len(receiver.got) == 1


def test_the_wish_for_time_is_passed_on(receiver):
    receiver.will(503, {"Retry-After": "77"})

    assert post_webhook(receiver.url, BODY, {}, rules(receiver)).response.retry_after == "77"


def test_forbidden_and_closed_sound_the_same(receiver):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        closed = post_webhook(
            f"http://127.0.0.1:{port}/", BODY, {}, rules(receiver, allowed_hosts=("127.0.0.1",))
        )
    by_port = post_webhook(receiver.url, BODY, {}, EgressSettings(allow_http=True))
    by_scheme = post_webhook(receiver.url, BODY, {}, rules(receiver, allow_http=False))

    assert receiver.got == []
    assert closed.failure and closed.failure == by_port.failure == by_scheme.failure
    assert closed.response == by_port.response == by_scheme.response and closed.response.status is None
    assert (closed.is_blocked, by_port.is_blocked, by_scheme.is_blocked) == (False, True, True)


FORBIDDEN = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "100.100.100.200"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_packet_leaves_for_an_address_behind_a_public_name(address, monkeypatch):
    dialled = []
    monkeypatch.setattr(guarded_transport.GuardedBackend, "_dial", lambda *args: dialled.append(args))

    answer = post_webhook(
        "https://hook.test/", BODY, {}, EgressSettings(), resolve=lambda host, port: [address]
    )

    assert dialled == [] and answer.response.status is None and answer.is_blocked


@pytest.mark.parametrize("error", [OSError("no route"), UnicodeError("no name")])
def test_a_name_that_does_not_resolve_now_may_resolve_later(error):
    def resolve(host, port):
        raise error

    answer = post_webhook("https://hook.test/", BODY, {}, EgressSettings(), resolve=resolve)
    assert answer.response.status is None and not answer.is_blocked


def test_a_name_is_judged_at_every_delivery(receiver):
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    url = f"http://hook.test:{receiver.port}/hook"
    allowed = rules(receiver, allowed_hosts=(f"hook.test:{receiver.port}",), denied_networks=("10.0.0.0/8",))

    def once_more():
        return post_webhook(url, BODY, {}, allowed, resolve=lambda host, port: next(answers)).response.status

    assert (once_more(), once_more()) == (204, None)
    assert len(receiver.got) == 1


def test_a_proxy_in_the_environment_is_not_asked(receiver, monkeypatch):
    with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post_webhook(receiver.url, BODY, {}, rules(receiver)).response.status == 204
        assert proxy.got == [] and len(receiver.got) == 1


def test_a_receiver_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        allowed = EgressSettings(allow_http=True, allowed_hosts=(f"127.0.0.1:{port}",))

        answer = post_webhook(f"http://127.0.0.1:{port}/", BODY, {}, allowed, timeout_s=0.2)

    assert answer.response.status is None


def test_a_receiver_that_drips_is_given_up():
    stop = threading.Event()

    def drip(listener):
        connection, _ = listener.accept()
        with connection:
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
                if stop.wait(0.05):
                    return
                connection.sendall(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        allowed = EgressSettings(allow_http=True, allowed_hosts=(f"127.0.0.1:{port}",))
        answer = post_webhook(f"http://127.0.0.1:{port}/", BODY, {}, allowed, timeout_s=0.3)
        stop.set()
        thread.join()

    assert answer.response.status is None
