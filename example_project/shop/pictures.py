"""Draws a picture for each product: the same one for the same article, on every computer."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

DRAWINGS = Path(__file__).parent / "data" / "pictures.txt"
SIZE = (480, 360)
# Drawn twice as large and halved, which makes the edges smooth.
UNIT = 2 * SIZE[0] / 120

# Paper, a shape on the paper, accent, its dark shade, pale.
PALETTES = (
    ("#f2e3d0", "#e6cfb2", "#c8553d", "#8f3526", "#fff4e2"),
    ("#dfe8e2", "#c8d8ce", "#3f7d6b", "#28544a", "#f4faf4"),
    ("#e3e6ef", "#cdd3e3", "#46619e", "#2c4172", "#f6f8ff"),
    ("#f4e8bf", "#ead79a", "#d18b1f", "#96600f", "#fffaf0"),
    ("#eadfe6", "#dac8d4", "#8a4f7d", "#5e3355", "#fdf5fb"),
    ("#dcebee", "#c2dbe0", "#2f7f93", "#1d5665", "#f2fcff"),
    ("#e9e5da", "#d8d2c1", "#6d7a3a", "#485224", "#fbfaf0"),
    ("#f3dcd6", "#e8c4bb", "#b6465f", "#7d2c40", "#fff3f1"),
)
METALS = {"s": "#b9c0c6", "k": "#454b52", "w": "#c99a63"}


def draw(picture: str, sku: str, title: str = "") -> bytes:
    """A PNG of the drawing of that name, in colours and at an angle that follow from ``sku``.

    A book gets ``title`` on its cover.
    """
    chance = random.Random(sku)
    paper, shape, accent, dark, pale = chance.choice(PALETTES)
    colours = {**METALS, "paper": paper, "a": accent, "d": dark, "p": pale}
    image = Image.new("RGB", (SIZE[0] * 2, SIZE[1] * 2), paper)
    pen = ImageDraw.Draw(image)
    draw_ground(pen, shape, chance)
    angle = math.radians(0 if picture == "book" else chance.uniform(-14, 14))
    size = chance.uniform(0.84, 1.0)
    for colour, points, width in get_shapes(picture):
        points = [turn(x, y, angle, size) for x, y in points]
        if width:
            draw_line(pen, points, colours[colour], width * size * UNIT)
        else:
            pen.polygon(points, colours[colour])
    if picture == "book":
        write_cover(pen, title, pale, size)
    file = BytesIO()
    image.reduce(2).save(file, "PNG")
    return file.getvalue()


def draw_ground(pen: ImageDraw.ImageDraw, colour: str, chance: random.Random) -> None:
    width, height = SIZE[0] * 2, SIZE[1] * 2
    kind = chance.randrange(4)
    x, y = chance.uniform(0.3, 0.7) * width, chance.uniform(0.35, 0.65) * height
    if kind == 0:
        radius = chance.uniform(0.3, 0.42) * height
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
    elif kind == 1:
        pen.rectangle((0, height * chance.uniform(0.58, 0.72), width, height), colour)
    elif kind == 2:
        slant = chance.uniform(-0.5, 0.5) * width
        pen.polygon(((x, 0), (width, 0), (width, height), (x + slant, height)), colour)
    else:
        step = chance.uniform(0.09, 0.13) * width
        for row in range(1, 12):
            for column in range(1, 14):
                left, top = (column - 0.5) * step, (row - 0.5) * step
                pen.ellipse((left, top, left + step / 7, top + step / 7), colour)


def write_cover(pen: ImageDraw.ImageDraw, title: str, colour: str, size: float) -> None:
    author, _, name = title.rpartition(": ")
    if len(author) > 24:
        # No author, but a title with a subtitle.
        author, name = "", title
    font, small = get_font(round(5.6 * size * UNIT)), get_font(round(3.8 * size * UNIT))
    lines = wrap(name, 16)[:6]
    for number, line in enumerate(lines):
        place = turn(62, 20 + 7.2 * number, 0, size)
        pen.text(place, line, fill=colour, font=font, anchor="mm")
    for number, line in enumerate(wrap(author, 24)[:2]):
        pen.text(turn(62, 71 + 5 * number, 0, size), line, fill=colour, font=small, anchor="mm")


def draw_line(
    pen: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: str, width: float
) -> None:
    pen.line(points, colour, round(width), joint="curve")
    radius = width / 2
    for x, y in (points[0], points[-1]):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def turn(x: float, y: float, angle: float, size: float) -> tuple[float, float]:
    """A point of the sheet, turned and scaled about its middle, in pixels."""
    x, y = (x - 60) * size, (y - 45) * size
    return (
        (x * math.cos(angle) - y * math.sin(angle) + 60) * UNIT,
        (x * math.sin(angle) + y * math.cos(angle) + 45) * UNIT,
    )


@cache
def get_shapes(picture: str) -> list[tuple[str, list[tuple[float, float]], float]]:
    """Colour, points and, for a line, width. Raises KeyError if there is no such drawing."""
    return [parse(shape) for shape in read_drawings()[picture].split("; ")]


@cache
def read_drawings() -> dict[str, str]:
    lines = DRAWINGS.read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines if not line.startswith("#"))


def parse(shape: str) -> tuple[str, list[tuple[float, float]], float]:
    kind, *words = shape.split()
    width = float(words.pop(0)) if kind == "L" else 0.0
    colour, *numbers = words
    n = [float(number) for number in numbers]
    if kind == "R":
        return colour, list(get_corners(*n)), width
    if kind == "E":
        return colour, list(get_arc((n[0] + n[2]) / 2, (n[1] + n[3]) / 2, n, 0, 360)), width
    return colour, list(zip(n[::2], n[1::2], strict=True)), width


def get_corners(
    left: float, top: float, right: float, bottom: float, radius: float
) -> Iterator[tuple[float, float]]:
    box = (0, 0, 2 * radius, 2 * radius)
    yield from get_arc(right - radius, bottom - radius, box, 0, 90)
    yield from get_arc(left + radius, bottom - radius, box, 90, 180)
    yield from get_arc(left + radius, top + radius, box, 180, 270)
    yield from get_arc(right - radius, top + radius, box, 270, 360)


def get_arc(
    x: float, y: float, box: tuple[float, ...] | list[float], start: int, end: int
) -> Iterator[tuple[float, float]]:
    across, down = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    for degrees in range(start, end + 1, 9):
        angle = math.radians(degrees)
        yield x + across * math.cos(angle), y + down * math.sin(angle)


@cache
def get_font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
