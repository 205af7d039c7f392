"""Takes the screenshots of the docs: ``python -m tests.e2e.screenshots [FOLDER]``.

With a FOLDER all pages are photographed into it, light and dark, wide and narrow, to be
looked at; without one those of the docs are written to docs/images/.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.e2e.browser import ROOT, keep_login, open_chromium, serve
from tests.e2e.pages import get_pages

IMAGES = ROOT / "docs" / "images"

#: What the docs show: name -> page, width, height, shade.
SHOTS = {
    "audit-list": ("list", 1280, 800, "light"),
    "audit-entry": ("entry", 1280, 800, "light"),
    "audit-history": ("history", 1280, 900, "light"),
    "audit-history-narrow-dark": ("history", 390, 800, "dark"),
    "signals": ("signals", 1280, 1150, "light"),
    "signals-dark": ("signals", 1280, 1150, "dark"),
    "signals-receiver": ("signals-receiver", 1280, 1250, "light"),
    "signals-narrow-dark": ("signals", 390, 800, "dark"),
}
#: All that there is to look at: width, shade.
VIEWS = [(width, shade) for width in (1280, 390) for shade in ("light", "dark")]


def take(page: Page, path: str, file: Path, *, full_page: bool) -> None:
    page.goto(path)
    save(page.screenshot(full_page=full_page), file)


def save(shot: bytes, file: Path) -> None:
    # Few colours: a page of the admin has no more.
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").quantize(64).save(file, optimize=True)


def take_panel(scratch: Path) -> None:
    """The panel of django-debug-toolbar, of a request that saves a product."""
    with serve(scratch, "tests.e2e.toolbar") as shop, open_chromium() as browser:
        for shade in ("light", "dark"):
            page = browser.new_page(
                base_url=shop.url,
                viewport={"width": 1180, "height": 640},
                color_scheme=shade,
            )
            page.goto("/price/")
            page.locator("#djdt-SignalKitPanel a").click()
            # Below what a new connection sets off.
            line = page.locator("#SignalKitPanel td", has_text="post_init").first
            line.evaluate("line => line.scrollIntoView()")
            save(page.screenshot(), IMAGES / f"toolbar{'-dark' * (shade == 'dark')}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder
    shots = SHOTS
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        serve(Path(scratch)) as shop,
        open_chromium() as browser,
    ):
        pages, login = get_pages(shop), keep_login(browser, shop)
        if folder is not None:
            shots = {
                f"{name}-{width}-{shade}": (name, width, 800, shade)
                for name in pages
                for width, shade in VIEWS
            }
        for file, (name, width, height, shade) in shots.items():
            with browser.new_context(
                base_url=shop.url,
                storage_state=login,
                viewport={"width": width, "height": height},
                color_scheme=shade,
            ) as context:
                target = (folder or IMAGES) / f"{file}.png"
                take(context.new_page(), pages[name], target, full_page=folder is not None)
    if folder is None:
        with tempfile.TemporaryDirectory() as scratch:
            take_panel(Path(scratch))


if __name__ == "__main__":
    main()
