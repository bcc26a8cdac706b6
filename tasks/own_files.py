"""
Files that only our own steps can name: no text of a job becomes one.

A job spells its inputs as text, checked by `tasks.refs`; what a step finds or makes for another is one of
these.
"""

from pydantic import Field

from tasks.refs import Artefact, ObjectRef, Ref


class StoredFile(Ref):
    """A finished output of a job, pinned to its version: the target of a `job://` reference."""

    ref: ObjectRef
    key: str | None = Field(
        description="Key in the system's own store; null for an object in a client's bucket."
    )

    @property
    def uri(self) -> str:
        """Return a name for people and records, without the path of a folder store."""
        return self.ref.uri if self.key is None else f"store://{self.key}"


class MadeFile(Ref):
    """A file of one of our artefacts: what one step made is what another takes in."""

    kind: str
    key: str
    file: str

    @property
    def uri(self) -> str:
        """Name it, for people and for what is remembered of it."""
        return f"artefact://{self.kind}/{self.key}/{self.file}"


OwnFile = StoredFile | MadeFile


def made_file(made: Artefact, file: str) -> MadeFile:
    """Name a file of an artefact as an input."""
    return MadeFile(kind=made.kind, key=made.key, file=file)


def own_file(uri: str) -> MadeFile | None:
    """
    Read what `uri` of one of these says; None for any other reference.

    For what our own steps remembered (`SourceFile.uri`), never for the text of a job.
    """
    scheme, _, rest = uri.partition("://")
    match scheme:
        case "artefact":
            kind, key, file = rest.split("/", 2)
            return MadeFile(kind=kind, key=key, file=file)
        case _:
            return None
