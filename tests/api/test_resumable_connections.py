"""Resumable uploads over connections that break, over a server that is killed, and beside each other."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.http import upload_locks
from tasks.catalog.assets import asset_key
from tasks.storage.home_store import home_store

TUS = {"Tus-Resumable": "1.0.0"}
MB = 1 << 20


class Line:
    """A raw connection that sends a part of a PATCH."""

    def __init__(self, server, url, offset, length):
        where = urlsplit(server)
        self.socket = socket.create_connection((where.hostname, where.port), timeout=60)
        self.socket.sendall(
            f"PATCH {url} HTTP/1.1\r\nHost: {where.netloc}\r\nTus-Resumable: 1.0.0\r\n"
            f"Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\n"
            f"Content-Length: {length}\r\n\r\n".encode()
        )

    def send(self, data):
        self.socket.sendall(data)

    def kill(self):
        """Reset the connection, as a lost one is."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.socket.close()

    def answer(self):
        text = b""
        while b"\r\n\r\n" not in text and (block := self.socket.recv(65536)):
            text += block
        return text.decode()


def new_upload(server, size):
    answer = httpx.post(
        f"{server}/v1/uploads", headers=TUS | {"Upload-Length": str(size)}, trust_env=False, timeout=60
    )
    assert answer.status_code == 201
    return answer.headers["location"]


def state(server, url):
    return httpx.get(f"{server}{url}", trust_env=False, timeout=60).json()


def offset_when_quiet(server, url):
    """Read the offset as soon as it stays the same: the server needs a moment to notice a dead connection."""
    before, until = -1, time.monotonic() + 20
    while time.monotonic() < until:
        offset = state(server, url)["offset"]
        if offset == before:
            return offset
        before = offset
        time.sleep(0.1)
    raise AssertionError("the offset does not settle")


def wait_until(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def cut_five_times(server, data):
    """Upload over five connections that are killed at odd places, and one that is not."""
    url, offsets = new_upload(server, len(data)), []
    for cut in (1, 70_001, MB + 3, len(data) // 3, len(data) // 2):
        offset = offset_when_quiet(server, url)
        assert offset >= (offsets[-1] if offsets else 0)
        offsets.append(offset)
        line = Line(server, url, offset, len(data) - offset)
        line.send(data[offset : offset + cut])
        time.sleep(0.1)
        line.kill()
    offset = offset_when_quiet(server, url)
    assert 0 < offset < len(data)
    line = Line(server, url, offset, len(data) - offset)
    line.send(data[offset:])
    answer = line.answer()
    assert answer.startswith("HTTP/1.1 204") and "upload-asset: asset://" in answer.lower()
    return url.rpartition("/")[2], offset


def digest_of(asset):
    digest = hashlib.sha256()
    for block in home_store().read(asset_key(asset)):
        digest.update(block)
    return digest.hexdigest()


def test_five_killed_connections_lose_nothing(server):
    data = random.Random(1).randbytes(8 * MB)
    asset, _ = cut_five_times(server, data)
    assert digest_of(asset) == hashlib.sha256(data).hexdigest()
    assert state(server, f"/v1/uploads/{asset}")["asset"]["uri"] == f"asset://{asset}"
    assert [info.key for info in home_store().list("assets/")] == [
        f"assets/{asset}/asset.json",
        f"assets/{asset}/data",
    ]


def test_five_killed_connections_lose_nothing_in_a_bucket(s3_store, request):
    data = random.Random(2).randbytes(20 * MB)
    asset, resumed_at = cut_five_times(request.getfixturevalue("server"), data)
    assert digest_of(asset) == hashlib.sha256(data).hexdigest()
    assert resumed_at % (8 * MB)  # a tail was stored
    assert list(home_store().pending_uploads()) == []


def test_two_requests_at_once(server):
    data = os.urandom(MB)
    url = new_upload(server, len(data))
    first = Line(server, url, 0, len(data))
    first.send(data[: MB // 2])
    wait_until(lambda: state(server, url)["offset"] >= MB // 4)

    offset = state(server, url)["offset"]
    second = Line(server, url, offset, len(data) - offset)
    assert second.answer().startswith("HTTP/1.1 423")
    deleted = httpx.delete(f"{server}{url}", headers=TUS, trust_env=False)
    assert (deleted.status_code, deleted.json()["code"]) == (423, "upload_locked")
    assert deleted.headers["retry-after"] == "1"
    first.send(data[MB // 2 :])
    assert first.answer().startswith("HTTP/1.1 204")
    assert digest_of(url.rpartition("/")[2]) == hashlib.sha256(data).hexdigest()


def test_a_connection_that_broke_silently_is_replaced(server, monkeypatch):
    monkeypatch.setattr(upload_locks, "IDLE_S", 0.3)
    data = os.urandom(MB)
    url = new_upload(server, len(data))
    silent = Line(server, url, 0, len(data))
    silent.send(data[:1000])
    time.sleep(0.6)

    def resumed():
        offset = state(server, url)["offset"]
        line = Line(server, url, offset, len(data) - offset)
        line.send(data[offset:])
        return line.answer()

    answers = [resumed(), resumed()]  # the first may have read the offset before the bytes were stored
    assert any(answer.startswith("HTTP/1.1 204") for answer in answers), answers
    assert silent.answer().startswith("HTTP/1.1 408")
    assert digest_of(url.rpartition("/")[2]) == hashlib.sha256(data).hexdigest()


def test_open_transfers_are_limited_per_tenant(environment, request):
    environment.setenv("MUSETALK_API__MAX_OPEN_UPLOADS", "1")
    server = request.getfixturevalue("server")
    first, second = new_upload(server, 10), new_upload(server, 10)
    line = Line(server, first, 0, 10)
    line.send(b"12345")
    wait_until(
        lambda: Line(server, second, 0, 10).answer().startswith("HTTP/1.1 429"),
    )
    line.send(b"67890")
    assert line.answer().startswith("HTTP/1.1 204")


def peak_memory(process):
    """Return the peak resident memory of a process in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.fixture
def start_api(tmp_path):
    """Start the API as a process of its own on a home that stays the same."""
    running = []

    def start():
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = os.environ | {"MUSETALK_HOME": str(tmp_path / "home"), "MUSETALK_API__KEYS": ""}
        command = "uvicorn --factory api.main:create_app --log-level warning --host 127.0.0.1 --port"
        process = subprocess.Popen([sys.executable, "-m", *command.split(), str(port)], env=environment)
        running.append(process)
        server = f"http://127.0.0.1:{port}"

        def answers():
            try:
                return httpx.get(f"{server}/healthz", trust_env=False).is_success
            except httpx.TransportError:
                return False

        wait_until(answers)
        return process, server

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.slow  # starts two servers
def test_a_killed_server_continues_in_bounded_memory(start_api, tmp_path):
    size, block = 300_000_000, bytes(MB)
    process, server = start_api()
    url = new_upload(server, size)
    before = peak_memory(process)
    line = Line(server, url, 0, size)
    for _ in range(150):
        line.send(block)
    process.send_signal(signal.SIGKILL)  # with bytes of the body on their way
    process.wait()

    process, server = start_api()
    offset = state(server, url)["offset"]
    assert 100 * MB < offset <= 150 * MB
    line = Line(server, url, offset, size - offset)
    for start in range(offset, size, len(block)):
        line.send(block[: size - start])
    assert line.answer().startswith("HTTP/1.1 204")
    assert peak_memory(process) - before < 40_000_000
    stored = tmp_path / "home" / "store" / asset_key(url.rpartition("/")[2])
    assert stored.stat().st_size == size
    with stored.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == hashlib.sha256(bytes(size)).hexdigest()
