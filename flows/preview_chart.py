"""Horizontal bar chart of seconds per phase as SVG, legible on light and dark pages."""

from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

_WIDTH, _ROW, _LEFT, _RIGHT = 640, 26, 90, 80
_BAR, _TEXT = "#4c8dff", "#8a8f98"
_FONT: Final = 'font-family="sans-serif" font-size="13"'


def chart(seconds: Mapping[str, float]) -> str:
    """
    Return a bar chart of durations as SVG.

    Args:
        seconds: duration in seconds by name, in drawing order.
    """
    longest = max(seconds.values(), default=0.0) or 1.0
    rows = [
        _row(number, name, spent, spent / longest * (_WIDTH - _LEFT - _RIGHT))
        for number, (name, spent) in enumerate(seconds.items())
    ]
    height = max(1, len(rows)) * _ROW
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_FONT} fill="{_TEXT}">{"".join(rows)}</svg>'


def _row(number: int, name: str, spent: float, length: float) -> str:
    top = number * _ROW
    bar = f'<rect x="{_LEFT}" y="{top + 5}" width="{max(1.0, length):.1f}" height="16" rx="2" fill="{_BAR}"/>'
    words = f'<text x="{_LEFT - 8}" y="{top + 18}" text-anchor="end">{escape(name)}</text>'
    return f'{words}{bar}<text x="{_LEFT + length + 8:.1f}" y="{top + 18}">{spent:.2f} s</text>'
