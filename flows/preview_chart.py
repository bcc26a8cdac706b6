"""Horizontal bar chart of seconds per phase as SVG, legible on light and dark pages."""

from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

_WIDTH, _ROW_HEIGHT, _LEFT_MARGIN, _RIGHT_MARGIN = 640, 26, 90, 80
_BAR_COLOR, _TEXT_COLOR = "#4c8dff", "#8a8f98"
_FONT: Final = 'font-family="sans-serif" font-size="13"'


def bar_chart(seconds: Mapping[str, float]) -> str:
    """
    Return a bar chart of durations as SVG.

    Args:
        seconds: duration in seconds by name, in drawing order.
    """
    longest = max(seconds.values(), default=0.0) or 1.0
    rows = [
        _row(number, name, spent, spent / longest * (_WIDTH - _LEFT_MARGIN - _RIGHT_MARGIN))
        for number, (name, spent) in enumerate(seconds.items())
    ]
    height = max(1, len(rows)) * _ROW_HEIGHT
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_FONT} fill="{_TEXT_COLOR}">{"".join(rows)}</svg>'
    )


def _row(number: int, name: str, duration_s: float, length: float) -> str:
    top = number * _ROW_HEIGHT
    bar = f'<rect x="{_LEFT_MARGIN}" y="{top + 5}" width="{max(1.0, length):.1f}" height="16" rx="2" fill="{_BAR_COLOR}"/>'
    label = f'<text x="{_LEFT_MARGIN - 8}" y="{top + 18}" text-anchor="end">{escape(name)}</text>'
    return f'{label}{bar}<text x="{_LEFT_MARGIN + length + 8:.1f}" y="{top + 18}">{duration_s:.2f} s</text>'
