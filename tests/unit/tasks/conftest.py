"""Settings, object stores and small web servers for tests. Everything is on this machine."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasks.cache import artefacts
from tasks.settings import Settings, get_settings
from tasks.storage import s3_clients
from tasks.storage.home_store import _open_store


def forget_everything() -> None:
    """Drop what the process remembers of earlier settings; clients are kept by their settings."""
    for remembered in (get_settings, _open_store, artefacts._open_cache):
        remembered.cache_clear()


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Settings]]:
    """Set MUSETALK_ variables for this test: `configure(store__cache_bytes=1)`; a home is set already."""

    def set_variables(**variables: object) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(f"MUSETALK_{name.upper()}", str(value))
        forget_everything()
        return get_settings()

    set_variables(home=tmp_path / "home", store__min_free_bytes=0)
    yield set_variables
    forget_everything()


@dataclass
class Bucket:
    """A bucket of its own for one test, and what our client sent to it."""

    name: str
    client: Any
    sent: list[tuple[str, str, str]] = field(default_factory=list)
    watched: Any = None

    def put(self, key: str, body: bytes) -> str:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)
        return f"s3://{self.name}/{key}"

    def listed(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return [entry["Key"] for entry in found]

    def body(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def methods(self) -> list[str]:
        return [method for method, _, _ in self.sent]

    def ranges(self) -> list[str]:
        return [span for method, _, span in self.sent if method == "GET"]

    def watch(self) -> None:
        """Record what the client of `tasks.storage.s3_store` sends from now on: method, URL, Range."""
        import os

        self.sent.clear()
        ours = s3_clients.client(get_settings().s3, False, os.getpid())

        self.stop_watching()
        self.watched = ours
        ours.meta.events.register("before-send.s3", self.record)

    def stop_watching(self) -> None:
        if self.watched is not None:
            self.watched.meta.events.unregister("before-send.s3", self.record)

    def record(self, request: Any, **_: Any) -> None:
        span = request.headers.get("Range", b"")
        text = span.decode() if isinstance(span, bytes) else span
        self.sent.append((request.method, request.url, text))


@pytest.fixture(scope="session")
def s3_client(s3_endpoint: str) -> Any:
    import boto3

    session = boto3.Session("test", "test", region_name="us-east-1")
    return session.client("s3", endpoint_url=s3_endpoint)


@pytest.fixture
def bucket(
    s3_endpoint: str, s3_client: Any, configure: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    configure(s3__endpoint_url=s3_endpoint, s3__force_path_style="true", s3__region="us-east-1")
    name = f"test-{uuid4().hex[:12]}"
    s3_client.create_bucket(Bucket=name)
    bucket = Bucket(name, s3_client)
    yield bucket
    bucket.stop_watching()


@dataclass
class Page:
    """Response of the test server for one path."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None
    """Close the connection after so many bytes, once."""


@dataclass
class Web:
    """A web server on loopback with made-up pages, and what it was asked."""

    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent_bytes: int = 0

    def put(self, path: str, body: bytes = b"", **more: Any) -> Page:
        self.pages[path] = Page(body, **more)
        return self.pages[path]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
def web() -> Iterator[Web]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.web = Web(server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.web  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        web: Web = self.server.web  # type: ignore[attr-defined]
        headers = {name.lower(): value for name, value in self.headers.items()}
        web.asked.append((self.path, headers))
        page = web.pages.get(self.path, Page(status=404))
        body, status, answer = page.body, page.status, dict(page.headers)
        span = headers.get("range", "")
        holds = headers.get("if-range") in (None, answer.get("ETag"))
        if status == 200 and page.ranges and span and holds:
            first, _, last = span.removeprefix("bytes=").partition("-")
            if int(first) >= len(body):
                status, body = 416, b""
                answer["Content-Range"] = f"bytes */{len(page.body)}"
            else:
                body = body[int(first) : int(last) + 1 if last else None]
                status = 206
                answer["Content-Range"] = f"bytes {first}-{int(first) + len(body) - 1}/{len(page.body)}"
        self.send_response(status)
        for name, value in answer.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        cut, page.cut_after = (page.cut_after, None) if len(body) > 1 else (None, page.cut_after)
        body = body if cut is None else body[:cut]
        blocks = [body[at : at + (1 << 16)] for at in range(0, len(body), 1 << 16)]
        # each is counted before what it goes with: a caller may be content with the headers, and look at once
        web.sent_bytes += len(blocks[0]) if blocks else 0
        self.end_headers()
        try:
            for number, block in enumerate(blocks):
                web.sent_bytes += len(block) if number else 0
                self.wfile.write(block)
        except ConnectionError:
            return
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""
