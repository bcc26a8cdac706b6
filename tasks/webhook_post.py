"""Send one webhook: a POST through the guard of `tasks.guarded`, judged anew each time, never redirected."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from tasks.addresses import Destination, is_trusted, judged_url
from tasks.errors import InputBlocked
from tasks.guarded import DestinationDenied, GuardedBackend, Resolve, guarded_client, resolve
from tasks.settings import EgressSettings
from tasks.webhook_schedule import Answered

_log = logging.getLogger(__name__)
KEPT_BYTES = 4096
_UNREACHABLE = "The receiver does not answer, or it is not an address this service may use."


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a receiver said.

    Attributes:
        answered: its status, and when it wants to be asked again.
        body:     the first 4 kB of its answer; for the operator, not for callers.
        trouble:  why there is no status, in words that do not tell a closed port from a forbidden address.
    """

    answered: Answered
    body: str = ""
    trouble: str | None = None


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    rules: EgressSettings,
    timeout_s: float = 10.0,
    resolve: Resolve = resolve,
) -> Answer:
    """
    Send a body once.

    Args:
        url:       where to.
        body:      JSON.
        headers:   beside the usual ones.
        rules:     which addresses may be used.
        timeout_s: for the connection, and for each wait for bytes; twice that for everything.
        resolve:   for tests, which never ask a real resolver.

    Returns:
        What came back. Nothing is raised for whatever the other side does.
    """
    try:
        destination = judged_url(url, rules)
    except InputBlocked as error:
        _log.warning("webhook refused by its spelling: %s", error)
        return Answer(Answered(None), trouble=_UNREACHABLE)
    backend = GuardedBackend(
        resolve,
        lambda host, port: is_trusted(host, port, rules),
        rules.denied_networks,
        time.monotonic() + 2 * timeout_s,
    )
    try:
        with guarded_client(backend, httpx.Timeout(timeout_s)) as client:
            return _send(client, destination, body, headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        denied = isinstance(error.__cause__, DestinationDenied)
        reason = "it resolves to a denied address" if denied else f"{type(error).__name__}: {error}"
        _log.warning("webhook to %s failed: %s", destination.shown, reason)
        return Answer(Answered(None), trouble=_UNREACHABLE)


def _send(client: httpx.Client, destination: Destination, body: bytes, headers: Mapping[str, str]) -> Answer:
    sent = {
        "Content-Type": "application/json",
        "User-Agent": "musetalk-flows",
        "Accept-Encoding": "identity",
        **headers,
    }
    request = client.build_request("POST", destination.url, content=body, headers=sent)
    answer = client.send(request, stream=True)
    try:
        kept = _beginning(answer)
    finally:
        answer.close()
    answered = Answered(answer.status_code, answer.headers.get("retry-after"))
    return Answer(answered, kept.decode("utf-8", "replace"))


def _beginning(answer: httpx.Response) -> bytes:
    """Read what is kept; a body that breaks off does not undo the status that came before it."""
    kept = b""
    try:
        for block in answer.iter_raw():
            kept += block
            if len(kept) >= KEPT_BYTES:
                break
    except httpx.HTTPError as error:
        _log.info("the answer to a webhook broke off: %s", type(error).__name__)
    return kept[:KEPT_BYTES]
