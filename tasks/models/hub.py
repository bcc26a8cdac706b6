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

from musetalk_core.model_registry.schema import Hub
from tasks.errors import NotAvailable, PullFailed
from tasks.settings import WeightsSettings
from tasks.storage.object_store import OnBytes
from tasks.storage.resumable_file import PartialFile

_log = logging.getLogger(__name__)
_RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Delays before retries after attempts that made no progress; after the last one the download fails."""
_MAX_RETRY_DELAY_S: Final = 60.0
_TIMEOUT: Final = httpx2.Timeout(30.0, connect=10.0)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/(?:[0-9]+|\*)")
_TRANSIENT_STATUSES: Final = {408, 425, 429, 500, 502, 503, 504}
_USER_AGENT: Final = {"user-agent": "musetalk-flows"}
"""Replaces the library's User-Agent, which lists the installed packages."""


@dataclass(frozen=True, slots=True)
class HubFile:
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


class _TransferInterrupted(Exception):
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

    def probe(self, source: Hub) -> HubFile:
        """
        Return commit, ETag and size of a file without downloading it.

        Raises:
            NotAvailable: the hub has no such file, or denies access to it.
            PullFailed:   the hub does not respond.
        """
        delays = iter(_RETRY_DELAYS_S)
        while True:
            try:
                return self._probe_once(source)
            except _TransferInterrupted as error:
                self._wait_before_retry(delays, source, error)

    def _probe_once(self, source: Hub) -> HubFile:
        url = self._url(source, source.revision)
        with self._translate_errors(source):
            metadata = get_hf_file_metadata(
                url, token=self._auth, endpoint=self._endpoint, headers=dict(_USER_AGENT)
            )
        if not metadata.etag or not metadata.commit_hash:
            raise PullFailed(
                f"{self._display_name} is not a model hub: its response lacks the version of"
                f" {source.repo}/{source.file}."
            )
        return HubFile(source, metadata.commit_hash, metadata.etag, metadata.size)

    def fetch_into(self, part: PartialFile, hub_file: HubFile, on_bytes: OnBytes) -> None:
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
        delays = iter(_RETRY_DELAYS_S)
        while hub_file.size is None or part.size != hub_file.size:
            size_before = part.size
            try:
                self._receive(part, hub_file, on_bytes)
            except _TransferInterrupted as error:
                if part.size > size_before:
                    delays = iter(_RETRY_DELAYS_S)
                self._wait_before_retry(delays, hub_file.source, error)
            else:
                return

    def _receive(self, part: PartialFile, hub_file: HubFile, on_bytes: OnBytes) -> None:
        headers = build_hf_headers(token=self._auth, headers=dict(_USER_AGENT)) | {
            "Accept-Encoding": "identity"
        }
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
        # the hub's URL and not that of the storage behind it, whose signature expires; the client removes
        # the token when the hub redirects there
        url = self._url(hub_file.source, hub_file.commit)
        with (
            self._translate_errors(hub_file.source),
            get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT) as response,
        ):
            if response.status_code == 416:
                _restart(part, on_bytes)
                raise _TransferInterrupted("the range does not exist")
            hf_raise_for_status(response)
            if _first_byte_offset(response) != part.size:
                _restart(part, on_bytes)
                if _first_byte_offset(response) != 0:
                    raise _TransferInterrupted("the server sent another range than requested")
            for block in response.iter_bytes():
                part.write(block)
                on_bytes(len(block))
        if hub_file.size is not None and part.size < hub_file.size:
            raise _TransferInterrupted("the server sent fewer bytes than announced")
        if hub_file.size is not None and part.size > hub_file.size:
            _restart(part, on_bytes)
            raise PullFailed(f"{self._display_name} sent more bytes of {hub_file.name} than announced.")

    def _wait_before_retry(self, delays: Iterator[float], source: Hub, error: _TransferInterrupted) -> None:
        """
        Wait before the next attempt.

        Raises:
            PullFailed: no attempts are left.
        """
        delay_s = next(delays, None)
        if delay_s is None:
            raise PullFailed(
                f"{self._display_name} could not deliver {source.repo}/{source.file}: {error}."
                " Run the command again later; it resumes the download."
            ) from error
        _log.warning("%s/%s: %s; retrying", source.repo, source.file, error)
        time.sleep(min(max(delay_s, error.wait_s), _MAX_RETRY_DELAY_S))

    def _url(self, source: Hub, revision: str) -> str:
        return hf_hub_url(source.repo, source.file, revision=revision, endpoint=self._endpoint)

    @property
    def _display_name(self) -> str:
        return f"The hub at {self._endpoint}" if self._endpoint else "The model hub"

    @contextmanager
    def _translate_errors(self, source: Hub) -> Generator[None]:
        """Translate errors of the library and its HTTP client to `tasks.errors`."""
        try:
            yield
        except OfflineModeIsEnabled as error:
            raise PullFailed("HF_HUB_OFFLINE is set. Unset it to pull models.") from error
        except HfHubHTTPError as error:
            raise self._http_error(source, error.response) from error
        except httpx2.TransportError as error:
            raise _TransferInterrupted(f"{type(error).__name__}: {error}") from error

    def _http_error(self, source: Hub, response: httpx2.Response) -> Exception:
        status, file_name = response.status_code, f"{source.repo}/{source.file}"
        if status in _TRANSIENT_STATUSES:
            retry_after = response.headers.get("retry-after", "")
            return _TransferInterrupted(
                f"the server responded with {status}", float(retry_after) if retry_after.isdecimal() else 0.0
            )
        if status in (401, 403):
            return NotAvailable(
                f"{self._display_name} denied access to {file_name} (status {status}): it is gated, private,"
                f" or does not exist. Accept its license on the page of {source.repo}, and set"
                " MUSETALK_WEIGHTS__TOKEN to a token that may read it."
            )
        if status == 404:
            return NotAvailable(f"{self._display_name} has no {file_name} (revision {source.revision}).")
        return PullFailed(
            f"{self._display_name} responded with status {status} to a request for {file_name}."
        )


def _restart(part: PartialFile, on_bytes: OnBytes) -> None:
    on_bytes(-part.size)
    part.restart()


def _first_byte_offset(response: httpx2.Response) -> int:
    """Return the offset of the response's first byte in the file; -1 if the server does not say."""
    if response.status_code != 206:
        return 0
    content_range = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    return int(content_range.group(1)) if content_range else -1
