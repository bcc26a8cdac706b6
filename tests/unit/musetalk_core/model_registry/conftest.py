"""A model hub on loopback that speaks the file API of hubs, and a manifest without the outside world."""

import hashlib
import os
import pickle
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from musetalk_core.model_registry.registry import MODELS
from musetalk_core.model_registry.schema import File, Hub, Model
from tasks.models import hub as hub_module
from tasks.models.install import open_local_models
from tasks.settings import get_settings

REPOSITORY = Path(__file__).resolve().parents[4]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BLOCK = 1 << 14


def torch_like(size: int, seed: int = 0) -> bytes:
    """Bytes that pass for a file of torch before 1.6: header, a state dict of one tensor, then noise."""
    tensor = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00."
    header = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})) + tensor
    return (header + random.Random(seed).randbytes(max(size - len(header), 0)))[:size]


@dataclass
class Served:
    """A file of the hub."""

    body: bytes
    large: bool
    """Kept in another host's storage, and its ETag is its SHA-256; else served here, with a Git hash."""
    cut_after: list[int] = field(default_factory=list)
    """How many bytes each of the next answers gives before the line breaks."""
    statuses: list[int] = field(default_factory=list)
    """Answers of the next requests, instead of the file."""
    pause_s: float = 0.0
    """Between two blocks of 16 kB."""
    etag: str | None = None
    ranges: bool = True

    @property
    def tag(self) -> str:
        git = hashlib.sha1(b"blob %d\0" % len(self.body) + self.body).hexdigest()
        return self.etag or (hashlib.sha256(self.body).hexdigest() if self.large else git)


@dataclass
class Asked:
    method: str
    host: str
    path: str
    headers: dict[str, str]


@dataclass
class FakeHub:
    port: int
    files: dict[str, Served] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = "open-sesame"
    commit: str = COMMIT
    is_hub: bool = True
    """Else an ordinary web server: no commit, no ETag."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, name: str, body: bytes, large: bool = True) -> Served:
        """Offer a file under `owner/repo/path`."""
        self.files[name] = Served(body, large)
        return self.files[name]

    def ranges(self, name: str) -> list[str | None]:
        """The Range of every answer that carried bytes of a file."""
        return [
            a.headers.get("range") for a in self.asked if a.method == "GET" and a.path == f"/storage/{name}"
        ]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> FakeHub:
        return self.server.hub  # type: ignore[attr-defined]

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.hub.lock:
            self.hub.asked.append(Asked(self.command, headers["host"], self.path, headers))
        if self.path.startswith("/storage/"):
            self.give(self.path.removeprefix("/storage/"), with_body, headers)
            return
        repo, _, rest = self.path[1:].partition("/resolve/")
        revision, _, file = rest.partition("/")
        served = self.hub.files.get(f"{repo}/{file}")
        if repo in self.hub.gated and headers.get("authorization") != f"Bearer {self.hub.token}":
            self.refuse(401, "GatedRepo")
        elif served is None or revision not in ("main", COMMIT):
            self.refuse(404, "EntryNotFound")
        elif served.statuses:
            self.refuse(served.statuses.pop(0), "")
        elif served.large:
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.hub.port}/storage/{repo}/{file}")
            self.common(served)
            self.send_header("X-Linked-Size", str(len(served.body)))
            self.send_header("X-Linked-ETag", f'"{served.tag}"')
            self.send_header("X-Xet-Hash", "ab" * 32)  # also to be had by a protocol that is not used here
            self.send_header("X-Xet-Refresh-Route", f"{self.hub.url}/api/models/{repo}/xet-read-token/main")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.give(f"{repo}/{file}", with_body, headers)

    def common(self, served: Served) -> None:
        if not self.hub.is_hub:
            return
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{served.tag}"')
        self.send_header("Accept-Ranges", "bytes")

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def give(self, name: str, with_body: bool, headers: dict[str, str]) -> None:
        served = self.hub.files[name]
        body, span = served.body, headers.get("range") if served.ranges else None
        begin, _, end = (span or "bytes=0-").removeprefix("bytes=").partition("-")
        first, last = int(begin), int(end) if end else len(body) - 1
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        self.common(served)
        body = body[first : last + 1]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not with_body:
            return
        if served.cut_after and len(body) > 1:
            body = body[: served.cut_after.pop(0)]
            self.close_connection = True
        for at in range(0, len(body), BLOCK):
            try:
                self.wfile.write(body[at : at + BLOCK])
            except ConnectionError:
                return
            with self.hub.lock:
                self.hub.sent[name] = self.hub.sent.get(name, 0) + len(body[at : at + BLOCK])
            time.sleep(served.pause_s)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[FakeHub]:
    server = Listener(("127.0.0.1", 0), Handler)
    server.hub = FakeHub(server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("MUSETALK_WEIGHTS__ENDPOINT", server.hub.url)  # type: ignore[attr-defined]
    monkeypatch.setattr(hub_module, "_RETRY_DELAYS_S", (0.01,) * 5)
    get_settings.cache_clear()
    yield server.hub  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, no hub but the one above, and nothing of what this computer may have already."""
    for name in [n for n in os.environ if n.startswith(("HF_", "MUSETALK_")) or n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MUSETALK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MUSETALK_STORE__MIN_FREE_BYTES", "0")
    monkeypatch.setenv("MUSETALK_WEIGHTS__ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-library"))
    get_settings.cache_clear()
    yield tmp_path / "home"
    get_settings.cache_clear()


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def resolve(host: object, *more: object, **named: object) -> object:
        assert host in ("127.0.0.1", "localhost", "::1"), f"a test asked for {host}"
        return real(host, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.fixture
def torch_bytes():
    """`torch_bytes(n, seed)`: bytes that pass for a file of torch's."""
    return torch_like


class Silent:
    """Watches nothing but counts."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bytes = 0

    def begin(self, file: str, size: int | None) -> None:
        self.lines.append(f"begin {file} {size}")

    def advance(self, n: int, /) -> None:
        self.bytes += n

    def end(self, file: str, how: str) -> None:
        self.lines.append(f"end {file} {how}")


@pytest.fixture
def watch() -> Silent:
    return Silent()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch):
    """Add a model to the manifest, or change one, for this test."""

    def put(name: str, *files: File, **more: object) -> Model:
        model = Model(name, name, "none", name, files, **more)  # type: ignore[arg-type]
        monkeypatch.setitem(MODELS, name, model)  # type: ignore[arg-type]
        return model

    return put


@pytest.fixture
def net(known, hub):
    """A model `net` of one large file on the hub; returns its bytes and the served file."""
    body = torch_like(1_000_000)
    known("net", File("net/net.pth", "weights", Hub("someone/net", "net.pth"), len(body)))
    return body, hub.put("someone/net/net.pth", body)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch):
    """Change the record of a model's only file."""

    def change(name: str, **fields: object) -> None:
        model = MODELS[name]
        file = replace(model.files[0], **fields)  # type: ignore[arg-type]
        monkeypatch.setitem(MODELS, name, replace(model, files=(file,)))  # type: ignore[arg-type]

    return change


@pytest.fixture
def left():
    """Everything in the models folder but what is remembered, as relative paths."""

    def names() -> list[str]:
        folder = open_local_models().folder
        return sorted(
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file() and path.name != ".weights.json"
        )

    return names
