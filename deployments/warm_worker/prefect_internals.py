"""
The private Prefect APIs that the warm worker uses; no other module imports private names of Prefect.

The unit tests of this module fail if a new Prefect version changes any of them. The other modules use public
APIs only: `BaseWorker`, job configurations, the client, events, `load_flow` and `run_flow`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.flows import Flow
    from prefect.settings.models.root import Settings

CHECKED_VERSIONS: Final = ("3.8.8",)
"""Prefect versions on which `PRIVATE_NAMES` were checked. A unit test fails on any other version."""

PRIVATE_NAMES: Final = (
    "prefect._internal.control_listener",
    "prefect.engine._drive_run_flow_result",
    "prefect.runner._hook_runner.HookRunner",
)
"""The private modules and names of Prefect imported here."""

_CSRF_CHECK_INTERVAL_S: Final = 60.0
_csrf_checks: Final[dict[str, tuple[float, bool]]] = {}
"""Time and result of the last check, by the address of the server's API."""

SigtermIntent = Literal["cancel", "reschedule"]
"""Meaning of a SIGTERM; for both values the engine leaves the run's state to its supervisor."""


def set_sigterm_intent(intent: SigtermIntent | None) -> None:
    """Set how Prefect's engine in this process interprets the next SIGTERM; None resets it."""
    from prefect._internal import control_listener

    if intent is None:
        control_listener.clear_intent()
    else:
        control_listener._set_intent(intent)  # pyright: ignore[reportPrivateUsage]


def complete_flow_result(flow: Flow[..., Any], flow_result: Any) -> Any:
    """
    Run the result of `run_flow` to completion if the flow is a coroutine or a generator.

    Args:
        flow:        the flow.
        flow_result: return value of `run_flow`.

    Returns:
        The awaited result of a coroutine; otherwise `flow_result`.
    """
    import asyncio
    import inspect

    from prefect.engine import _drive_run_flow_result  # pyright: ignore[reportPrivateUsage]

    if inspect.iscoroutine(flow_result):
        return asyncio.run(flow_result)
    _drive_run_flow_result(flow, flow_result)
    return flow_result


@contextmanager
def run_settings() -> Generator[None]:
    """
    Use settings from the current PREFECT_* variables in the block, without the engine's heartbeat thread.

    The engine joins that thread at the end of each run, which takes up to a second. The worker sends the
    heartbeats of its children's runs instead.
    """
    from prefect.context import SettingsContext, get_settings_context

    profile = get_settings_context().profile
    settings = _load_settings(frozenset(_prefect_variables().items()))
    with SettingsContext(profile=profile, settings=settings):
        url, needs_tokens = settings.api.url, settings.client.csrf_support_enabled
        needs_tokens = needs_tokens and not (url and _is_csrf_disabled(str(url)))
    client_settings = settings.client.model_copy(update={"csrf_support_enabled": needs_tokens})
    settings = settings.model_copy(update={"client": client_settings})
    with SettingsContext(profile=profile, settings=settings):
        yield


def _is_csrf_disabled(api_url: str) -> bool:
    """
    Return whether the server protects no request by CSRF tokens, as of at most `_CSRF_CHECK_INTERVAL_S` ago.

    Each client would ask for a token before its first write, and a run makes several clients. If the server
    does not answer, they do so.
    """
    import httpx
    from prefect.client.orchestration import get_client

    known = _csrf_checks.get(api_url)
    if known is not None and time.monotonic() - known[0] < _CSRF_CHECK_INTERVAL_S:
        return known[1]
    try:
        with get_client(sync_client=True) as client:
            client._client.get("/csrf-token", params={"client": "musetalk"})  # pyright: ignore[reportPrivateUsage]
        is_disabled = False
    except httpx.HTTPStatusError as error:
        is_disabled = error.response.status_code == 422 and "disabled" in error.response.text
    except (httpx.HTTPError, OSError):
        return False
    _csrf_checks[api_url] = (time.monotonic(), is_disabled)
    return is_disabled


@lru_cache(maxsize=4)
def _load_settings(_: frozenset[tuple[str, str]]) -> Settings:
    """Load the settings; cached per set of variables, because it takes about 50 ms."""
    from prefect.settings.models.root import Settings

    settings = Settings()
    flow_settings = settings.flows.model_copy(update={"heartbeat_frequency": None})
    return settings.model_copy(update={"flows": flow_settings})


def _prefect_variables() -> dict[str, str]:
    variables = dict(os.environ)  # noqa: TID251  Prefect's own variables
    # variables with two underscores concern a single run and are not settings
    return {
        name: value
        for name, value in variables.items()
        if name.startswith("PREFECT_") and not name.startswith("PREFECT__")
    }


async def run_hooks(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
    """Run a flow's cancellation and crash hooks for a state that its own process could not report."""
    from prefect.runner._hook_runner import HookRunner

    # HookRunner resolves the flow of a run through this function; the caller has already loaded it
    async def resolve(_: FlowRun) -> Flow[..., Any]:
        return flow

    runner = HookRunner(resolve_flow=resolve)
    await runner.run_cancellation_hooks(run, state)
    await runner.run_crashed_hooks(run, state)


def emit_heartbeat(run: FlowRun) -> None:
    """Emit a run's heartbeat, the same event that the engine would send."""
    from prefect import __version__
    from prefect.events import RelatedResource, emit_event
    from prefect.events.related import tags_as_related_resources

    related = [{"prefect.resource.id": f"prefect.flow.{run.flow_id}", "prefect.resource.role": "flow"}]
    if run.deployment_id:
        related.append(
            {
                "prefect.resource.id": f"prefect.deployment.{run.deployment_id}",
                "prefect.resource.role": "deployment",
            }
        )
    emit_event(
        event="prefect.flow-run.heartbeat",
        resource={
            "prefect.resource.id": f"prefect.flow-run.{run.id}",
            "prefect.resource.name": run.name or "",
            "prefect.version": __version__,
        },
        related=[RelatedResource.model_validate(part) for part in related]
        + tags_as_related_resources(set(run.tags)),
    )
