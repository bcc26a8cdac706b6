"""Retry and cache options of Prefect tasks. Every task uses these names instead of its own numbers."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypedDict, TypeVar

from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task

from tasks.run.former_result_types import register_former_modules
from tasks.run.retry import is_transient_error
from tasks.tracing.spans import span

# here, because every module with a cached task imports its policy from this one
register_former_modules()


P = ParamSpec("P")
T = TypeVar("T")


def traced(step: Callable[P, T]) -> Callable[P, T]:
    """Record a span whenever the function of a task runs; below `@task`. A result of the cache has none."""

    @wraps(step)
    def run_step(*args: P.args, **kwargs: P.kwargs) -> T:
        with span(f"task {step.__name__}", {"task": step.__name__}):
            return step(*args, **kwargs)

    return run_step


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether the error of a task is worth a retry, see `is_transient_error`."""
    return is_transient_error(state.result(raise_on_failure=False))


def _content_key(context: TaskRunContext, inputs: dict[str, Any]) -> str:
    return f"{context.task.name}-{inputs['key']}"


class _CacheOptions(TypedDict):
    cache_policy: CachePolicy
    persist_result: bool
    result_serializer: str


class _RetryOptions(TypedDict):
    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]


CACHED_BY_CONTENT: _CacheOptions = {
    "cache_policy": CacheKeyFnPolicy(cache_key_fn=_content_key),
    "persist_result": True,
    "result_serializer": "json",
}
"""
Cache by the task's `key` argument alone, which is made of content hashes, parameters and versions. Results
are models that hold an `Artefact`. It fails to load if its cache entry is gone, and then the task runs again.
"""

NOT_CACHED: _CacheOptions = {"cache_policy": NO_CACHE, "persist_result": False, "result_serializer": "json"}
"""For tasks that read external state and must run every time."""

RETRY_IO: _RetryOptions = {
    "retries": 3,
    "retry_delay_seconds": [1.0, 5.0, 25.0],
    "retry_condition_fn": is_transient,
}
RETRY_COMPUTE: _RetryOptions = {
    "retries": 1,
    "retry_delay_seconds": [2.0],
    "retry_condition_fn": is_transient,
}
