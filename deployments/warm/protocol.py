"""What a worker and its child processes say to each other: one JSON object a line, over a socket pair."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

Why = Literal["cancel", "time", "deadline", "hand_back", "taken_away"]
"""Why a run is stopped: its owner, `max_time`, `complete_in`, our own shutdown, or another worker has it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """Worker to child: run this."""

    run_id: str
    env: dict[str, str]
    scratch: str
    """Folder for temporary files, removed by the worker afterwards."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Worker to child: end the run that is going on."""

    why: Why


@dataclass(frozen=True, slots=True)
class Hooks:
    """Worker to child: run the hooks a flow has for a run that ended in another child."""

    run_id: str
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Leave:
    """Worker to child: end yourself."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Child to worker: everything is imported."""

    pid: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """Child to worker: the flow is imported and about to run."""

    hooks: bool
    """Whether it wants to be told of a crash or a cancellation."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Child to worker, once a second: I live, and this is what I hold."""

    rss: int
    """Resident bytes of the process."""
    device: int = 0
    """Bytes taken on its card."""
    models: tuple[str, ...] = ()
    loads: dict[str, int] = field(default_factory=dict[str, int])
    """How often each model was loaded since the child began."""


@dataclass(frozen=True, slots=True)
class Done:
    """Child to worker: the run has ended, and whether the engine told the server how."""

    run_id: str
    code: int
    """Exit status that a process of its own would have had."""
    state: str | None
    """Type of the state that the engine reported last."""
    tainted: str | None
    """Why the child should not serve another run."""
    beat: Beat
    fault: str | None = None
    """Why no attempt can start the run; None if it was started or another attempt may succeed."""


Message = Order | Stop | Hooks | Leave | Ready | Loaded | Beat | Done

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Order, Stop, Hooks, Leave, Ready, Loaded, Beat, Done)
}


def encode(message: Message) -> bytes:
    """Return a message as one line."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """
    Read a line.

    Raises:
        ValueError: it is no message.
    """
    said: dict[str, Any] = json.loads(line)
    try:
        kind = _KINDS[said.pop("kind")]
        if isinstance(said.get("beat"), dict):
            said["beat"] = _beat(said["beat"])
        return _beat(said) if kind is Beat else kind(**said)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {line[:200]!r}") from error


def _beat(said: dict[str, Any]) -> Beat:
    return Beat(
        rss=said["rss"],
        device=said["device"],
        models=tuple(said["models"]),
        loads=said["loads"],
    )
