"""Sending of one webhook: a POST with SSRF protection, a fresh check of the URL, and no redirects."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from tasks.errors import InputBlocked
from tasks.outbound.address_rules import Destination, is_trusted, validate_url
from tasks.outbound.guarded_transport import (
    DestinationDenied,
    GuardedBackend,
    Resolver,
    guarded_client,
    resolve_host,
    send_request,
)
from tasks.settings import EgressSettings
from tasks.webhooks.retry_schedule import AttemptResponse

_log = logging.getLogger(__name__)
MAX_KEPT_BODY_BYTES = 4096
_UNREACHABLE = "The receiver does not respond, or this service may not connect to it."


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """
    The result of one attempt to deliver a webhook.

    Attributes:
        response:   the status and the Retry-After header of the response.
        body:       the first 4 KiB of the response body; for the operator, not for callers.
        failure:    reason for a missing status; the same text for a closed port and a denied address.
        is_blocked: whether the egress rules deny the URL or an address of its host. Nothing was sent, and
            another attempt is useless.
    """

    response: AttemptResponse
    body: str = ""
    failure: str | None = None
    is_blocked: bool = False


def post_webhook(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    rules: EgressSettings,
    timeout_s: float = 10.0,
    resolve: Resolver = resolve_host,
) -> AttemptResult:
    """
    Send a webhook once.

    Args:
        url:       URL of the receiver.
        body:      JSON body.
        headers:   additional headers.
        rules:     egress rules for the URL.
        timeout_s: timeout to connect and for each read, in seconds; twice that for the whole request.
        resolve:   resolver of host names; tests pass one that sends no DNS queries.

    Returns:
        The result. Failures of the receiver or the network raise nothing.
    """
    try:
        destination = validate_url(url, rules)
    except InputBlocked as error:
        _log.warning("webhook not sent, URL refused: %s", error)
        return AttemptResult(AttemptResponse(None), failure=_UNREACHABLE, is_blocked=True)
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
        _log.warning("webhook to %s failed: %s", destination.display_url, reason)
        return AttemptResult(AttemptResponse(None), failure=_UNREACHABLE, is_blocked=denied)


def _send(
    client: httpx.Client, destination: Destination, body: bytes, headers: Mapping[str, str]
) -> AttemptResult:
    all_headers = {
        "Content-Type": "application/json",
        "User-Agent": "musetalk-flows",
        "Accept-Encoding": "identity",
        **headers,
    }
    request = client.build_request("POST", destination.url, content=body, headers=all_headers)
    response = send_request(client, request)
    try:
        kept = _read_beginning(response)
    finally:
        response.close()
    status = AttemptResponse(response.status_code, response.headers.get("retry-after"))
    return AttemptResult(status, kept.decode("utf-8", "replace"))


def _read_beginning(response: httpx.Response) -> bytes:
    """Read the first `MAX_KEPT_BODY_BYTES` bytes; the status stays valid if the body is interrupted."""
    kept = b""
    try:
        for block in response.iter_raw():
            kept += block
            if len(kept) >= MAX_KEPT_BODY_BYTES:
                break
    except httpx.HTTPError as error:
        _log.info("the response to a webhook was interrupted: %s", type(error).__name__)
    return kept[:MAX_KEPT_BODY_BYTES]
