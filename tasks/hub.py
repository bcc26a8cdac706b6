"""
Client of the Hugging Face Hub: file metadata, and downloads that resume after an interruption.

The download function of `huggingface_hub` restarts after an interruption (its partial file has a random name
and is removed), keeps a cache of its own, and may use a protocol that cannot resume. Therefore this module
uses only its building blocks (URLs, headers, metadata, HTTP client, error classes) and writes the bytes into
a `PartialFile`. Import this module only where a hub is needed: the library is slow to import.
"""

import logging
import re
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from musetalk_core.weights.records import Hub
from tasks.errors import NotOffered, PullFailed
from tasks.objects import OnBytes
from tasks.partial import Part
from tasks.settings import WeightsSettings

_log = logging.getLogger(__name__)
_WAITS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Delays before retries after attempts that made no progress; after the last one the download fails."""
_LONGEST_WAIT_S: Final = 60.0
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=10.0)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SPAN: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/(?:[0-9]+|\*)")
_TRANSIENT: Final = {408, 425, 429, 500, 502, 503, 504}
_WHO: Final = {"user-agent": "musetalk-flows"}
"""Replaces the library's User-Agent, which lists the installed packages."""


@dataclass(frozen=True, slots=True)
class Offer:
    """
    A file on the hub, pinned to a commit.

    Attributes:
        source: the repository, the path of the file and the revision.
        commit: the commit that the revision resolves to.
        etag:   ETag of the content.
        size:   size in bytes; None if unknown.
    """

    source: Hub
    commit: str
    etag: str
    size: int | None

    @property
    def sha256(self) -> str | None:
        """Return the SHA-256 of the content, which is the ETag of large files; None for other files."""
        return self.etag if _SHA256.fullmatch(self.etag) else None

    @property
    def name(self) -> str:
        """Return the repository, path and commit, for records and messages."""
        return f"{self.source.repo}/{self.source.file}@{self.commit[:12]}"


class _Broken(Exception):
    """An attempt failed with a transient error; `wait_s` is the server's Retry-After in seconds."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class HubClient:
    """A client of one model hub."""

    def __init__(self, settings: WeightsSettings) -> None:
        """Create a client; sends nothing."""
        self._endpoint = settings.endpoint
        self._token = settings.token.get_secret_value() if settings.token else None

    @property
    def _auth(self) -> str | bool | None:
        """Return the token of the settings, else None for the library's own token on its default hub only."""
        return self._token or (None if self._endpoint is None else False)

    def look(self, source: Hub) -> Offer:
        """
        Return commit, ETag and size of a file without downloading it.

        Raises:
            NotAvailable: the hub has no such file, or denies access to it.
            PullFailed:   the hub does not respond.
        """
        waits = iter(_WAITS_S)
        while True:
            try:
                return self._looked(source)
            except _Broken as error:
                self._pause(waits, source, error)

    def _looked(self, source: Hub) -> Offer:
        url = self._url(source, source.revision)
        with self._said(source):
            found = get_hf_file_metadata(url, token=self._auth, endpoint=self._endpoint, headers=dict(_WHO))
        if not found.etag or not found.commit_hash:
            raise PullFailed(
                f"{self._name} is not a model hub: its response lacks the version of"
                f" {source.repo}/{source.file}."
            )
        return Offer(source, found.commit_hash, found.etag, found.size)

    def fetch_into(self, part: Part, offer: Offer, on_bytes: OnBytes) -> None:
        """
        Download the rest of a file into `part`, with retries.

        Args:
            part:     a partial file of the same content, or an empty one.
            hub_file: the file, from `probe`.
            on_bytes: called with the number of bytes that arrived; negative if the part is restarted.

        Raises:
            NotAvailable, PullFailed: as `probe`.
            DiskFull: the disk is full.
        """
        waits = iter(_WAITS_S)
        while offer.size is None or part.size != offer.size:
            before = part.size
            try:
                self._receive(part, offer, on_bytes)
            except _Broken as error:
                if part.size > before:
                    waits = iter(_WAITS_S)
                self._pause(waits, offer.source, error)
            else:
                return

    def _receive(self, part: Part, offer: Offer, on_bytes: OnBytes) -> None:
        headers = build_hf_headers(token=self._auth, headers=dict(_WHO)) | {"Accept-Encoding": "identity"}
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
        # the hub's URL and not that of the storage behind it, whose signature expires; the client removes
        # the token when the hub redirects there
        url = self._url(offer.source, offer.commit)
        with (
            self._said(offer.source),
            get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as answer,
        ):
            if answer.status_code == 416:
                _restart(part, on_bytes)
                raise _Broken("the range does not exist")
            hf_raise_for_status(answer)
            if _start(answer) != part.size:
                _restart(part, on_bytes)
                if _start(answer) != 0:
                    raise _Broken("the server sent another range than requested")
            for block in answer.iter_bytes():
                part.write(block)
                on_bytes(len(block))
        if offer.size is not None and part.size < offer.size:
            raise _Broken("the server sent fewer bytes than announced")
        if offer.size is not None and part.size > offer.size:
            _restart(part, on_bytes)
            raise PullFailed(f"{self._name} sent more bytes of {offer.name} than announced.")

    def _pause(self, waits: Iterator[float], source: Hub, error: _Broken) -> None:
        """
        Wait before the next attempt.

        Raises:
            PullFailed: no attempts are left.
        """
        wait_s = next(waits, None)
        if wait_s is None:
            raise PullFailed(
                f"{self._name} could not deliver {source.repo}/{source.file}: {error}. Run the command again"
                " later; it resumes the download."
            ) from error
        _log.warning("%s/%s: %s; retrying", source.repo, source.file, error)
        time.sleep(min(max(wait_s, error.wait_s), _LONGEST_WAIT_S))

    def _url(self, source: Hub, revision: str) -> str:
        return hf_hub_url(source.repo, source.file, revision=revision, endpoint=self._endpoint)

    @property
    def _name(self) -> str:
        return f"The hub at {self._endpoint}" if self._endpoint else "The model hub"

    @contextmanager
    def _said(self, source: Hub) -> Generator[None]:
        """Translate errors of the library and its HTTP client to `tasks.errors`."""
        try:
            yield
        except OfflineModeIsEnabled as error:
            raise PullFailed("HF_HUB_OFFLINE is set. Unset it to pull models.") from error
        except HfHubHTTPError as error:
            raise self._refused(source, error.response) from error
        except httpx2.TransportError as error:
            raise _Broken(f"{type(error).__name__}: {error}") from error

    def _refused(self, source: Hub, answer: httpx2.Response) -> Exception:
        status, what = answer.status_code, f"{source.repo}/{source.file}"
        if status in _TRANSIENT:
            after = answer.headers.get("retry-after", "")
            return _Broken(f"the server responded with {status}", float(after) if after.isdecimal() else 0.0)
        if status in (401, 403):
            return NotOffered(
                f"{self._name} denied access to {what} (status {status}): it is gated, private, or does not"
                f" exist. Accept its license on the page of {source.repo}, and set MUSETALK_WEIGHTS__TOKEN"
                " to a token that may read it."
            )
        if status == 404:
            return NotOffered(f"{self._name} has no {what} (revision {source.revision}).")
        return PullFailed(f"{self._name} responded with status {status} to a request for {what}.")


def _restart(part: Part, on_bytes: OnBytes) -> None:
    on_bytes(-part.size)
    part.restart()


def _start(answer: httpx2.Response) -> int:
    """Return the offset of the response's first byte in the file; -1 if the server does not say."""
    if answer.status_code != 206:
        return 0
    span = _SPAN.fullmatch(answer.headers.get("content-range", ""))
    return int(span.group(1)) if span else -1
