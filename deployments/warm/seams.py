"""
Everything of Prefect that is not public and that the warm worker leans on; nothing else imports such names.

tests/unit/deployments/test_seams.py fails when a new Prefect changes any of it. What the rest needs besides
is public: `BaseWorker`, job configurations, the client, events, `load_flow`, `run_flow`.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.flows import Flow
    from prefect.settings.models.root import Settings

Intent = Literal["cancel", "reschedule"]
"""Why SIGTERM comes: with `cancel` or `reschedule` the engine leaves the state to its supervisor."""


def set_intent(intent: Intent | None) -> None:
    """Tell the engine of this process what a SIGTERM that follows means; None forgets it."""
    from prefect._internal import control_listener

    if intent is None:
        control_listener.clear_intent()
    else:
        control_listener._set_intent(intent)  # pyright: ignore[reportPrivateUsage]


def drive(flow: Flow[..., Any], started: Any) -> Any:
    """
    Finish what `run_flow` returned, for flows that are coroutines or generators.

    Args:
        flow:    the flow.
        started: what run_flow gave back.
    """
    import asyncio
    import inspect

    from prefect.engine import _drive_run_flow_result  # pyright: ignore[reportPrivateUsage]

    if inspect.iscoroutine(started):
        return asyncio.run(started)
    _drive_run_flow_result(flow, started)
    return started


@contextmanager
def run_settings() -> Generator[None]:
    """
    Read PREFECT_* again for the block, without the engine's own heartbeat thread.

    The engine joins that thread at the end of each run, which costs up to a second; the worker sends the
    heartbeats of its children's runs instead.
    """
    from prefect.context import SettingsContext, get_settings_context

    profile = get_settings_context().profile
    with SettingsContext(profile=profile, settings=_settings(frozenset(_prefect_variables().items()))):
        yield


@lru_cache(maxsize=4)
def _settings(_: frozenset[tuple[str, str]]) -> Settings:
    """Read the settings once per set of variables: that takes a twentieth of a second."""
    from prefect.settings.models.root import Settings

    settings = Settings()
    quiet = settings.flows.model_copy(update={"heartbeat_frequency": None})
    return settings.model_copy(update={"flows": quiet})


def _prefect_variables() -> dict[str, str]:
    variables = dict(os.environ)  # noqa: TID251  Prefect's, not ours
    # those of two underscores are about one run and no settings
    return {
        name: value
        for name, value in variables.items()
        if name.startswith("PREFECT_") and not name.startswith("PREFECT__")
    }


async def run_hooks(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
    """Run a flow's hooks for a state that its own process could not report."""
    from prefect.runner._hook_runner import HookRunner

    async def resolve(_: FlowRun) -> Flow[..., Any]:
        return flow

    runner = HookRunner(resolve_flow=resolve)
    await runner.run_cancellation_hooks(run, state)
    await runner.run_crashed_hooks(run, state)


def heartbeat(run: FlowRun) -> None:
    """Say that a run is alive, in the very event that the engine itself would send."""
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
