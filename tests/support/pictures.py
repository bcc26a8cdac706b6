"""Pictures made on the spot: pages of text, a chart, a sign, a group of people."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

ASSETS = Path(__file__).resolve().parents[1] / "assets"
PAGE = (
    "Of Platforms and Trains",
    "The morning express leaves the northern station at half",
    "past seven, and nobody ever waits for the second bell.",
    "Invoice no. 4711 of 26 November 2026: total 1,289.50 EUR",
    "Whoever reads this far may turn the page and rest.",
)


def page(scan: bool = False) -> Image.Image:
    """Five lines of black on white, 1000x420; as a scan it is grey, noisy and a little askew."""
    sheet = Image.new("L", (1000, 420), 250)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(PAGE):
        draw.text(
            (50, 40 + 70 * number), line, font=ImageFont.load_default(40 if number == 0 else 30), fill=15
        )
    if not scan:
        return sheet
    turned = sheet.rotate(2.0, Image.Resampling.BICUBIC, fillcolor=230, expand=True)
    grey = np.asarray(turned, np.float32) * np.linspace(0.75, 1.0, turned.width)
    noise = np.random.default_rng(3).normal(0, 6, grey.shape)
    return Image.fromarray(np.clip(grey + noise, 0, 255).astype(np.uint8))


def chart() -> Image.Image:
    """A bar chart with a title and named bars, 800x560."""
    picture = Image.new("RGB", (800, 560), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((220, 20), "Visitors per season", font=ImageFont.load_default(36), fill="black")
    draw.line((80, 90, 80, 480, 760, 480), fill="black", width=3)
    bars = (
        ("Spring", 140, "seagreen"),
        ("Summer", 330, "orange"),
        ("Autumn", 210, "brown"),
        ("Winter", 90, "navy"),
    )
    for number, (name, height, colour) in enumerate(bars):
        left = 120 + 160 * number
        draw.rectangle((left, 480 - height, left + 100, 478), fill=colour)
        draw.text((left, 495), name, font=ImageFont.load_default(28), fill="black")
        draw.text((left + 25, 445 - height), str(height), font=ImageFont.load_default(26), fill="black")
    return picture


def sign() -> Image.Image:
    """A yellow sign seen from the side, in front of a photograph, 640x427."""
    board = Image.new("RGB", (420, 200), (250, 205, 20))
    draw = ImageDraw.Draw(board)
    draw.rectangle((6, 6, 413, 193), outline="black", width=6)
    draw.text((50, 25), "DANGER", font=ImageFont.load_default(78), fill="black")
    draw.text((62, 120), "Keep off the track", font=ImageFont.load_default(36), fill="black")
    behind = np.asarray(Image.open(ASSETS / "pictures" / "rocket.jpg"))
    corners = np.float32([[0, 0], [420, 0], [420, 200], [0, 200]])
    seen = np.float32([[120, 90], [500, 130], [490, 330], [130, 300]])
    turn = cv2.getPerspectiveTransform(corners, seen)
    size = behind.shape[1], behind.shape[0]
    front = cv2.warpPerspective(np.asarray(board), turn, size, flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(np.full((200, 420), 255, np.uint8), turn, size)
    return Image.fromarray(np.where(mask[..., None] > 127, front, behind))


def group() -> tuple[Image.Image, list[tuple[int, int]]]:
    """Five people of three sizes on one wall, 1200x800, and about where each face is."""
    wall = Image.new("RGB", (1200, 800), (176, 190, 197))
    places: list[tuple[int, int]] = []
    for name, face, width, at in (
        ("astronaut.jpg", (0.44, 0.24), 420, (20, 300)),
        ("pictures/president.jpg", (0.54, 0.24), 380, (460, 300)),
        ("pictures/vice_president.jpg", (0.59, 0.18), 240, (900, 240)),
        ("astronaut.jpg", (0.44, 0.24), 180, (480, 60)),
        ("pictures/president.jpg", (0.54, 0.24), 200, (720, 30)),
    ):
        person = Image.open(ASSETS / name)
        height = round(person.height * width / person.width)
        wall.paste(person.resize((width, height), Image.Resampling.LANCZOS), at)
        places.append((round(at[0] + face[0] * width), round(at[1] + face[1] * height)))
    return wall, places
