"""
Convert HDR and wide-gamut frames to BT.709: one look-up table per combination of transfer and primaries.

HLG and PQ are shown as on a display whose reference white is 203 nits (ITU-R BT.2408); highlights above are
compressed up to 1000 nits.
"""

from __future__ import annotations

import io
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from musetalk_core.errors import MediaUnreadable

if TYPE_CHECKING:
    from av.filter.graph import Graph
    from av.video.frame import VideoFrame

_PQ, _HLG = 16, 18
_UNSUPPORTED_TRANSFERS: Final = {8: "linear", 9: "logarithmic", 10: "logarithmic", 17: "SMPTE ST 428"}
_CHROMATICITIES: Final = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),  # BT.2020
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),  # DCI-P3
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),  # Display P3
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),  # generic film
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),  # NTSC 1953
}
"""AVColorPrimaries -> x and y of red, green, blue and white, where they differ visibly from BT.709."""
_BT709: Final = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290))
_UNSUPPORTED_PRIMARIES: Final = {10: "CIE XYZ"}

_WHITE_NITS: Final = 203.0
_PEAK_NITS: Final = 1000.0
_KNEE: Final = 0.8
"""Share of reference white up to which brightness is unchanged."""
_DISPLAY_GAMMA: Final = 2.4  # ITU-R BT.1886
_TABLE_POINTS: Final = 49

Colours = npt.NDArray[np.float64]


def needs_conversion(frame: VideoFrame) -> bool:
    """
    Return whether a frame's colors have to be converted to BT.709.

    Raises:
        MediaUnreadable: the transfer function or the primaries cannot be converted.
    """
    transfer, primaries = int(frame.color_trc), int(frame.color_primaries)
    name = _UNSUPPORTED_TRANSFERS.get(transfer) or _UNSUPPORTED_PRIMARIES.get(primaries)
    if name is not None:
        raise MediaUnreadable(
            f"The video has {name} colors, which are not supported; export it as BT.709 (SDR)."
        )
    return transfer in (_PQ, _HLG) or primaries in _CHROMATICITIES


def describe_colours(frame: VideoFrame) -> str:
    """Return the kind of colors that `needs_conversion` found: HDR (PQ), HDR (HLG) or wide gamut."""
    return {_PQ: "HDR (PQ)", _HLG: "HDR (HLG)"}.get(int(frame.color_trc), "wide-gamut")


class ColourConverter:
    """A converter of full-range RGB frames, 16 bits per channel, of one size, transfer and primaries."""

    def __init__(self, frame: VideoFrame) -> None:
        """Take transfer and primaries from the first frame of the stream."""
        self._table = _table_text(int(frame.color_trc), int(frame.color_primaries))
        self._graph: Graph | None = None
        self._size = (0, 0)

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Convert a frame of the format gbrp16le; returns BT.709 of the same format."""
        if self._graph is None or self._size != (frame.width, frame.height):
            self._graph, self._size = self._build_graph(frame), (frame.width, frame.height)
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _build_graph(self, frame: VideoFrame) -> Graph:
        from av.filter.graph import Graph

        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        # FFmpeg reads the file here. Its path is not kept: the temporary folder of a run ends with the run
        with tempfile.NamedTemporaryFile(prefix="musetalk-colors-", suffix=".cube") as file:
            file.write(self._table)
            file.flush()
            table = graph.add("lut3d", file=file.name, interp="tetrahedral")
        sink = graph.add("buffersink")
        source.link_to(table)
        table.link_to(sink)
        graph.configure()
        return graph


@lru_cache(maxsize=4)
def _table_text(transfer: int, primaries: int) -> bytes:
    """Return the look-up table of a transfer and primaries (FFmpeg's numbers) as a .cube file of 3 MB."""
    axis = np.linspace(0, 1, _TABLE_POINTS)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    colours = to_bt709(np.stack([red, green, blue], -1).reshape(-1, 3), transfer, primaries)
    text = io.BytesIO(f"LUT_3D_SIZE {_TABLE_POINTS}\n".encode())
    text.seek(0, io.SEEK_END)
    np.savetxt(text, colours, "%.6f")
    return text.getvalue()


def to_bt709(encoded: Colours, transfer: int, primaries: int) -> Colours:
    """
    Convert colors to BT.709.

    Args:
        encoded:    (N, 3) red, green and blue, 0..1, as stored.
        transfer:   AVColorTransferCharacteristic; other than PQ and HLG counts as BT.1886.
        primaries:  AVColorPrimaries; unknown ones of HDR count as BT.2020.

    Returns:
        (N, 3), 0..1, encoded for a BT.1886 display.
    """
    is_hdr = transfer in (_PQ, _HLG)
    if is_hdr:
        nits = pq_to_nits(encoded) if transfer == _PQ else hlg_to_nits(encoded)
        light = _compress_highlights(nits / _WHITE_NITS)
    else:
        light = encoded**_DISPLAY_GAMMA
    known = primaries if primaries in _CHROMATICITIES else 9 if is_hdr and primaries == 2 else 0
    if known:
        light = light @ (np.linalg.inv(_to_xyz(_BT709)) @ _to_xyz(_CHROMATICITIES[known])).T
    return np.clip(light, 0, 1) ** (1 / _DISPLAY_GAMMA)


def pq_to_nits(encoded: Colours) -> Colours:
    """Return the brightness of PQ values (SMPTE ST 2084) in cd/m2."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = encoded ** (1 / m2)
    return 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def hlg_to_nits(encoded: Colours) -> Colours:
    """Return the brightness of HLG values (ITU-R BT.2100) on a display of 1000 cd/m2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(encoded <= 0.5, encoded**2 / 3, (np.exp((encoded - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return _PEAK_NITS * scene * np.maximum(luminance, 1e-9)[:, None] ** 0.2


def _compress_highlights(light: Colours) -> Colours:
    """Compress light above the knee so that the peak becomes white; hues are kept."""
    brightest = light.max(1, keepdims=True)
    above = np.maximum(brightest - _KNEE, 0) / (1 - _KNEE)
    peak = (_PEAK_NITS / _WHITE_NITS - _KNEE) / (1 - _KNEE)
    compressed = above * (1 + above / peak**2) / (1 + above)
    target = np.where(above > 0, _KNEE + (1 - _KNEE) * compressed, brightest)
    return light * (np.minimum(target, 1) / np.maximum(brightest, 1e-9))


def _to_xyz(points: tuple[tuple[float, float], ...]) -> Colours:
    """Return the (3, 3) matrix from linear RGB of some primaries and their white to CIE XYZ."""
    xyz = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in points])
    columns = xyz[:3].T
    return columns * np.linalg.solve(columns, xyz[3])
