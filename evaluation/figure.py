"""A small plotter: curves and bars side by side in one PNG, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PALETTE = ("#1f6f78", "#c2571a", "#6a4c93", "#3f7d20", "#a61e4d", "#495057")
INK, FAINT, PAPER = "#20282b", "#d5dadb", "#ffffff"
SCALE = 2
"""Drawn twice as large, for screens of high density."""


@dataclass(frozen=True)
class Panel:
    """One diagram. ``curves``: points (x, y) in order, by name. ``bars``: one value by name, on a logarithmic axis."""

    title: str
    across: str
    upward: str
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    bars: Mapping[str, float] = field(default_factory=dict)
    marks: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within [low, high]."""
    span = max(high - low, 1e-12)
    step = 10 ** np.floor(np.log10(span / about))
    step *= next(f for f in (1, 2, 5, 10) if span / (step * f) <= about + 1)
    first = np.ceil(low / step - 1e-9) * step
    return [float(round(v, 12)) + 0.0 for v in np.arange(first, high + step * 1e-6, step)]


def _text(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, size: int, anchor: str, ink: str = INK
) -> None:
    draw.text(at, words, fill=ink, font=ImageFont.load_default(size * SCALE), anchor=anchor)


class _Frame:
    """The inner rectangle of a panel and the way from values to pixels."""

    def __init__(self, box: tuple[float, float, float, float], x: tuple[float, float], y: tuple[float, float]) -> None:
        self.left, self.top, self.right, self.bottom = box
        self.x, self.y = x, y

    def at(self, x: float, y: float) -> tuple[float, float]:
        u = (x - self.x[0]) / (self.x[1] - self.x[0])
        v = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + u * (self.right - self.left), self.bottom - v * (self.bottom - self.top)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.06 * max(high - low, 1e-6)
    return low - margin, high + margin


def _curves(
    draw: ImageDraw.ImageDraw, panel: Panel, box: tuple[float, float, float, float], ink: Mapping[str, str]
) -> None:
    points = [p for curve in panel.curves.values() for p in curve]
    frame = _Frame(box, _range([0.0, 1.0]), _range([p[1] for p in points] or [0.0, 1.0]))
    for value in ticks(0, 1):
        x, _ = frame.at(value, frame.y[0])
        draw.line((x, frame.top, x, frame.bottom), fill=FAINT, width=SCALE)
        _text(draw, (x, frame.bottom + 6 * SCALE), f"{value:g}", 11, "mt")
    for value in ticks(*frame.y):
        _, y = frame.at(frame.x[0], value)
        draw.line((frame.left, y, frame.right, y), fill=FAINT, width=SCALE)
        _text(draw, (frame.left - 6 * SCALE, y), f"{value:g}", 11, "rm")
    for name, curve in panel.curves.items():
        places = [frame.at(*p) for p in curve]
        if len(places) > 1:
            draw.line(places, fill=ink[name], width=3 * SCALE, joint="curve")
        for x, y in places:
            r = 3.5 * SCALE
            draw.ellipse((x - r, y - r, x + r, y + r), fill=ink[name])
    for name, mark in panel.marks.items():
        x, y = frame.at(*mark)
        r = 7 * SCALE
        draw.ellipse((x - r, y - r, x + r, y + r), outline=ink[name], width=2 * SCALE)


def _bars(
    draw: ImageDraw.ImageDraw, panel: Panel, box: tuple[float, float, float, float], ink: Mapping[str, str]
) -> None:
    values = {name: max(value, 1e-4) for name, value in panel.bars.items()}
    low = np.floor(np.log10(min(values.values()))) if values else -1
    high = np.ceil(np.log10(max(values.values()))) if values else 1
    high = max(high, low + 1) + 0.15  # room for the numbers above the bars
    frame = _Frame(box, (0.0, float(max(len(values), 1))), (float(low), float(high)))
    for power in np.arange(low, np.floor(high) + 1):
        _, y = frame.at(0, float(power))
        draw.line((frame.left, y, frame.right, y), fill=FAINT, width=SCALE)
        _text(draw, (frame.left - 6 * SCALE, y), f"{10.0**power:g}", 11, "rm")
    for index, (name, value) in enumerate(values.items()):
        x0, y0 = frame.at(index + 0.2, float(np.log10(value)))
        x1, y1 = frame.at(index + 0.8, float(low))
        draw.rectangle((x0, min(y0, y1), x1, max(y0, y1)), fill=ink[name])
        _text(draw, ((x0 + x1) / 2, min(y0, y1) - 5 * SCALE), f"{panel.bars[name]:.2g} s", 11, "mb")


def draw(panels: Sequence[Panel], title: str, note: str, *, width: int = 340, height: int = 300) -> np.ndarray:
    """``panels`` in a row with one legend, as a picture (H,W,3) uint8; names keep their colour across panels."""
    names = list(dict.fromkeys(n for p in panels for n in (*p.curves, *p.bars)))
    ink = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    size = (width * len(panels) * SCALE, (height + 96) * SCALE)
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    _text(pen, (16 * SCALE, 14 * SCALE), title, 15, "lt")
    x = 16 * SCALE
    for name in names:
        pen.rectangle((x, 42 * SCALE, x + 14 * SCALE, 52 * SCALE), fill=ink[name])
        _text(pen, (x + 20 * SCALE, 47 * SCALE), name, 12, "lm")
        x += (34 + 7 * len(name)) * SCALE
    for index, panel in enumerate(panels):
        left = index * width * SCALE
        box = (left + 58 * SCALE, 92 * SCALE, left + (width - 24) * SCALE, (height + 26) * SCALE)
        _text(pen, (box[0], 70 * SCALE), panel.title, 12, "lt")
        (_bars if panel.bars else _curves)(pen, panel, box, ink)
        pen.line((box[0], box[1], box[0], box[3], box[2], box[3]), fill=INK, width=SCALE)
        _text(pen, ((box[0] + box[2]) / 2, box[3] + 24 * SCALE), panel.across, 11, "mt")
    _text(pen, (16 * SCALE, (height + 84) * SCALE), note, 11, "ls", "#5b686c")
    return np.asarray(picture)
