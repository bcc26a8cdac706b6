import numpy as np
import pytest

from musetalk_core.errors import EncodeError
from musetalk_core.formats.chunk_crops import CropReader, CropWriter


def crop(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_crops_of_different_sizes_and_gaps_come_back_as_written(tmp_path):
    written = [crop(1, 8, 6), None, crop(2, 10, 12), crop(3, 2, 2)]
    with CropWriter(tmp_path) as writer:
        for source, image in enumerate(written):
            writer.write(source + 7, image)

    read = CropReader.open(tmp_path)

    assert read.sources.tolist() == [7, 8, 9, 10]
    for number, image in enumerate(written):
        found = read.crop(number)
        assert (found is None) == (image is None)
        if image is not None:
            np.testing.assert_array_equal(found, image)


def test_a_writer_that_was_interrupted_leaves_nothing_readable(tmp_path):
    with pytest.raises(RuntimeError), CropWriter(tmp_path) as writer:
        writer.write(0, crop(1, 4, 4))
        raise RuntimeError

    with pytest.raises(EncodeError, match="missing or damaged"):
        CropReader.open(tmp_path)


def test_a_file_cut_short_is_noticed(tmp_path):
    with CropWriter(tmp_path) as writer:
        writer.write(0, crop(1, 4, 4))
    pixels = tmp_path / "crops.bin"
    pixels.write_bytes(pixels.read_bytes()[:-1])

    with pytest.raises(EncodeError, match="47 of 48 bytes"):
        CropReader.open(tmp_path)
