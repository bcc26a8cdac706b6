"""
References to internal files, which only our own steps can create.

Inputs of a job are text, checked by `tasks.refs`, and never become one of these. Steps use them to pass files
of the own store and of the cache to other steps.
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


class ArtefactFile(Ref):
    """A file of a cached artefact, which another step takes as its input."""

    kind: str
    key: str
    file: str

    @property
    def uri(self) -> str:
        """Return a name for records."""
        return f"artefact://{self.kind}/{self.key}/{self.file}"


InternalFile = StoredFile | ArtefactFile


def artefact_file(made: Artefact, file: str) -> ArtefactFile:
    """Return the reference to a file of an artefact."""
    return ArtefactFile(kind=made.kind, key=made.key, file=file)


def parse_artefact_uri(uri: str) -> ArtefactFile | None:
    """
    Parse the `uri` of an ArtefactFile; None for any other reference.

    Only for records of our own steps (`SourceFile.uri`), never for text of a job.
    """
    scheme, _, rest = uri.partition("://")
    match scheme:
        case "artefact":
            kind, key, file = rest.split("/", 2)
            return ArtefactFile(kind=kind, key=key, file=file)
        case _:
            return None
