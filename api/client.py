"""
HTTP client of the REST API, used by the `musetalk` command line and by scripts.

    from api.client import MusetalkClient
    client = MusetalkClient("http://127.0.0.1:8080")
    job = client.submit("speech", {"text": "Hello."})
    client.download(client.wait(job["id"])["id"], Path("hello.mp3"))
"""

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import httpx

from api.client_transport import http_client
from api.local_files import find_local_file, local_file_name, map_media_fields, missing_file_message
from api.resumable_client import MIN_BYTES, ResumableUpload
from musetalk_core.installation import command

FINAL_STATUSES = frozenset({"succeeded", "failed", "canceled", "aborted"})
_BLOCK_BYTES = 1 << 20
_NOT_MODIFIED = 304
_NOT_READY_STATUSES = frozenset({429, 500, 502, 503, 504, 507})
_MAX_READ_TIMEOUTS = 10
"""Consecutive read timeouts that `wait` tolerates."""


class ApiError(Exception):
    """The API rejected a request or cannot be reached; the message is one sentence for people."""


class ApiUnreachable(ApiError):
    """The API cannot be reached, or is not ready to answer."""


class LocalFileMissing(ApiError):
    """A local file to upload does not exist."""


class RequestRejected(ApiError):
    """
    The API rejected a request.

    Attributes:
        code:   problem code; empty if the answer is not a problem document.
        detail: the problem's sentence.
        errors: one entry per invalid field: pointer, code, detail.
    """

    def __init__(
        self, message: str, code: str = "", detail: str = "", errors: Sequence[Mapping[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.code, self.detail, self.errors = code, detail or message, tuple(errors)


class MusetalkClient:
    """
    A client of one API server.

    All methods that send a request raise ApiError if the server cannot be reached or rejects the request.
    """

    def __init__(self, server: str, key: str | None = None) -> None:
        """
        Create a client; sends no request.

        Args:
            server: address of the API without a path; `http://` may be omitted.
            key:    API key, if the server requires one.
        """
        self.server = (server if "://" in server else f"http://{server}").rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = http_client(self.server, headers)
        self._uploaded: dict[str, str] = {}
        """Reference of each uploaded file by its SHA-256."""

    def submit(
        self,
        job_type: str,
        job: Mapping[str, Any],
        control: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """
        Submit a job. Local files among its media fields are uploaded first.

        Args:
            job_type: lip_sync, portrait, speech, …
            job:      job parameters. A media value without `://` is the path of a local file.
            control:  priority, tags, notify and so on; see docs/reference/api.md.
            key:      idempotency key. A second request with the same key returns the same job.

        Returns:
            The job as JSON.
        """
        parameters = self.upload_inputs(job_type, job)
        body = {**parameters, "control": dict(control)} if control else parameters
        headers = {"Idempotency-Key": key} if key else {}
        return self._request_json("POST", f"/v1/jobs/{job_type}", json=body, headers=headers)

    def upload_inputs(
        self, job_type: str, job: Mapping[str, Any], folder: Path | None = None
    ) -> dict[str, Any]:
        """
        Upload the local files among a job's media fields, those of nested objects included.

        Args:
            job_type: job type of the fields.
            job:      job parameters.
            folder:   folder that relative paths are relative to; files that do not exist there are looked
                up in the working directory.

        Returns:
            The parameters with references instead of paths.
        """
        from flows.registry import JOB_TYPES  # takes longer to import than a request to send

        schema = JOB_TYPES[job_type].job if job_type in JOB_TYPES else None
        return map_media_fields(schema, job, lambda value: self.reference(value, folder))

    def estimate(self, job_type: str, job: Mapping[str, Any]) -> dict[str, Any]:
        """Validate a job and estimate its duration (dry run); nothing is queued."""
        return self._request_json("POST", f"/v1/jobs/{job_type}", params={"dry_run": "true"}, json=dict(job))

    def reference(self, value: str, folder: Path | None = None) -> str:
        """
        Return a media reference unchanged, or upload a local file and return its asset:// reference.

        Args:
            value:  media reference or path.
            folder: see `upload_inputs`.
        """
        return value if "://" in value else self.upload(find_local_file(value, folder))

    def upload(self, path: Path) -> str:
        """Upload a file and return its asset:// reference; equal content is uploaded once per client."""
        if not path.is_file():
            raise LocalFileMissing(missing_file_message(path))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest not in self._uploaded:
                file.seek(0)
                self._uploaded[digest] = self.upload_stream(file, path.name, path.stat().st_size)
        return self._uploaded[digest]

    def upload_stream(self, file: BinaryIO, name: str, size: int) -> str:
        """
        Upload the rest of an open file and return its asset:// reference.

        A file of 8 MiB or more is sent resumably: after a broken connection the rest is sent.

        Args:
            file: open file.
            name: name of the asset.
            size: number of bytes.
        """
        if size >= MIN_BYTES and file.seekable():
            with _translate_transport_errors(self.server):
                asset = ResumableUpload(self._http, file, name, size, _raise_for_problem).run()
            if asset is not None:
                return asset
        blocks: Iterator[bytes] = iter(lambda: file.read(_BLOCK_BYTES), b"")
        uploaded = self._request_json(
            "POST",
            "/v1/assets",
            params={"name": name},
            content=blocks,
            headers={"Content-Length": str(size), "Content-Type": "application/octet-stream"},
            timeout=600.0,
        )
        return str(uploaded["uri"])

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job."""
        return self._request_json("GET", f"/v1/jobs/{job_id}")

    def jobs(self, limit: int = 50, **filters: Any) -> Iterator[dict[str, Any]]:
        """
        Iterate over jobs, newest first; requests the next page when needed.

        Args:
            limit:   maximum number of jobs.
            filters: status, type, tag (each one value or a list), created_after, created_before.

        Yields:
            Jobs as JSON, as returned by `job`.
        """
        cursor: str | None = None
        while limit > 0:
            query = filters | {"limit": min(limit, 200)} | ({"cursor": cursor} if cursor else {})
            page = self._request_json("GET", "/v1/jobs", params=query)
            yield from page["jobs"]
            limit, cursor = limit - len(page["jobs"]), page["next_cursor"]
            if cursor is None:
                return

    def logs(self, job_id: str, level: str = "info", after: str | None = None) -> Iterator[dict[str, Any]]:
        """
        Iterate over the log lines that a job has written so far.

        Args:
            job_id: the job.
            level:  minimum level: debug, info, warning or error.
            after:  position to continue from: `next` of the last line read.

        Yields:
            Lines with time, level, message and next.
        """
        while True:
            query = {"level": level} | ({"after": after} if after else {})
            page = self._request_json("GET", f"/v1/jobs/{job_id}/logs", params=query)
            after = page["next"]
            for line in page["lines"]:
                yield line | {"next": after}
            if not page["lines"]:
                return

    def lineage(self, job_id: str, depth: int = 0) -> dict[str, Any]:
        """
        Return the provenance manifest of a job's output.

        Args:
            job_id: the job.
            depth:  number of generations of ancestor jobs to include.

        Returns:
            `lineage` of the job, `ancestors`, and whether the list is `complete`.
        """
        return self._request_json("GET", f"/v1/jobs/{job_id}/lineage", params={"depth": depth})

    def usage(self, **query: Any) -> dict[str, Any]:
        """
        Return what jobs have used, with the rows of all pages.

        Args:
            query: from, to, group_by, tenant and batch, as in `GET /v1/usage`.
        """
        found = self._request_json("GET", "/v1/usage", params=query | {"limit": 1000})
        while cursor := found["next_cursor"]:
            page = self._request_json("GET", "/v1/usage", params=query | {"limit": 1000, "cursor": cursor})
            found = page | {"rows": found["rows"] + page["rows"]}
        return found

    def retry(self, job_id: str) -> dict[str, Any]:
        """Retry a failed or canceled job and return the new job."""
        return self._request_json("POST", f"/v1/jobs/{job_id}/retry")

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Request cancellation of a job."""
        return self._request_json("POST", f"/v1/jobs/{job_id}/cancel")

    def wait(
        self,
        job_id: str,
        on_change: Callable[[dict[str, Any]], None] | None = None,
        min_interval_s: float = 0.5,
    ) -> dict[str, Any]:
        """
        Wait until a job has ended, by long polling (`Prefer: wait` with the job's ETag).

        Args:
            job_id:         the job.
            on_change:      called with the job after each change.
            min_interval_s: minimum time between two requests, in seconds.

        Returns:
            The job in its final state.
        """
        headers: dict[str, str] = {}
        read_timeouts = 0
        while True:
            with _translate_transport_errors(self.server):
                try:
                    response = self._http.get(f"/v1/jobs/{job_id}", headers=headers)
                except httpx.ReadTimeout:  # the server accepted the connection: most likely it is busy
                    read_timeouts += 1
                    if read_timeouts > _MAX_READ_TIMEOUTS:
                        raise
                    continue
            read_timeouts = 0
            if response.status_code != _NOT_MODIFIED:
                _raise_for_problem(response)
                job: dict[str, Any] = response.json()
                if on_change:
                    on_change(job)
                if job["status"] in FINAL_STATUSES:
                    return job
                headers = {"Prefer": "wait=20", "If-None-Match": response.headers.get("etag", "")}
            time.sleep(min_interval_s)

    def download(self, job_id: str, target: Path) -> Path:
        """
        Download the output file of a job.

        Args:
            job_id: the job.
            target: file to write, or a folder; in a folder the file keeps the result's name.

        Returns:
            Path of the file written.
        """
        job = self.job(job_id)
        if job["result_url"] is None:
            raise ApiError(_missing_file_message(job))
        path = target / local_file_name(job["result"]["name"]) if target.is_dir() else target
        # a name of its own: the result's name may already have the maximum length of a file name
        draft = path.with_name(f".{uuid4().hex}.part")
        try:
            with (
                _translate_transport_errors(self.server),
                self._http.stream("GET", f"/v1/jobs/{job_id}/result", follow_redirects=True) as r,
            ):
                if r.is_error:
                    r.read()
                _raise_for_problem(r)
                with draft.open("wb") as file:
                    for block in r.iter_bytes(_BLOCK_BYTES):
                        file.write(block)
            return draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def ready(self) -> dict[str, Any]:
        """Return the readiness report (/readyz)."""
        with _translate_transport_errors(self.server):
            report: dict[str, Any] = self._http.get("/readyz").json()
        return report

    def _request_json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        with _translate_transport_errors(self.server):
            response = self._http.request(method, path, **more)
        _raise_for_problem(response)
        body: dict[str, Any] = response.json()
        return body


@contextmanager
def _translate_transport_errors(server: str) -> Generator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise ApiUnreachable(
            f"Cannot reach the API at {server} ({type(error).__name__}). Start it with `{command('up')}`, or"
            " name another server with --server."
        ) from error


def _raise_for_problem(response: httpx.Response) -> None:
    if response.is_success or response.is_redirect:
        return
    try:
        problem: dict[str, Any] = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        raise RequestRejected(
            f"{response.request.url} answered {response.status_code} without a problem document: it may not"
            " be a musetalk API."
        ) from None
    text = f"{detail} [{code}]"
    if response.status_code in _NOT_READY_STATUSES:
        raise ApiUnreachable(text)
    raise RequestRejected(text, code, detail, problem.get("errors", ()))


def _missing_file_message(job: Mapping[str, Any]) -> str:
    if job["error"]:
        return f"Job {job['id']} failed: {job['error']['message']} [{job['error']['code']}]"
    if job["status"] in FINAL_STATUSES:
        return f"Job {job['id']} is {job['status']} and has no output file."
    watch = command(f"watch {job['id']}")
    return f"Job {job['id']} is still {job['status']}. Wait for it with `{watch}`."


Api = MusetalkClient
"""The former name of `MusetalkClient`, kept for one release."""
