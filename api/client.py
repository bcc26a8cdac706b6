"""
A client of the API over HTTP alone: what the `musetalk` command is built on, and scripts may use.

    from api.client import Api
    there = Api("http://127.0.0.1:8080")
    job = there.submit("speech", {"text": "Hello."})
    there.download(there.wait(job["id"])["id"], Path("hello.mp3"))
"""

import os
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

FINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
MEDIA_FIELDS = ("video", "audio", "image", "reference_audio", "captions")
_BLOCK = 1 << 20
_NOT_MODIFIED = 304
_SLOW_ANSWERS = 10
"""Requests in a row that may time out while a job is waited for."""


class ApiError(Exception):
    """The API refused or did not answer; the message is one sentence for people."""


class Api:
    """One server of the REST API."""

    def __init__(self, server: str, key: str | None = None) -> None:
        """
        Name a server; nothing is sent yet.

        Args:
            server: its address, without a path; http:// may be left out.
            key:    key to present, if it asks for one.
        """
        self.server = (server if "://" in server else f"http://{server}").rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # below the server's own 5 s, so that no request meets a connection that is being closed
        limits = httpx.Limits(keepalive_expiry=4.0)
        self._http = httpx.Client(
            base_url=self.server, headers=headers, timeout=60.0, limits=limits, trust_env=False
        )

    def submit(
        self,
        job_type: str,
        job: Mapping[str, Any],
        control: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """
        Send a job; local files among its media are uploaded first.

        Args:
            job_type: lip_sync, portrait, speech, …
            job:      its parameters. A medium without `://` is a file of this computer.
            control:  priority, tags, notify and so on; see docs/reference/api.md.
            key:      idempotency key: sent again, the same job comes back.

        Returns:
            The job as the API describes it.
        """
        sent = {name: self.reference(value) if name in MEDIA_FIELDS else value for name, value in job.items()}
        body = {**sent, "control": dict(control)} if control else sent
        headers = {"Idempotency-Key": key} if key else {}
        return self._json("POST", f"/v1/jobs/{job_type}", json=body, headers=headers)

    def estimate(self, job_type: str, job: Mapping[str, Any]) -> dict[str, Any]:
        """Have a job checked, and say how long it would take; nothing is queued."""
        return self._json("POST", f"/v1/jobs/{job_type}", params={"dry_run": "true"}, json=dict(job))

    def reference(self, value: str) -> str:
        """Return a reference as it is; a file of this computer is uploaded first."""
        return value if "://" in value else self.upload(Path(value))

    def upload(self, path: Path) -> str:
        """Upload a file; returns its asset:// reference."""
        if not path.is_file():
            raise ApiError(f"There is no file {path}.")
        with path.open("rb") as file:
            blocks: Iterator[bytes] = iter(lambda: file.read(_BLOCK), b"")
            answer = self._json(
                "POST",
                "/v1/assets",
                params={"name": path.name},
                content=blocks,
                headers={
                    "Content-Length": str(path.stat().st_size),
                    "Content-Type": "application/octet-stream",
                },
                timeout=600.0,
            )
        return str(answer["uri"])

    def job(self, job_id: str) -> dict[str, Any]:
        """Look a job up."""
        return self._json("GET", f"/v1/jobs/{job_id}")

    def jobs(self, limit: int = 50, **filters: Any) -> Iterator[dict[str, Any]]:
        """
        List jobs, the newest first, asking for more as they are taken.

        Args:
            limit:   how many at most.
            filters: status, type, tag (each one or several), created_after, created_before.
        """
        cursor: str | None = None
        while limit > 0:
            query = filters | {"limit": min(limit, 200)} | ({"cursor": cursor} if cursor else {})
            page = self._json("GET", "/v1/jobs", params=query)
            yield from page["jobs"]
            limit, cursor = limit - len(page["jobs"]), page["next_cursor"]
            if cursor is None:
                return

    def logs(self, job_id: str, level: str = "info", after: str | None = None) -> Iterator[dict[str, Any]]:
        """
        Read what a job said until now.

        Args:
            job_id: the job.
            level:  debug, info, warning or error: this and what is graver.
            after:  where to go on: `next` of the last line that was read.

        Yields:
            Lines with time, level, message and next.
        """
        while True:
            query = {"level": level} | ({"after": after} if after else {})
            page = self._json("GET", f"/v1/jobs/{job_id}/logs", params=query)
            after = page["next"]
            for line in page["lines"]:
                yield line | {"next": after}
            if not page["lines"]:
                return

    def lineage(self, job_id: str, depth: int = 0) -> dict[str, Any]:
        """
        Read where a job's output came from.

        Args:
            job_id: the job.
            depth:  how far back to follow the jobs that it builds on.

        Returns:
            `lineage` of the job, `ancestors`, and whether that is `complete`.
        """
        return self._json("GET", f"/v1/jobs/{job_id}/lineage", params={"depth": depth})

    def retry(self, job_id: str) -> dict[str, Any]:
        """Do a failed or stopped job again; returns the new one."""
        return self._json("POST", f"/v1/jobs/{job_id}/retry")

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Ask a job to stop."""
        return self._json("POST", f"/v1/jobs/{job_id}/cancel")

    def wait(
        self, job_id: str, on_change: Callable[[dict[str, Any]], None] | None = None, every_s: float = 0.5
    ) -> dict[str, Any]:
        """
        Wait until a job has ended. The API answers when the job changes, so that nobody asks in vain.

        Args:
            job_id:    the job.
            on_change: called with the job after each change.
            every_s:   least seconds between two questions.

        Returns:
            The job as it ended.
        """
        headers: dict[str, str] = {}
        slow = 0
        while True:
            with _errors(self.server):
                try:
                    answer = self._http.get(f"/v1/jobs/{job_id}", headers=headers)
                except httpx.ReadTimeout:  # it took the request: a busy machine, most likely
                    slow += 1
                    if slow > _SLOW_ANSWERS:
                        raise
                    continue
            slow = 0
            if answer.status_code != _NOT_MODIFIED:
                _raise_problem(answer)
                job: dict[str, Any] = answer.json()
                if on_change:
                    on_change(job)
                if job["status"] in FINAL:
                    return job
                headers = {"Prefer": "wait=20", "If-None-Match": answer.headers.get("etag", "")}
            time.sleep(every_s)

    def download(self, job_id: str, target: Path) -> Path:
        """
        Fetch the file that a job made.

        Args:
            job_id: the job.
            target: file to write, or a folder to write it into under its own name.

        Returns:
            The file written.
        """
        job = self.job(job_id)
        if job["result_url"] is None:
            raise ApiError(_no_file(job))
        path = target / local_name(job["result"]["name"]) if target.is_dir() else target
        draft = path.with_name(f".{uuid4().hex}.part")  # a name as long as can be leaves no room for more
        try:
            with (
                _errors(self.server),
                self._http.stream("GET", f"/v1/jobs/{job_id}/result", follow_redirects=True) as r,
            ):
                if r.is_error:
                    r.read()
                _raise_problem(r)
                with draft.open("wb") as file:
                    for block in r.iter_bytes(_BLOCK):
                        file.write(block)
            return draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def ready(self) -> dict[str, Any]:
        """Read what the API says about itself."""
        with _errors(self.server):
            answer: dict[str, Any] = self._http.get("/readyz").json()
        return answer

    def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        with _errors(self.server):
            answer = self._http.request(method, path, **more)
        _raise_problem(answer)
        body: dict[str, Any] = answer.json()
        return body


_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\\]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


def local_name(name: str, *, windows: bool = os.name == "nt") -> str:
    """
    Return the name that a result's file gets on this computer.

    Args:
        name:    of the result.
        windows: replace what Windows reserves: some characters, and names of devices.
    """
    if not windows:
        return name
    plain = _NOT_ON_WINDOWS.sub("_", name).rstrip(". ")
    return f"_{plain}" if _DEVICES.match(plain) else plain


@contextmanager
def _errors(server: str) -> Generator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise ApiError(
            f"No API answers at {server} ({type(error).__name__}). Start one with `musetalk up`, or name"
            " another with --server."
        ) from error


def _raise_problem(answer: httpx.Response) -> None:
    if answer.is_success or answer.is_redirect:
        return
    try:
        problem: dict[str, Any] = answer.json()
        text = f"{problem['detail']} [{problem['code']}]"
    except (ValueError, KeyError):
        text = f"{answer.request.url} answered {answer.status_code}, which is not this API's way."
    raise ApiError(text)


def _no_file(job: Mapping[str, Any]) -> str:
    if job["error"]:
        return f"Job {job['id']} failed: {job['error']['message']} [{job['error']['code']}]"
    if job["status"] in FINAL:
        return f"Job {job['id']} is {job['status']} and has no file."
    return f"Job {job['id']} is still {job['status']}: wait with `musetalk watch {job['id']}`."
