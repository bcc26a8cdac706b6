"""
Encoded faces of an avatar in parts: one folder per fixed number of source frames, made when a job needs it.

What a part holds depends on the avatar alone, not on which other parts exist or in which order they were
made: an avatar that is extended later equals one that was encoded at once.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from musetalk_core.avatar.archive import Avatar
from musetalk_core.avatar.face_frames import TrackedClip, read_faces
from musetalk_core.engine_protocol import EncodedFace, Engine
from musetalk_core.errors import InputError
from musetalk_core.formats.frame_blobs import BLOB_FILE, FrameBlobFile, FrameBlobWriter
from musetalk_core.formats.npz import load_arrays
from musetalk_core.types import Ints

_OFFSETS_FILE: Final = "offsets.npz"

OnFaces = Callable[[int], None]
"""Progress callback with the number of encoded faces of a part. It may raise to cancel."""


def _ignore_faces(_: int) -> None:
    """Do nothing with the progress of a part."""


def parts_of(avatar: Avatar, frames: Ints | None = None) -> list[int]:
    """
    Return the numbers of the parts that hold the faces of some source frames, ascending.

    Args:
        avatar: an avatar whose engine encodes faces in parts; others have none.
        frames: (N,) int64 source frames in any order; None for all. Frames without a face need no part.
    """
    size = avatar.manifest.part_frames
    if not size:
        return []
    wanted = np.arange(avatar.manifest.frames) if frames is None else frames
    with_face = wanted[avatar.shots[wanted] >= 0]
    return [int(part) for part in np.unique(with_face // size)]


def faces_of_part(avatar: Avatar, part: int) -> Ints:
    """Return the source frames of a part that show the face, (N,) int64, ascending."""
    first, stop = _range_of_part(avatar, part)
    return first + np.flatnonzero(avatar.shots[first:stop] >= 0)


def faces_before_part(avatar: Avatar, part: int) -> int:
    """Return how many frames before a part show the face."""
    return int((avatar.shots[: _range_of_part(avatar, part)[0]] >= 0).sum())


def boxes_of_part(avatar: Avatar, part: int) -> list[list[int]]:
    """Return the crop boxes of the frames of a part, xyxy in pixels; zeros for frames without a face."""
    first, stop = _range_of_part(avatar, part)
    return [[int(value) for value in box] for box in avatar.boxes[first:stop]]


def _range_of_part(avatar: Avatar, part: int) -> tuple[int, int]:
    size = avatar.manifest.part_frames
    return part * size, min((part + 1) * size, avatar.manifest.frames)


class PartEncoder:
    """
    Encodes parts of one avatar, one after the other. Use it from one thread, and close it.

    The source is opened with the first part. Consecutive parts share one decoder, so ascending parts decode
    no frame twice.
    """

    def __init__(self, avatar: Avatar, engine: Engine, source: Path) -> None:
        """
        Prepare for an avatar.

        Args:
            avatar: the avatar, which needs no parts yet.
            engine: the engine that it was prepared for.
            source: file of its source.
        """
        self._avatar, self._engine = avatar, engine
        self._clip = TrackedClip(
            avatar.source_path(source), avatar.index, avatar.shots, avatar.boxes, avatar.landmarks
        )
        self._with_face: Ints = np.flatnonzero(avatar.shots >= 0)
        self._encoded_faces: Iterator[EncodedFace] = iter(())
        self._position = -1
        """Number of faces before the next one of `_encoded_faces`; -1 if nothing is open."""
        self._stack = ExitStack()

    def write(self, part: int, folder: Path, on_faces: OnFaces = _ignore_faces) -> None:
        """
        Encode the faces of a part and write them into an empty folder.

        Args:
            part:     number of the part, one of `parts_of`.
            folder:   receives the files; the caller publishes it atomically.
            on_faces: progress callback.

        Raises:
            MediaUnreadable: the source cannot be read.
            EngineError, EngineOutOfMemory: the engine failed.
        """
        first, _ = _range_of_part(self._avatar, part)
        frames = faces_of_part(self._avatar, part)
        try:
            self._go_to(faces_before_part(self._avatar, part))
            encoded = islice(self._encoded_faces, len(frames))
            with FrameBlobWriter(folder, self._avatar.manifest.part_frames) as writer:
                for done, (frame, face) in enumerate(zip(frames.tolist(), encoded, strict=True), 1):
                    writer.write(frame - first, face.blob)
                    self._position += 1
                    on_faces(done)
            np.savez(folder / _OFFSETS_FILE, offsets=writer.blobs.offsets)
        except BaseException:
            self.close()
            raise

    def _go_to(self, position: int) -> None:
        if position == self._position:
            return
        self.close()
        faces = self._stack.enter_context(closing(read_faces(self._clip, self._with_face[position:])))
        self._encoded_faces = self._engine.encode_faces(faces, position)
        self._position = position

    def close(self) -> None:
        """Close the source. A later `write` opens it again."""
        self._encoded_faces, self._position = iter(()), -1
        self._stack.close()


class PartBlobs:
    """Blobs of an avatar's frames, read from the folders of its parts. Thread-safe."""

    def __init__(self, avatar: Avatar, folder_of: Callable[[int], Path]) -> None:
        """
        Open no part yet.

        Args:
            avatar:    the avatar.
            folder_of: returns the folder of a part; called once per part.
        """
        self._avatar, self._folder_of = avatar, folder_of
        self._parts = dict[int, FrameBlobFile]()
        self._lock = threading.Lock()

    def read(self, frame: int) -> bytes:
        """
        Return the blob of a source frame; empty if the frame shows no face.

        Raises:
            InputError: the part is damaged.
        """
        if self._avatar.shots[frame] < 0:
            return b""
        part, place = divmod(frame, self._avatar.manifest.part_frames)
        with self._lock:
            blobs = self._parts.get(part)
            if blobs is None:
                blobs = self._parts[part] = _open_part(self._folder_of(part))
        return blobs.read(place)


def _open_part(folder: Path) -> FrameBlobFile:
    try:
        return FrameBlobFile(folder / BLOB_FILE, load_arrays(folder / _OFFSETS_FILE)["offsets"])
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"a part of the prepared avatar is incomplete or damaged: {error}") from error


def with_parts(avatar: Avatar, folder_of: Callable[[int], Path]) -> Avatar:
    """Return an avatar that reads its encoded faces from the folders of its parts; see `PartBlobs`."""
    conditioning = replace(avatar.conditioning, blobs=PartBlobs(avatar, folder_of))
    return replace(avatar, conditioning=conditioning)


def encode_parts(
    avatar: Avatar, engine: Engine, source: Path, folder: Path, frames: Ints | None = None
) -> Avatar:
    """
    Encode the faces of some source frames and return the avatar with them.

    Args:
        avatar: the prepared avatar. If its engine does not encode in parts, it is returned as it is.
        engine: the engine that it was prepared for.
        source: file of its source.
        folder: receives one folder per part. Parts that it holds are not encoded again.
        frames: (N,) int64 source frames; None for all.
    """
    if not avatar.manifest.part_frames:
        return avatar
    with closing(PartEncoder(avatar, engine, source)) as encoder:
        for part in parts_of(avatar, frames):
            target, unfinished = folder / str(part), folder / f"{part}.unfinished"
            if not target.exists():
                unfinished.mkdir(parents=True)
                encoder.write(part, unfinished)
                unfinished.rename(target)
    return with_parts(avatar, lambda part: folder / str(part))
