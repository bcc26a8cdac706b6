"""Lookup of missing model files at their sources (hubs and web servers), before any download starts."""

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
"""Timeout for one model file from a web server; far longer than the timeout for inputs of jobs."""


@dataclass(frozen=True, slots=True)
class Offered:
    """
    A model file that a source can deliver.

    Attributes:
        file:    the file's entry in the model registry.
        version: version of the content; a partial file of the same version is resumed.
        name:    display name, for records and messages.
        size:    size in bytes; None if unknown.
        sha256:  SHA-256 of the content; None if unknown.
        fetch:   downloads the rest of the file into a partial file.
    """

    file: File
    version: str
    name: str
    size: int | None
    sha256: str | None
    fetch: Callable[[Part, OnBytes], None]

    def missing(self, target: Path) -> int:
        """Return the bytes left to download, given the partial file; estimated if the size is unknown."""
        part = Part.path_beside(target, self.version)
        have = part.stat().st_size if part.is_file() else 0
        return max(0, (self.file.about if self.size is None else self.size) - have)


class Sources:
    """The sources of model files: model hubs and web servers."""

    def __init__(self, settings: Settings) -> None:
        """Create the clients; sends nothing."""
        self._hub = HubClient(settings.weights)
        self._web = Egress(settings.egress.model_copy(update={"total_timeout_s": _PATIENCE_S}))

    def offered(self, model: Model, here: Layout) -> list[Offered]:
        """
        Look up the missing files of a model.

        A model may have several alternative sets of files. They are tried in the order of completeness.

        Args:
            model:            the model.
            installed_models: the installed models.

        Returns:
            The missing files of the first set that can be completed.

        Raises:
            NotAvailable:   no set can be completed.
            PullFailed:     a source does not respond.
            WeightsInvalid: a source has a different file under this name.
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
                raise NotOffered(f"{file.path} is installed with a package. Run: ./run setup", model=model)
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
    """Return instructions for a manual download."""
    return (
        f"If you have {file.name}, put it into a folder and run: musetalk weights pull {model} --from FOLDER."
        f" {file.by_hand}"
    ).strip()


def _require_same(offered: Offered) -> None:
    """Refuse a file whose announced size or hash is wrong, before gigabytes are downloaded."""
    file = offered.file
    if file.bytes is not None and offered.size not in (None, file.bytes):
        fault = f"has {offered.size} bytes instead of {file.bytes}"
    elif offered.sha256 is not None and not file.is_known_as(offered.sha256):
        fault = f"has the SHA-256 {offered.sha256} instead of {file.sha256}"
    else:
        return
    raise WeightsInvalid(f"{offered.name} {fault}: it is a different file.", file=file.path)
