"""The Python client sends big files resumably, over lines that break."""

import hashlib
import random
import socket
import threading
from urllib.parse import urlsplit

import httpx
import pytest

from api import resumable_client
from api.client import ApiUnreachable, MusetalkClient, RequestRejected
from tasks.catalog.assets import asset_key, asset_name
from tasks.storage.home_store import home_store

SIZE = (8 << 20) + 12345


class BreakingProxy:
    """Passes bytes to a server, and resets each of its first connections after some bytes."""

    def __init__(self, server, cuts):
        self.server, self.cuts = urlsplit(server), list(cuts)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.broken = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client):
        with client, socket.create_connection((self.server.hostname, self.server.port)) as server:
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()
            passed = 0
            while block := client.recv(65536):
                server.sendall(block)
                passed += len(block)
                if self.cuts and passed > self.cuts[0]:
                    self.cuts.pop(0)
                    self.broken += 1
                    for end in (client, server):
                        end.shutdown(socket.SHUT_RDWR)
                    return

    @staticmethod
    def _answer(server, client):
        try:
            while block := server.recv(65536):
                client.sendall(block)
        except OSError:
            return


@pytest.fixture
def breaking(server, monkeypatch):
    monkeypatch.setattr(resumable_client, "_FIRST_DELAY_S", 0.05)
    proxies = []

    def make(*cuts):
        proxies.append(BreakingProxy(server, cuts))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.listener.close()


@pytest.fixture
def big(tmp_path):
    path = tmp_path / "anna clip.mp4"
    path.write_bytes(random.Random(3).randbytes(SIZE))
    return path


def stored(uri):
    return hashlib.sha256(b"".join(home_store().read(asset_key(uri.removeprefix("asset://"))))).hexdigest()


def test_a_big_file_arrives_once_and_whole_over_a_line_that_breaks_five_times(breaking, big):
    proxy = breaking(1 << 20, 1000, 3 << 20, 500_000, 2 << 20)

    uri = MusetalkClient(proxy.address).upload(big)

    assert proxy.broken == 5
    assert stored(uri) == hashlib.sha256(big.read_bytes()).hexdigest()
    assert asset_name(uri.removeprefix("asset://")) == "anna clip.mp4"
    assert len([info for info in home_store().list("assets/") if info.key.endswith("/data")]) == 1


def test_the_rest_of_an_open_file_is_sent(server, big):
    with big.open("rb") as file:
        file.seek(345)
        uri = MusetalkClient(server).upload_stream(file, "rest", SIZE - 345)
    assert stored(uri) == hashlib.sha256(big.read_bytes()[345:]).hexdigest()


def test_a_line_that_always_breaks_is_given_up(breaking, big, monkeypatch):
    monkeypatch.setattr(resumable_client, "_FIRST_DELAY_S", 0.001)
    proxy = breaking(*[50] * 100)
    with pytest.raises(ApiUnreachable, match="Cannot reach the API"):
        MusetalkClient(proxy.address).upload(big)
    assert proxy.broken < 30


def test_what_the_server_refuses_is_reported_at_once(environment, request, big):
    environment.setenv("MUSETALK_API__MAX_UPLOAD_BYTES", "1000000")
    server = request.getfixturevalue("server")
    with pytest.raises(RequestRejected, match="input_too_large"):
        MusetalkClient(server).upload(big)


def test_a_server_without_resumable_uploads_gets_the_file_in_one_request(big):
    asked = []

    def answer(request):
        asked.append((request.method, request.url.path, len(request.read())))
        if request.url.path == "/v1/uploads":
            return httpx.Response(404, json={"code": "not_found", "detail": "Endpoint not found"})
        return httpx.Response(201, json={"id": "1", "uri": "asset://1", "name": "a"})

    client = MusetalkClient("http://api.invalid")
    client._http = httpx.Client(base_url=client.server, transport=httpx.MockTransport(answer))
    assert client.upload(big) == "asset://1"
    assert asked == [("POST", "/v1/uploads", 0), ("POST", "/v1/assets", SIZE)]
