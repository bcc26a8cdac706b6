"""Input crops of the pose network and the parser, tested without weights."""

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.networks.bisenet import FaceParser
from musetalk_core.networks.dwpose import padded_view_of, warp_view
from musetalk_core.runtime.device import choose_device
from musetalk_core.types import Box


def test_a_wide_box_grows_in_height_and_a_tall_one_in_width():
    for box in (Box(10, 20, 210, 70), Box(10, 20, 60, 220), Box(0, 0, 75, 100)):
        centre, size = padded_view_of(box)

        np.testing.assert_allclose(size[0] / size[1], 0.75, rtol=1e-6)
        assert all(size >= np.array(box.size, np.float32) * 1.25 - 1e-4)
        np.testing.assert_array_equal(centre, ((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2))


def test_what_lies_in_the_box_lies_in_the_middle_of_the_view():
    image = np.zeros((200, 300, 3), np.uint8)
    image[60:140, 180:240] = 255

    view = warp_view(image, *padded_view_of(Box(180, 60, 240, 140)))

    rows, columns = np.nonzero(view[:, :, 0] > 127)
    np.testing.assert_allclose((columns.min(), columns.max()), (288 * 0.1, 288 * 0.9), atol=4)
    np.testing.assert_allclose((rows.min(), rows.max()), (384 * 0.1, 384 * 0.9), atol=4)


def test_an_empty_box_is_refused():
    with pytest.raises(InputError, match="empty"):
        padded_view_of(Box(5, 5, 5, 9))


@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 4), (4, 4, 4), (0, 0, 3)])
def test_the_parser_refuses_what_is_no_colour_square(shape):
    with pytest.raises(InputError, match="face square"):
        FaceParser(None, choose_device("cpu")).label_maps([np.zeros(shape, np.uint8)])


def test_no_squares_have_no_maps():
    assert FaceParser(None, choose_device("cpu")).label_maps([]) == []
