"""Retry and cache rules, named once. A task says which it follows; nobody restates numbers."""

from collections.abc import Callable
from typing import Any, TypedDict

from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task

from musetalk_core.errors import RenderError


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry what may heal; errors raised on purpose say so themselves."""
    error = state.result(raise_on_failure=False)
    return error.retryable if isinstance(error, RenderError) else isinstance(error, OSError)


def _content_key(context: TaskRunContext, inputs: dict[str, Any]) -> str:
    return f"{context.task.name}-{inputs['key']}"


class _Cache(TypedDict):
    cache_policy: CachePolicy
    persist_result: bool
    result_serializer: str


class _Retry(TypedDict):
    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]


BY_CONTENT: _Cache = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=_content_key),
    "persist_result": True,
    "result_serializer": "json",
}
"""
The task's `key` argument, made of content hashes, parameters and versions, is the whole cache key. Results
are models that hold an `Artefact`, which refuses to load when the artefact is gone: then the task runs again.
"""

ALWAYS: _Cache = {"cache_policy": NO_CACHE, "persist_result": False, "result_serializer": "json"}
"""For steps that look at the outside world and must look again each time."""

RETRY_IO: _Retry = {
    "retries": 3,
    "retry_delay_seconds": [1.0, 5.0, 25.0],
    "retry_condition_fn": is_transient,
}
RETRY_COMPUTE: _Retry = {
    "retries": 1,
    "retry_delay_seconds": [2.0],
    "retry_condition_fn": is_transient,
}
