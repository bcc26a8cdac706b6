"""Rows and plates on disk: what is written is read, in any part, and damage is noticed."""

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.formats.float_rows import Float32RowArray, Float32RowFile, write_float32_rows
from musetalk_core.formats.frame_blobs import BLOB_FILE, NO_BLOBS, FrameBlobWriter

ROWS = np.arange(60, dtype=np.float32).reshape(20, 3)


def test_rows_are_written_in_blocks_and_read_in_slices(tmp_path):
    write_float32_rows(tmp_path, (ROWS[a : a + 7] for a in range(0, 20, 7)))
    rows = Float32RowFile.open(tmp_path)

    assert (rows.count, rows.width) == (20, 3)
    for start, stop in [(0, 20), (3, 4), (18, 99), (5, 5), (25, 30), (-2, 2)]:
        np.testing.assert_array_equal(rows.read(start, stop), Float32RowArray(ROWS).read(start, stop))


@pytest.mark.parametrize("blocks", [[], [ROWS, ROWS[:, :2]], [ROWS.ravel()]])
def test_blocks_that_are_no_rows_are_refused(tmp_path, blocks):
    with pytest.raises(InputError):
        write_float32_rows(tmp_path, blocks)


def test_cut_rows_are_noticed(tmp_path):
    write_float32_rows(tmp_path, [ROWS])
    with (tmp_path / "rows.f32").open("r+b") as file:
        file.truncate(100)

    with pytest.raises(InputError, match="whole rows"):
        Float32RowFile.open(tmp_path)


def test_missing_rows_are_noticed(tmp_path):
    with pytest.raises(InputError, match="missing"):
        Float32RowFile.open(tmp_path)


def test_plates_are_found_by_frame_and_may_be_left_out(tmp_path):
    with FrameBlobWriter(tmp_path, 5) as writer:
        writer.write(1, b"one")
        writer.write(4, b"fourth")

    assert [writer.blobs.read(frame) for frame in range(5)] == [b"", b"one", b"", b"", b"fourth"]


def test_without_plates_there_is_no_file(tmp_path):
    with FrameBlobWriter(tmp_path, 3) as writer:
        pass

    assert not (tmp_path / BLOB_FILE).exists()
    assert writer.blobs.read(2) == NO_BLOBS.read(2) == b""


def test_cut_plates_are_noticed(tmp_path):
    with FrameBlobWriter(tmp_path, 2) as writer:
        writer.write(0, b"x" * 100)
        writer.write(1, b"y" * 100)
    with (tmp_path / BLOB_FILE).open("r+b") as file:
        file.truncate(150)

    assert writer.blobs.read(0) == b"x" * 100
    with pytest.raises(InputError, match="ends too early"):
        writer.blobs.read(1)
