"""Messages between a worker and its child processes: one JSON object per line, over a socket pair."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

StopReason = Literal["cancel", "time", "deadline", "hand_back", "taken_away"]
"""Why a run is stopped: cancelled, `max_time`, `complete_in`, worker shutdown, claimed by another worker."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Worker to child: execute a run."""

    run_id: str
    env: dict[str, str]
    scratch: str
    """Folder for temporary files; the worker deletes it after the run."""
    device_share: float = 0.0
    """Share of a GPU that the process has; 0 without a GPU."""
    traceparent: str = ""
    """Span of the attempt; empty if nothing is traced."""


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Worker to child: stop the current run."""

    why: StopReason


@dataclass(frozen=True, slots=True)
class HooksRequest:
    """Worker to child: run the flow's hooks for a run that ended in another child."""

    run_id: str
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Worker to child: exit."""


@dataclass(frozen=True, slots=True)
class ChildReady:
    """Child to worker: all modules are imported."""

    pid: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FlowLoaded:
    """Child to worker: the flow is imported and about to run."""

    hooks: bool
    """Whether the flow has crash or cancellation hooks."""
    flow: str = ""
    """Name of the flow."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Child to worker, once a second: the child is alive; its memory and loaded models."""

    rss: int
    """Resident memory of the process in bytes."""
    device: int = 0
    """GPU memory reserved by the process in bytes."""
    models: tuple[str, ...] = ()
    loads: dict[str, int] = field(default_factory=dict[str, int])
    """Number of loads per model since the child started."""
    counts: dict[str, float] = field(default_factory=dict[str, float])
    """Counters of the child since it started, see `tasks.run.counters`."""
    usage: dict[str, Any] | None = None
    """Usage of the current run so far, see `tasks.run.usage`; None between two runs."""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Child to worker: the run has ended, with the state that the engine reported to the server."""

    run_id: str
    code: int
    """Exit status that a separate process for this run would have had."""
    state: str | None
    """Type of the last state that the engine reported; None if it reported none."""
    retire_reason: str | None
    """Why the child should not execute another run; None if it may."""
    beat: Heartbeat
    fault: str | None = None
    """Why no attempt can start the run; None if it was started, or if another attempt may succeed."""


Message = (
    RunRequest | StopRequest | HooksRequest | Shutdown | ChildReady | FlowLoaded | Heartbeat | RunFinished
)

_MESSAGE_TYPES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        RunRequest,
        StopRequest,
        HooksRequest,
        Shutdown,
        ChildReady,
        FlowLoaded,
        Heartbeat,
        RunFinished,
    )
}


def encode(message: Message) -> bytes:
    """Return a message as one line of JSON, with the class name under `kind`."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """
    Parse one line into a message.

    Raises:
        ValueError: the line is not a valid message.
    """
    fields: dict[str, Any] = json.loads(line)
    try:
        message_type = _MESSAGE_TYPES[fields.pop("kind")]
        if isinstance(fields.get("beat"), dict):
            fields["beat"] = _parse_heartbeat(fields["beat"])
        return _parse_heartbeat(fields) if message_type is Heartbeat else message_type(**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {line[:200]!r}") from error


def _parse_heartbeat(fields: dict[str, Any]) -> Heartbeat:
    return Heartbeat(
        rss=fields["rss"],
        device=fields["device"],
        models=tuple(fields["models"]),
        loads=fields["loads"],
        counts=fields["counts"],
        usage=fields["usage"],
    )
