"""Takes the screenshots of README and docs from the shipped data: ``python docs/take_screenshots.py``.

Serves the real app on a workspace of its own, and photographs a page once it stands still: the player when every step
has been run, What if when its answer is there, Evidence when it has measured (minutes). To look at every page in light
and dark, at 1280 and 1920 pixels: ``--only all --screens all --out FOLDER``.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.world import CHROMIUM, serving  # noqa: E402

OUT = ROOT / "docs" / "screenshots"
EPISODE = "spoon-on-towel-0"
HIDDEN = '[{"kind":"hide object","name":"spoon"}]'


@dataclass(frozen=True)
class Shot:
    """A page, what to press on it, and what is there once it is finished."""

    parameters: Mapping[str, str | int]
    ready: str  # CSS
    press: str = ""  # the name of a button, as a pattern


SHOTS: Mapping[str, Shot] = {
    "trajectory": Shot({"page": "trajectory", "episode": EPISODE, "step": 6}, ".lens[data-step]"),
    "compare": Shot({"page": "compare", "episode": EPISODE, "step": 6}, ".lens[data-step]"),
    "what-if": Shot({"page": "what-if", "episode": EPISODE, "step": 6, "edits": HIDDEN}, "[data-what-if-table]"),
    "evidence": Shot({"page": "evidence", "episode": EPISODE}, "text=Is the instruction used?", r"Measure \d+ steps"),
    "catalogue": Shot({"page": "catalogue"}, ".catalogue img"),
    "data-set": Shot({"page": "data-set"}, ".js-plotly-plot"),
    "review": Shot({"page": "review"}, "[data-testid=stMainBlockContainer] p"),
    "projects": Shot({"page": "projects"}, "[data-testid=stMainBlockContainer] p"),
    "training": Shot({"page": "training"}, "[data-testid=stMainBlockContainer] p"),
}
SHOWN = ("trajectory", "compare", "what-if", "evidence")  # in README
SIZES = ((1280, 800), (1920, 1080))
SCREENS = {f"{scheme}-{size[0]}": (scheme, *size) for scheme in ("light", "dark") for size in SIZES}
COMPLETE = """() => {
    const busy = [...document.querySelectorAll("*")].flatMap((node) => (node.shadowRoot ? [node.shadowRoot] : []))
        .flatMap((root) => [...root.querySelectorAll(".run-status")]);
    return busy.every((node) => node.hidden);
}"""


def main() -> int:
    """Writes docs/screenshots/<page>-<scheme>-<width>.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="an existing workspace; the shipped data if left out")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", nargs="+", choices=[*SHOTS, "all"], default=SHOWN)
    parser.add_argument("--screens", nargs="+", choices=[*SCREENS, "all"], default=["light-1280"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = list(SHOTS) if "all" in options.only else options.only
    screens = list(SCREENS) if "all" in options.screens else options.screens
    with tempfile.TemporaryDirectory() as folder:
        take_all(options.workspace or Path(folder), options.out, names, screens)
    return 0


def take_all(workspace: Path, out: Path, names: Sequence[str], screens: Sequence[str]) -> None:
    """Photographs these pages on these screens."""
    from playwright.sync_api import sync_playwright

    with serving(workspace) as address, sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        for name in names:
            shot = SHOTS[name]
            for screen in screens:
                scheme, width, height = SCREENS[screen]
                page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                take(page, address, shot, out / f"{name}-{screen}.png")
                page.close()
        chromium.close()


def take(page: Any, address: str, shot: Shot, path: Path) -> None:
    """Waits until the page stands still, then writes the picture."""
    page.goto(f"{address}/?{urlencode(shot.parameters)}")
    if shot.press:
        button, ready = page.get_by_role("button", name=re.compile(shot.press)).first, page.locator(shot.ready).first
        button.or_(ready).first.wait_for(timeout=120_000)
        if button.is_visible():
            button.click()
    page.locator(shot.ready).first.wait_for(timeout=900_000)
    page.wait_for_function(COMPLETE, timeout=600_000)
    page.wait_for_timeout(3000)
    page.screenshot(path=str(path))
    print(path, flush=True)


if __name__ == "__main__":
    sys.exit(main())
