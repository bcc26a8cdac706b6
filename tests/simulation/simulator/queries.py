"""Filters and orders of flow runs and artifacts, evaluated on the simulated server's records."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


class NotSimulated(NotImplementedError):
    """The product uses something of Prefect that the simulation does not have yet."""


def chosen(conditions: Any) -> dict[str, Any]:
    """Return the conditions of a filter that are set."""
    if conditions is None:
        return {}
    return {
        name: value for name, value in conditions.__dict__.items() if value is not None and name != "operator"
    }


def _in(value: Any, condition: Any) -> bool:
    for name, wanted in chosen(condition).items():
        match name:
            case "any_":
                is_met = value in wanted
            case "not_any_":
                is_met = value not in wanted
            case "before_":
                is_met = value is not None and value <= wanted
            case "after_":
                is_met = value is not None and value >= wanted
            case "is_null_":
                is_met = (value is None) == wanted
            case _:
                raise NotSimulated(f"condition {name} of {type(condition).__name__}")
        if not is_met:
            return False
    return True


def _tags(tags: Iterable[str], condition: Any) -> bool:
    owned = set(tags)
    for name, wanted in chosen(condition).items():
        match name:
            case "all_":
                is_met = owned.issuperset(wanted)
            case "any_":
                is_met = not owned.isdisjoint(wanted)
            case "is_null_":
                is_met = (not owned) == wanted
            case _:
                raise NotSimulated(f"condition {name} of tags")
        if not is_met:
            return False
    return True


def _state(run: Any, condition: Any) -> bool:
    parts = chosen(condition)
    values = {"type": run.state_type, "name": run.state_name}
    if not parts.keys() <= values.keys():
        raise NotSimulated(f"conditions {sorted(parts)} of states")
    outcomes = [_in(values[name], part) for name, part in parts.items()]
    is_any = str(getattr(condition, "operator", "and_")).endswith("or_")
    return any(outcomes) if is_any and outcomes else all(outcomes)


_RUN_FIELDS: dict[str, Callable[[Any], Any]] = {
    "id": lambda run: run.id,
    "name": lambda run: run.name,
    "expected_start_time": lambda run: run.expected_start_time,
    "next_scheduled_start_time": lambda run: run.next_scheduled_start_time,
    "start_time": lambda run: run.start_time,
    "end_time": lambda run: run.end_time,
    "idempotency_key": lambda run: run.idempotency_key,
}


def run_matches(run: Any, conditions: Any) -> bool:
    """Return whether a run meets a FlowRunFilter."""
    parts = chosen(conditions)
    if not parts:
        return True
    if str(getattr(conditions, "operator", "and_")).endswith("or_"):
        raise NotSimulated("FlowRunFilter with the operator or")
    for name, part in parts.items():
        if name == "tags":
            is_met = _tags(run.tags, part)
        elif name == "state":
            is_met = _state(run, part)
        elif name in _RUN_FIELDS:
            is_met = _in(_RUN_FIELDS[name](run), part)
        else:
            raise NotSimulated(f"condition {name} of flow runs")
        if not is_met:
            return False
    return True


def name_or_id_matches(item_id: Any, name: str | None, conditions: Any) -> bool:
    """Return whether a flow, queue, pool or deployment meets a filter by id or name."""
    parts = chosen(conditions)
    if not parts.keys() <= {"id", "name"}:
        raise NotSimulated(f"conditions {sorted(parts)} of {type(conditions).__name__}")
    return all(_in({"id": item_id, "name": name}[field], part) for field, part in parts.items())


def artifact_matches(artifact: Any, conditions: Any) -> bool:
    """Return whether an artifact meets an ArtifactFilter."""
    values = {
        "flow_run_id": artifact.flow_run_id,
        "key": artifact.key,
        "type": artifact.type,
        "id": artifact.id,
    }
    parts = chosen(conditions)
    if not parts.keys() <= values.keys():
        raise NotSimulated(f"conditions {sorted(parts)} of artifacts")
    return all(_in(values[name], part) for name, part in parts.items())


_ORDERS: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "ID_DESC": (lambda run: run.id, True),
    "EXPECTED_START_TIME_ASC": (lambda run: run.expected_start_time or _LAST, False),
    "EXPECTED_START_TIME_DESC": (lambda run: run.expected_start_time or _FIRST, True),
    "NEXT_SCHEDULED_START_TIME_ASC": (lambda run: run.next_scheduled_start_time or _LAST, False),
    "START_TIME_ASC": (lambda run: run.start_time or _LAST, False),
    "START_TIME_DESC": (lambda run: run.start_time or _FIRST, True),
    "END_TIME_DESC": (lambda run: run.end_time or _FIRST, True),
}


def in_order(runs: list[Any], sort: Any) -> list[Any]:
    """Return runs in an order of Prefect's."""
    name = str(getattr(sort, "value", sort) or "ID_DESC")
    if name not in _ORDERS:
        raise NotSimulated(f"order {name}")
    key, is_reversed = _ORDERS[name]
    return sorted(runs, key=key, reverse=is_reversed)
