"""Videos whose container states a crop: PixelCrop of Matroska and the clean aperture of MP4."""

import struct

import av
import numpy as np

LEFT, TOP, RIGHT, BOTTOM = 16, 8, 24, 12
WIDTH, HEIGHT = 160, 96
SHOWN = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


def bordered(number=0):
    """A gray picture within a red border, which the crop removes exactly."""
    picture = np.full((HEIGHT, WIDTH, 3), (0, 0, 255), np.uint8)
    picture[TOP : HEIGHT - BOTTOM, LEFT : WIDTH - RIGHT] = 110 + number
    return picture


def write_video(path, format_, pictures=None, rotation=None, rate=25, **options):
    """Encode BGR pictures; Matroska is written as a live stream, whose length is unknown."""
    pictures = [bordered(number) for number in range(8)] if pictures is None else pictures
    options = {"live": "1"} | options if format_ == "matroska" else options
    with av.open(str(path), "w", format=format_, options=options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "8", "preset": "ultrafast"})
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if rotation is not None:
            stream.metadata["rotate"] = str(rotation)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def with_pixel_crop(path, left=LEFT, top=TOP, right=RIGHT, bottom=BOTTOM, display=None):
    """Add PixelCrop elements, and a display size, to the video track of a Matroska file of unknown length."""
    numbers = {0x54CC: left, 0x54BB: top, 0x54DD: right, 0x54AA: bottom}
    if display:
        numbers |= {0x54B0: display[0], 0x54BA: display[1]}
    added = b"".join(struct.pack(">HBH", name, 0x82, value) for name, value in numbers.items())

    def change_video(contents):
        old = (0x54B0, 0x54BA, 0x54B2) if display else ()  # width, height and unit
        return b"".join(element for name, element, _ in _elements(contents) if name not in old) + added

    def change(contents, *names):
        if not names:
            return change_video(contents)
        return b"".join(
            _element(name, change(inner, *names[1:])) if name == names[0] else element
            for name, element, inner in _elements(contents)
        )

    data = path.read_bytes()
    start = data.index(b"\x18\x53\x80\x67") + 12  # the contents of the segment
    for name, element, inner in _elements(data[start:]):
        if name == 0x1654AE6B:
            tracks = _element(name, change(inner, 0xAE, 0xE0))
            path.write_bytes(data[:start] + tracks + data[start + len(element) :])
            break
        start += len(element)
    return path


def _elements(contents):
    """Id, whole bytes and contents of each EBML element of one level; lazy, since clusters have no length."""
    at = 0
    while at < len(contents):
        size_at = at + 9 - contents[at].bit_length()
        width = 9 - contents[size_at].bit_length()
        length = int.from_bytes(contents[size_at : size_at + width], "big") & ((1 << 7 * width) - 1)
        end = size_at + width + length
        yield int.from_bytes(contents[at:size_at], "big"), contents[at:end], contents[size_at + width : end]
        at = end


def _element(name, contents):
    id_bytes = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return id_bytes + (0x0100000000000000 | len(contents)).to_bytes(8, "big") + contents


def with_clap(path, width=SHOWN[0], height=SHOWN[1], right=(LEFT - RIGHT, 2), down=(TOP - BOTTOM, 2)):
    """Add a clean aperture to the first video track of an MP4 file whose tables follow its samples."""
    data = bytearray(path.read_bytes())
    box = struct.pack(">I4s8i", 40, b"clap", width, 1, height, 1, *right, *down)
    entry = data.index(b"avc1", data.index(b"stsd")) - 4
    end = entry + int.from_bytes(data[entry : entry + 4], "big")
    parents = [entry]
    for name in (b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        parents.append(data.rindex(name, 0, entry) - 4)
    assert data.index(b"mdat") < parents[-1], "offsets of samples stay as they are"
    data[end:end] = box
    for start in parents:
        size = int.from_bytes(data[start : start + 4], "big") + len(box)
        data[start : start + 4] = size.to_bytes(4, "big")
    path.write_bytes(data)
    return path
