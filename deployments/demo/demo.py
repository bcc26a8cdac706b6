"""The `musetalk demo` command: render a talking portrait and a lip-synced video through the job API."""

import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from api.client import ApiError, LocalFileMissing, MusetalkClient
from api.local_files import missing_file_message
from deployments.console import show_activity, show_progress, show_waiting
from deployments.demo import report
from deployments.stack.commands import StackPlan
from deployments.stack.home_lock import find_running_stack
from deployments.stack.supervisor import StackStopRequested, Supervisor, stop_on_signals
from musetalk_core.installation import command

if TYPE_CHECKING:
    from rich.console import Console

PORTRAIT_PATH = Path(__file__).parents[1] / "assets" / "astronaut.jpg"
SPEECH_TEXT = (
    "Hello. I am a picture that learned to speak. Every move of my lips comes from the sound of my voice."
    " My mother bought five big blue balloons."
)

Job = dict[str, Any]
T = TypeVar("T")

_CHECK_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of the demo; bundled inputs replace those that are None."""

    video: Path | None = None
    audio: Path | None = None
    text: str | None = None
    out: Path = Path("demo")
    keep: bool = False


class _DemoSession:
    """Submits jobs and waits for them, while checking that the stack runs and showing progress."""

    def __init__(self, api: MusetalkClient, check_stack: Callable[[], None], out: "Console") -> None:
        self._api = api
        self._check_stack = check_stack
        self._out = out
        self._titles: dict[str, str] = {}

    def submit(self, title: str, job_type: str, job: Mapping[str, Any]) -> str:
        job_id = str(self._api.submit(job_type, job)["id"])
        self._titles[job_id] = title
        self._out.print(f"{title}: job {job_id}", markup=False)
        return job_id

    def wait_for_result(self, job_id: str) -> Job:
        with show_progress(self._out, self._titles[job_id]) as show:

            def on_poll(job: Job) -> None:
                self._check_stack()
                show(job)

            job = self._api.wait(job_id, on_poll, min_interval_s=0.25)
        if job["status"] != "succeeded":
            error = job["error"] or {"message": "no error message", "code": job["status"]}
            raise ApiError(f"{job['type']} {job['status']}: {error['message']} [{error['code']}]")
        return job

    def download(self, job: Job, path: Path) -> Path:
        return self._api.download(job["id"], path)

    def run_in_background(self, text: str, work: Callable[[], T]) -> T:
        """Run long local work in a thread, while Ctrl-C and the end of a stack process are still noticed."""
        future: Future[T] = Future()
        Thread(target=_complete_future, args=(future, work), daemon=True).start()
        with show_activity(self._out, text):
            while not future.done():
                self._check_stack()
                wait([future], timeout=_CHECK_INTERVAL_S)
        return future.result()


def _complete_future(future: Future[T], work: Callable[[], T]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


def run_demo(plan: StackPlan, options: DemoOptions, out: "Console") -> list[dict[str, Any]]:
    """
    Render the demo's videos into a folder and print their quality figures.

    Args:
        plan:    the stack to start if none is running on its home folder.
        options: inputs and output folder.
        out:     console for progress and results.

    Returns:
        Title, path and job id of each video.

    Raises:
        LocalFileMissing: an input file does not exist.
        ApiError:   a job failed.
        StackError: the stack did not start, or one of its processes ended.
    """
    started_at = time.monotonic()
    for input_path in (options.video, options.audio):
        if input_path is not None and not input_path.is_file():
            raise LocalFileMissing(missing_file_message(input_path))
    options.out.mkdir(parents=True, exist_ok=True)
    with _running_stack_session(plan, options.keep, out) as (session, prefect_url, keep_running):
        videos = (
            _render_from_files(session, options)
            if options.video or options.audio
            else _render_from_text(session, options)
        )
        for video in videos:
            for line in session.run_in_background(
                f"measuring {video.title}", partial(report.report_lines, video)
            ):
                out.print(line, markup=False)
        availability_note = "" if options.keep else f" (available while `{command('up')}` runs)"
        out.print(f"runs, tasks and logs: {prefect_url}/runs{availability_note}", markup=False)
        out.print(f"finished after {time.monotonic() - started_at:.0f} s", markup=False)
        for line in report.next_steps(plan.api_url, is_running=options.keep):
            out.print(line, markup=False)
        keep_running()
    return [
        {"title": video.title, "path": str(video.path.resolve()), "job": video.job["id"]} for video in videos
    ]


_STARTER_VOICE_OPTIONS = {"engine": "starter", "format": "wav"}
"""Speech options: this voice reports exact phone times, against which the lips are measured."""


def _render_from_text(session: _DemoSession, options: DemoOptions) -> list[report.RenderedVideo]:
    """Synthesize a text, render it as a talking portrait, and lip-sync it onto a clip in motion."""
    from deployments.demo.clip import write_clip

    speech = session.submit(
        "speech", "speech", {"text": options.text or SPEECH_TEXT, "engine": "starter", "format": "wav"}
    )
    clip = options.out / "clip.mp4"
    session.run_in_background("making a video clip", partial(write_clip, PORTRAIT_PATH, clip))
    speech_job = session.wait_for_result(speech)
    portrait = session.submit(
        "portrait", "portrait", {"image": str(PORTRAIT_PATH), "audio": f"job://{speech}", "quality": "card"}
    )
    lip_sync = session.submit(
        "lip sync", "lip_sync", {"video": str(clip), "audio": f"job://{speech}", "quality": "card"}
    )
    phones = report.load_spoken_phones(speech_job)
    finished_jobs = {
        "portrait": session.wait_for_result(portrait),
        "lip_sync": session.wait_for_result(lip_sync),
    }
    session.download(speech_job, options.out / "speech.wav")
    return [
        report.RenderedVideo(name, job, session.download(job, options.out / f"{name}.mp4"), phones)
        for name, job in finished_jobs.items()
    ]


def _render_from_files(session: _DemoSession, options: DemoOptions) -> list[report.RenderedVideo]:
    """Lip-sync the caller's video to the caller's audio, or to synthesized text. Files are uploaded."""
    from deployments.demo.quality import recognize_phones

    job: dict[str, Any] = {"video": str(options.video or PORTRAIT_PATH), "quality": "card"}
    if options.audio is not None:
        job |= {"audio": str(options.audio)} | ({"text": options.text} if options.text else {})
        phones = session.run_in_background(
            "recognizing the speech", partial(recognize_phones, options.audio, options.text)
        )
    else:
        speech = session.submit(
            "speech", "speech", {"text": options.text or SPEECH_TEXT, "engine": "starter", "format": "wav"}
        )
        phones = report.load_spoken_phones(session.wait_for_result(speech))
        job["audio"] = f"job://{speech}"
    finished_job = session.wait_for_result(session.submit("lip sync", "lip_sync", job))
    return [
        report.RenderedVideo(
            "lip_sync", finished_job, session.download(finished_job, options.out / "lip_sync.mp4"), phones
        )
    ]


@contextmanager
def _running_stack_session(
    plan: StackPlan, keep: bool, out: "Console"
) -> Generator[tuple[_DemoSession, str, Callable[[], None]]]:
    """Use the running stack of this home folder, or start one and stop it afterwards."""
    keys = plan.settings.api.keys
    key = keys[0].get_secret_value() if keys else None
    running_stack = find_running_stack(plan.home)
    if running_stack is not None:
        out.print(f"using the running stack at {running_stack.api_url}", markup=False)
        yield (
            _DemoSession(MusetalkClient(running_stack.api_url, key), lambda: None, out),
            running_stack.prefect_url,
            lambda: None,
        )
        return
    supervisor = Supervisor(plan, lambda line: out.print(line, markup=False), partial(show_waiting, out))
    with stop_on_signals(supervisor):
        try:
            with supervisor:
                session = _DemoSession(MusetalkClient(plan.api_url, key), supervisor.check, out)
                yield session, plan.prefect_url, _make_keep_running(supervisor, plan, keep, out)
        except StackStopRequested as error:
            raise ApiError("stopped") from error


def _make_keep_running(
    supervisor: Supervisor, plan: StackPlan, keep: bool, out: "Console"
) -> Callable[[], None]:
    """Return a function that keeps the stack running until Ctrl-C if `keep` is set, else does nothing."""

    def keep_running() -> None:
        if keep:
            out.print(f"studio:  {plan.api_url}/studio")
            out.print(f"prefect: {plan.prefect_url}")
            out.print("Ctrl-C stops everything.")
            supervisor.watch()

    return keep_running
