"""
References to internal files, which only the steps of a flow can create.

The inputs of a job are text, checked by `tasks.refs`, and are never converted to internal references. Steps
use them to pass files of the system's own store and of the cache to other steps.
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
        """Return a URI for messages and records, without the path of a folder store."""
        return self.ref.uri if self.key is None else f"store://{self.key}"


class ArtefactFile(Ref):
    """A file of a cache entry that another step uses as its input."""

    kind: str
    key: str
    file: str

    @property
    def uri(self) -> str:
        """Return a URI for records."""
        return f"artefact://{self.kind}/{self.key}/{self.file}"


InternalFile = StoredFile | ArtefactFile


def artefact_file(artefact: Artefact, file: str) -> ArtefactFile:
    """Return the reference to a file of a cache entry."""
    return ArtefactFile(kind=artefact.kind, key=artefact.key, file=file)


def parse_artefact_uri(uri: str) -> ArtefactFile | None:
    """
    Parse the `uri` of an ArtefactFile; return None for any other reference.

    Only for records of internal steps (`SourceFile.uri`), never for text from a job.
    """
    scheme, _, rest = uri.partition("://")
    match scheme:
        case "artefact":
            kind, key, file = rest.split("/", 2)
            return ArtefactFile(kind=kind, key=key, file=file)
        case _:
            return None
