"""Terminal output: job progress, waits, job lists and result summaries; plain lines without a terminal."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import rich.console

Job = Mapping[str, Any]

Waiting = Callable[[float, str], None]
"""Callback with the elapsed seconds and a message about what is awaited."""

_STEP = 10
"""Percent of progress between two lines of a plain log."""
_SHOW_AFTER_S: Final = 3.0
"""Seconds; shorter waits are not shown."""
_LINE_TIMES_S: Final = (5.0, 15.0, 30.0, 60.0)
"""Elapsed times in seconds at which a plain log gets a line; then every minute."""


def console() -> rich.console.Console:
    """Return a console on standard output."""
    return rich.console.Console(highlight=False, soft_wrap=True)


def errors() -> rich.console.Console:
    """Return a console on standard error."""
    return rich.console.Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def progress(out: rich.console.Console, title: str = "") -> Generator[Callable[[Job], None]]:
    """
    Show a job's progress while the block runs.

    Args:
        out:   console; a terminal gets a progress bar, any other output a line per stage and per 10 percent.
        title: name of the job in the output; empty: its job type.

    Returns:
        A function to call with the job, as in the API, after each poll.
    """
    if not out.is_terminal:
        yield _plain_lines(out, title)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<18}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as bar:
        line = bar.add_task(_titled(title, "queued"), total=100)
        yield lambda job: bar.update(
            line, description=_titled(title, _where(job)), completed=job["progress"]["percent"]
        )


def _titled(title: str, text: str) -> str:
    return f"{title}: {text}" if title else text


def _plain_lines(out: rich.console.Console, title: str) -> Callable[[Job], None]:
    last: list[tuple[str, int]] = []

    def show(job: Job) -> None:
        now = (_where(job), int(job["progress"]["percent"]) // _STEP)
        if now not in last:
            last[:] = [now]
            text = f"{_where(job)} {job['progress']['percent']:.0f} %"
            out.print(_titled(title or job["type"], text), markup=False)

    return show


@contextmanager
def busy(out: rich.console.Console, text: str) -> Generator[None]:
    """
    Show an activity of unknown duration while the block runs.

    Args:
        out:  console; a terminal gets a spinner, any other output one line.
        text: description of the activity.
    """
    if not out.is_terminal:
        out.print(text, markup=False)
        yield
        return
    from rich.markup import escape

    with out.status(escape(text)):
        yield


@contextmanager
def waiting(out: rich.console.Console) -> Generator[Waiting]:
    """
    Show what is awaited, and for how long, while the block runs.

    Args:
        out: console; a terminal gets one updating line, any other output a line at growing intervals.

    Returns:
        A function to call about once a second.
    """
    if not out.is_terminal:
        yield waiting_lines(lambda line: out.print(line, markup=False))
        return
    from rich.markup import escape

    with out.status("") as status:
        status.stop()

        def show(seconds: float, text: str) -> None:
            if seconds >= _SHOW_AFTER_S:
                status.update(escape(f"{text} ({seconds:.0f} s)"))
                status.start()

        yield show


def waiting_lines(say: Callable[[str], None]) -> Waiting:
    """Return a wait callback for a plain log: lines after 5, 15, 30 and 60 s, then every minute."""
    said = 0

    def show(seconds: float, text: str) -> None:
        nonlocal said
        due = sum(seconds >= at for at in _LINE_TIMES_S) + max(0, int(seconds // _LINE_TIMES_S[-1]) - 1)
        if due > said:
            said = due
            say(f"{text} ({seconds:.0f} s)")

    return show


def _where(job: Job) -> str:
    shown = job["progress"]
    if job["status"] == "running" and job["phase"]:
        frames = f" {shown['done']}/{shown['total']}" if shown["total"] > 1 else ""
        return f"{job['phase']}{frames}"
    return str(job["status"])


def row(job: Job) -> str:
    """Format a job as one line of a list: id, creation time, type, status and tags."""
    created = str(job["created_at"] or "")[:19].replace("T", " ")
    where = (
        f"{_where(job)} {job['progress']['percent']:.0f} %" if job["status"] == "running" else job["status"]
    )
    tags = " ".join(job["tags"])
    return f"{job['id']}  {created}  {job['type']:<14}  {where:<22}  {tags}".rstrip()


def summary(job: Job) -> list[str]:
    """
    Summarize how a job ended.

    Args:
        job: a finished job, as in the API.

    Returns:
        Lines of text: result or error, cached steps, timings and warnings.
    """
    if job["status"] != "succeeded":
        error = job["error"]
        return [
            f"{job['type']} {job['status']}" + (f": {error['message']} [{error['code']}]" if error else "")
        ]
    result: Mapping[str, Any] = job["result"] or {}
    facts = [f"{result['duration_s']:.2f} s"] if "duration_s" in result else []
    if "width" in result:
        moves = f" at {result['fps']} frames per second" if "fps" in result else ""  # absent for still images
        facts.append(f"{result['width']}x{result['height']}{moves}")
    if "engine" in result:
        facts.append(f"engine {result['engine']}")
    lines = [
        f"{job['type']} succeeded: {result.get('name', '')}" + (f" ({', '.join(facts)})" if facts else "")
    ]
    if job["type"] == "transcribe":
        lines += str(result.get("text", "")).splitlines()
    if job["type"] == "analyze":
        lines += [result["text"], f"model: {result['model']}"]
    lines.append("cached: " + (", ".join(result.get("cached", [])) or "nothing"))
    lines.append(
        "seconds: " + ", ".join(f"{name} {s:.2f}" for name, s in result.get("timings_s", {}).items())
    )
    lines += [f"warning: {text}" for text in result.get("warnings", [])]
    return lines
