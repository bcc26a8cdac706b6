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

from api.client import Api, ApiError
from deployments import demo_report
from deployments.lock import running
from deployments.show import busy, progress, waiting
from deployments.stack import Plan
from deployments.up import StackStopped, Supervisor, signals_ask

if TYPE_CHECKING:
    from rich.console import Console

FACE = Path(__file__).parent / "assets" / "astronaut.jpg"
WORDS = (
    "Hello. I am a picture that learned to speak. Every move of my lips comes from the sound of my voice."
    " My mother bought five big blue balloons."
)
OTHER_WORDS = (
    "While I am saying something else, somebody may put quite different words into my mouth, you see."
)

Job = dict[str, Any]
T = TypeVar("T")

_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Wishes:
    """Options of the demo; bundled inputs replace those that are None."""

    video: Path | None = None
    audio: Path | None = None
    text: str | None = None
    out: Path = Path("demo")
    keep: bool = False


class _Desk:
    """Submits jobs and waits for them, while checking that the stack runs and showing progress."""

    def __init__(self, api: Api, look: Callable[[], None], out: "Console") -> None:
        self._api = api
        self._look = look
        self._out = out
        self._titles: dict[str, str] = {}

    def send(self, title: str, job_type: str, job: Mapping[str, Any]) -> str:
        job_id = str(self._api.submit(job_type, job)["id"])
        self._titles[job_id] = title
        self._out.print(f"{title}: job {job_id}", markup=False)
        return job_id

    def result(self, job_id: str) -> Job:
        with progress(self._out, self._titles[job_id]) as show:

            def look(job: Job) -> None:
                self._look()
                show(job)

            job = self._api.wait(job_id, look, every_s=0.25)
        if job["status"] != "succeeded":
            error = job["error"] or {"message": "no error message", "code": job["status"]}
            raise ApiError(f"{job['type']} {job['status']}: {error['message']} [{error['code']}]")
        return job

    def fetch(self, job: Job, path: Path) -> Path:
        return self._api.download(job["id"], path)

    def meanwhile(self, text: str, work: Callable[[], T]) -> T:
        """Run long local work in a thread, while Ctrl-C and the end of a stack process are still noticed."""
        done: Future[T] = Future()
        Thread(target=_settle, args=(done, work), daemon=True).start()
        with busy(self._out, text):
            while not done.done():
                self._look()
                wait([done], timeout=_LOOK_S)
        return done.result()


def _settle(done: Future[T], work: Callable[[], T]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:
        done.set_exception(error)


def run_demo(plan: Plan, wishes: Wishes, out: "Console") -> None:
    """
    Render the demo's videos into a folder and print their quality figures.

    Args:
        plan:    the stack to start if none is running on its home folder.
        options: inputs and output folder.
        out:     console for progress and results.

    Raises:
        ApiError:   an input file does not exist, or a job failed.
        StackError: the stack did not start, or one of its processes ended.
    """
    began = time.monotonic()
    for given in (wishes.video, wishes.audio):
        if given is not None and not given.is_file():
            raise ApiError(f"No such file: {given}.")
    wishes.out.mkdir(parents=True, exist_ok=True)
    with _stack(plan, wishes.keep, out) as (desk, prefect_url, stay):
        films = _with_own_files(desk, wishes) if wishes.video or wishes.audio else _from_words(desk, wishes)
        for film in films:
            for line in desk.meanwhile(f"measuring {film.title}", partial(demo_report.lines, film)):
                out.print(line, markup=False)
        later = "" if wishes.keep else " (available while `./run musetalk up` runs)"
        out.print(f"runs, tasks and logs: {prefect_url}/runs{later}", markup=False)
        out.print(f"finished after {time.monotonic() - began:.0f} s", markup=False)
        stay()


_STARTER = {"engine": "starter", "format": "wav"}
"""Speech options: this voice reports exact phone times, against which the lips are measured."""


def _from_words(desk: _Desk, wishes: Wishes) -> list[demo_report.Film]:
    """Synthesize a text, render it as a talking portrait, and lip-sync it onto a clip of other speech."""
    speech = desk.send(
        "speech", "speech", {"text": wishes.text or WORDS, "engine": "starter", "format": "wav"}
    )
    other_speech = desk.send(
        "clip speech", "speech", {"text": OTHER_WORDS, "speed": 0.9, "engine": "starter"}
    )
    spoken = desk.result(speech)
    portrait = desk.send("portrait", "portrait", {"image": str(FACE), "audio": f"job://{speech}"})
    desk.result(other_speech)
    clip = desk.send("clip", "portrait", {"image": str(FACE), "audio": f"job://{other_speech}", "seed": 7})
    desk.result(clip)
    lip_sync = desk.send("lip sync", "lip_sync", {"video": f"job://{clip}", "audio": f"job://{speech}"})
    phones = demo_report.spoken_phones(spoken)
    made = {"portrait": desk.result(portrait), "lip_sync": desk.result(lip_sync)}
    desk.fetch(spoken, wishes.out / "speech.wav")
    return [
        demo_report.Film(name, job, desk.fetch(job, wishes.out / f"{name}.mp4"), phones)
        for name, job in made.items()
    ]


def _with_own_files(desk: _Desk, wishes: Wishes) -> list[demo_report.Film]:
    """Lip-sync the caller's video to the caller's audio, or to synthesized text. Files are uploaded."""
    from deployments.quality import heard_phones

    job: dict[str, Any] = {"video": str(wishes.video or FACE)}
    if wishes.audio is not None:
        job |= {"audio": str(wishes.audio)} | ({"text": wishes.text} if wishes.text else {})
        phones = desk.meanwhile("recognizing the speech", partial(heard_phones, wishes.audio, wishes.text))
    else:
        speech = desk.send(
            "speech", "speech", {"text": wishes.text or WORDS, "engine": "starter", "format": "wav"}
        )
        phones = demo_report.spoken_phones(desk.result(speech))
        job["audio"] = f"job://{speech}"
    made = desk.result(desk.send("lip sync", "lip_sync", job))
    return [demo_report.Film("lip_sync", made, desk.fetch(made, wishes.out / "lip_sync.mp4"), phones)]


@contextmanager
def _stack(plan: Plan, keep: bool, out: "Console") -> Generator[tuple[_Desk, str, Callable[[], None]]]:
    """Use the running stack of this home folder, or start one and stop it afterwards."""
    keys = plan.settings.api.keys
    key = keys[0].get_secret_value() if keys else None
    here = running(plan.home)
    if here is not None:
        out.print(f"using the running stack at {here.api_url}", markup=False)
        yield _Desk(Api(here.api_url, key), lambda: None, out), here.prefect_url, lambda: None
        return
    supervisor = Supervisor(plan, lambda line: out.print(line, markup=False), partial(waiting, out))
    with signals_ask(supervisor):
        try:
            with supervisor:
                desk = _Desk(Api(plan.api_url, key), supervisor.look, out)
                yield desk, plan.prefect_url, _stay(supervisor, plan, keep, out)
        except StackStopped as error:
            raise ApiError("stopped") from error


def _stay(supervisor: Supervisor, plan: Plan, keep: bool, out: "Console") -> Callable[[], None]:
    def stay() -> None:
        if keep:
            out.print(f"still running: {plan.api_url}/docs and {plan.prefect_url}; Ctrl-C stops everything")
            supervisor.watch()

    return stay
