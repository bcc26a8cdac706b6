"""What the sources of the manifest have of what is missing: asked before a byte is fetched."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from musetalk_core.errors import WeightsInvalid
from musetalk_core.weights.layout import Layout
from musetalk_core.weights.records import File, Hub, Model, Web
from tasks.egress import Egress
from tasks.errors import InputUnreachable, NotOffered, ObjectMissing, PullFailed
from tasks.hub import HubClient
from tasks.objects import OnBytes
from tasks.partial import Part
from tasks.settings import Settings

_PATIENCE_S = 24 * 3600.0
"""For one file from a web address; the limit that inputs of jobs have is far shorter."""


@dataclass(frozen=True, slots=True)
class Offered:
    """
    A file that a source has for us.

    Attributes:
        file:    its record.
        version: of the content; a part of the same version is continued.
        name:    what it is, for notes and messages.
        size:    bytes, if told.
        sha256:  of the content, if told.
        fetch:   appends to a part what it lacks.
    """

    file: File
    version: str
    name: str
    size: int | None
    sha256: str | None
    fetch: Callable[[Part, OnBytes], None]

    def missing(self, target: Path) -> int:
        """Bytes that are still to come, as far as known, beside the part that is there."""
        part = Part.path_beside(target, self.version)
        have = part.stat().st_size if part.is_file() else 0
        return max(0, (self.file.about if self.size is None else self.size) - have)


class Sources:
    """Asks hubs and web servers."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; nothing is asked yet."""
        self._hub = HubClient(settings.weights)
        self._web = Egress(settings.egress.model_copy(update={"total_timeout_s": _PATIENCE_S}))

    def offered(self, model: Model, here: Layout) -> list[Offered]:
        """
        Ask for what a model lacks.

        Args:
            model: which.
            here:  what is there already.

        Returns:
            The missing files of the first set that can be completed, the most complete one tried first.

        Raises:
            NotOffered: there is no such set.
            PullFailed: a source does not answer.
            WeightsInvalid: a source has something else.
        """
        look = here.look(model.name)
        if not look.missing:
            return []
        reasons: list[str] = []
        for files in sorted(model.choices, key=lambda files: -len(look.found.keys() & set(files))):
            try:
                return [self._asked(file, model.name) for file in files if here.where(file) is None]
            except NotOffered as error:
                reasons.append(str(error))
        raise NotOffered(" ".join(dict.fromkeys(reasons)), model=model.name)

    def _asked(self, file: File, model: str) -> Offered:
        match file.source:
            case Hub():
                offered = self._of_hub(file, file.source, _otherwise(file, model))
            case Web(url):
                offered = self._of_web(file, url, _otherwise(file, model))
            case _:
                raise NotOffered(f"{file.path} comes with a package: run ./run setup.", model=model)
        _require_same(offered)
        return offered

    def _of_hub(self, file: File, source: Hub, otherwise: str) -> Offered:
        try:
            offer = self._hub.look(source)
        except NotOffered as error:
            raise NotOffered(f"{error} {otherwise}", file=file.path) from error

        def fetch(part: Part, on_bytes: OnBytes) -> None:
            self._hub.fetch_into(part, offer, on_bytes)

        return Offered(file, f"{source.repo} {offer.etag}", offer.name, offer.size, offer.sha256, fetch)

    def _of_web(self, file: File, url: str, otherwise: str) -> Offered:
        try:
            seen = self._web.look(url)
        except (InputUnreachable, ObjectMissing) as error:
            raise NotOffered(f"{error} {otherwise}", file=file.path) from error

        def fetch(part: Part, on_bytes: OnBytes) -> None:
            try:
                self._web.fetch_into(part, url, seen, on_bytes)
            except (InputUnreachable, ObjectMissing) as error:
                raise PullFailed(f"{error} {otherwise}", file=file.path) from error

        return Offered(file, f"{url} {seen.version}", url, seen.size, None, fetch)


def _otherwise(file: File, model: str) -> str:
    """Say how to get a file without us."""
    return (
        f"If you have {file.name}, put it into a folder and run: musetalk weights pull {model} --from FOLDER."
        f" {file.by_hand}"
    ).strip()


def _require_same(offered: Offered) -> None:
    """Refuse before gigabytes are fetched what says itself that it is another file."""
    file = offered.file
    if file.bytes is not None and offered.size not in (None, file.bytes):
        fault = f"has {offered.size} bytes instead of {file.bytes}"
    elif offered.sha256 is not None and not file.is_known_as(offered.sha256):
        fault = f"has the SHA-256 {offered.sha256} instead of {file.sha256}"
    else:
        return
    raise WeightsInvalid(f"{offered.name} {fault}: it is another file.", file=file.path)
