"""A real headless Chromium, and how a hand draws in it."""

import contextlib
from collections.abc import Iterator
from math import cos, pi, sin
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

EXECUTABLE = Path("/usr/bin/chromium")  # Debian's
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP = {"width": 1200, "height": 850}
PHONE = {"width": 375, "height": 812}
# Strokes as parts of the sheet's width and height.
STROKES = {
    "0": [[(0.5 + 0.24 * sin(a * pi / 8), 0.5 - 0.34 * cos(a * pi / 8)) for a in range(17)]],
    "1": [[(0.5, 0.15), (0.5, 0.85)]],
    "3": [[
        (0.3, 0.23), (0.38, 0.16), (0.5, 0.13), (0.62, 0.17), (0.68, 0.27), (0.65, 0.38), (0.57, 0.45), (0.47, 0.48),
        (0.59, 0.5), (0.68, 0.57), (0.71, 0.68), (0.67, 0.78), (0.57, 0.85), (0.44, 0.86), (0.3, 0.79),
    ]],
    "7": [[(0.25, 0.2), (0.75, 0.2), (0.45, 0.85)]],
}  # fmt: skip


@contextlib.contextmanager
def launched(*options: str) -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=[*QUIET, *options])
        yield browser
        browser.close()


def draw(page: Any, digit: str) -> None:
    """Draw a digit on the sheet with the mouse."""
    sheet = page.locator("#canvas").bounding_box()
    for stroke in STROKES[digit]:
        points = [(sheet["x"] + x * sheet["width"], sheet["y"] + y * sheet["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=4)
        page.mouse.up()


def draw_with_a_finger(page: Any, digit: str) -> None:
    """The same by touch, as a phone sends it."""
    sheet = page.locator("#canvas").bounding_box()
    fingers = page.context.new_cdp_session(page)
    for stroke in STROKES[digit]:
        points = [{"x": sheet["x"] + x * sheet["width"], "y": sheet["y"] + y * sheet["height"]} for x, y in stroke]
        fingers.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
        for point in points[1:]:
            fingers.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
