"""The README's pictures of the pages: `python -m tests.browser.screenshots URL docs/` writes docs/ui-<page>.png."""

import sys
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from tests.browser.chromium import draw, launched


def shoot(url: str, folder: Path) -> None:
    """The commands on the pages are those of a service where it is by default, wherever this one is."""
    default = "localhost:3000"
    with launched(f"--host-resolver-rules=MAP {default} {urlsplit(url).netloc}") as browser:
        for name in ("index", "digits", "iris", "wine", "homes"):
            page = browser.new_page(viewport={"width": 1200, "height": 760}, color_scheme="light")
            page.goto(f"http://{default}/ui" + ("" if name == "index" else f"/{name}"))
            if name == "digits":
                draw(page, "3")
            if name != "index":
                page.locator(".card .took", has_text="ms").last.wait_for()
            page.wait_for_timeout(1000)
            picture = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
            # A palette is a third of the bytes; an octree keeps the few colours of small things.
            few = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            few.save(folder / f"ui-{name}.png", optimize=True)


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    shoot(sys.argv[1], folder)
