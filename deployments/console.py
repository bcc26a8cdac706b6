"""Terminal output: job progress, waits, job lists and result summaries; plain lines without a terminal."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

Job = Mapping[str, Any]
BATCH_TYPES: Final = frozenset({"batch", "render_new"})
"""Job types that consist of rows."""

WaitCallback = Callable[[float, str], None]
"""Callback with the elapsed seconds and a message about what is awaited."""

_PROGRESS_STEP_PERCENT = 10
"""Percent of progress between two lines of a plain log."""
_MIN_SHOWN_WAIT_S: Final = 3.0
"""Seconds; shorter waits are not shown."""
_LINE_TIMES_S: Final = (5.0, 15.0, 30.0, 60.0)
"""Elapsed times in seconds at which a plain log gets a line; then every minute."""


def output_console() -> "Console":
    """Return a console on standard output."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def error_console() -> "Console":
    """Return a console on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def show_progress(out: "Console", title: str = "") -> Generator[Callable[[Job], None]]:
    """
    Show a job's progress while the block runs.

    Args:
        out:   console; a terminal gets a progress bar, any other output a line per stage and per 10 percent.
        title: name of the job in the output; empty: its job type.

    Returns:
        A function to call with the job, as in the API, after each poll.
    """
    if not out.is_terminal:
        yield _plain_progress_callback(out, title)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<18}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as bar:
        task_id = bar.add_task(_with_title(title, "queued"), total=100)
        yield lambda job: bar.update(
            task_id, description=_with_title(title, _job_stage(job)), completed=_percent(job)
        )


def _with_title(title: str, text: str) -> str:
    return f"{title}: {text}" if title else text


def _plain_progress_callback(out: "Console", title: str) -> Callable[[Job], None]:
    last_shown: list[tuple[str, int]] = []

    def show(job: Job) -> None:
        current = (_job_stage(job), int(job["progress"]["percent"]) // _PROGRESS_STEP_PERCENT)
        if current not in last_shown:
            last_shown[:] = [current]
            text = (
                _job_stage(job)
                if job["status"] in _UNSUCCESSFUL
                else f"{_job_stage(job)} {_percent(job):.0f} %"
            )
            out.print(_with_title(title or job["type"], text), markup=False)

    return show


@contextmanager
def show_activity(out: "Console", text: str) -> Generator[None]:
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
def show_waiting(out: "Console") -> Generator[WaitCallback]:
    """
    Show what is awaited, and for how long, while the block runs.

    Args:
        out: console; a terminal gets one updating line, any other output a line at growing intervals.

    Returns:
        A function to call about once a second.
    """
    if not out.is_terminal:
        yield plain_wait_callback(lambda line: out.print(line, markup=False))
        return
    from rich.markup import escape

    with out.status("") as status:
        status.stop()

        def show(seconds: float, text: str) -> None:
            if seconds >= _MIN_SHOWN_WAIT_S:
                status.update(escape(f"{text} ({seconds:.0f} s)"))
                status.start()

        yield show


def plain_wait_callback(log: Callable[[str], None]) -> WaitCallback:
    """Return a wait callback for a plain log: lines after 5, 15, 30 and 60 s, then every minute."""
    printed_count = 0

    def show(seconds: float, text: str) -> None:
        nonlocal printed_count
        due_count = sum(seconds >= at for at in _LINE_TIMES_S) + max(0, int(seconds // _LINE_TIMES_S[-1]) - 1)
        if due_count > printed_count:
            printed_count = due_count
            log(f"{text} ({seconds:.0f} s)")

    return show


_UNSUCCESSFUL: Final = frozenset({"failed", "canceled", "aborted"})


def _percent(job: Job) -> float:
    """Return the progress of a job in percent; 0 if it ended without success."""
    return 0.0 if job["status"] in _UNSUCCESSFUL else float(job["progress"]["percent"])


def warning_text(warning: Any) -> str:
    """Return a warning of a result as text; a warning is a text, or an object with code and message."""
    if isinstance(warning, Mapping):
        fields: Mapping[str, Any] = warning
        return ": ".join(str(fields[name]) for name in ("code", "message") if fields.get(name))
    return str(warning)


def _job_stage(job: Job) -> str:
    job_progress = job["progress"]
    if job["status"] == "running" and job["phase"]:
        frames = f" {job_progress['done']}/{job_progress['total']}" if job_progress["total"] > 1 else ""
        return f"{job['phase']}{frames}"
    return str(job["status"])


def job_row(job: Job) -> str:
    """Format a job as one line of a list: id, creation time, type, status and tags."""
    created_at = str(job["created_at"] or "")[:19].replace("T", " ")
    stage = (
        f"{_job_stage(job)} {job['progress']['percent']:.0f} %"
        if job["status"] == "running"
        else job["status"]
    )
    tags = " ".join(job["tags"])
    return f"{job['id']}  {created_at}  {job['type']:<14}  {stage:<22}  {tags}".rstrip()


def job_summary(job: Job) -> list[str]:
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
    if job["type"] in BATCH_TYPES and "total" in result:
        return _batch_summary(job["type"], result)
    facts = [f"{result['duration_s']:.2f} s"] if "duration_s" in result else []
    if "width" in result:
        frame_rate = (
            f" at {result['fps']} frames per second" if "fps" in result else ""
        )  # absent for still images
        facts.append(f"{result['width']}x{result['height']}{frame_rate}")
    if "engine" in result:
        facts.append(f"engine {result['engine']}")
    lines = [
        f"{job['type']} succeeded: {result.get('name', '')}" + (f" ({', '.join(facts)})" if facts else "")
    ]
    if job["type"] == "transcribe":
        lines += str(result.get("text", "")).splitlines()
    if job["type"] == "analyze":
        lines += [result["text"], f"model: {result['model']}"]
    if card := result.get("quality"):
        score = "no face was visible" if card["score"] is None else f"score {card['score']:.2f}"
        lines.append(f"quality: {score}, {len(card['defects'])} defects in {card['frames']} frames")
    lines.append("cached: " + (", ".join(result.get("cached", [])) or "nothing"))
    lines.append(
        "seconds: " + ", ".join(f"{name} {s:.2f}" for name, s in result.get("timings_s", {}).items())
    )
    lines += [f"warning: {warning_text(one)}" for one in result.get("warnings", [])]
    return lines


def fault_text(fault: Mapping[str, str]) -> str:
    """Return an error of a row with its column: `encode.crf: …`; of the whole row only the sentence."""
    column = fault["pointer"].removeprefix("#").strip("/").replace("/", ".")
    return f"{column}: {fault['detail']}" if column else fault["detail"]


def _batch_summary(job_type: str, result: Mapping[str, Any]) -> list[str]:
    """Summarize a finished batch: counts, and the rows that did not succeed with their reasons."""
    counts = [f"{result[name]} {name}" for name in ("failed", "canceled", "invalid") if result.get(name)]
    known = [f"{result['known']} processed earlier"] if result.get("known") else []
    counted = ", ".join([f"{result['succeeded']} of {result['total']} rows succeeded", *counts, *known])
    lines = [f"{job_type} finished: {counted}"]
    for row in result.get("problems", ()):
        faults = "; ".join(fault_text(fault) for fault in row.get("faults", ()))
        reason = row.get("message") or faults or "no reason is recorded"
        code = f" [{row['code']}]" if row.get("code") else ""
        lines.append(f"row {row['row']} ({row['id']}) {row['status']}: {reason}{code}")
    listed, unsuccessful = len(result.get("problems", ())), result["total"] - result["succeeded"]
    if unsuccessful > listed:
        lines.append(
            f"{unsuccessful - listed} more rows did not succeed: see {result.get('name', 'the table')}"
        )
    if result.get("name"):
        lines.append(f"table of results: {result['name']}")
    return lines + [f"warning: {warning_text(one)}" for one in result.get("warnings", [])]
