"""Takes the screenshots of README and docs from the shipped data: ``python docs/take_screenshots.py``.

Serves the real app on a workspace of its own, waits until every step has been run, and photographs both pages in light
and dark, at 1280 and 1920 pixels.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.world import CHROMIUM, serving  # noqa: E402

OUT = ROOT / "docs" / "screenshots"
EPISODE = "spoon-on-towel-0"
SHOTS: dict[str, dict[str, str | int]] = {
    "trajectory": {"page": "trajectory", "episode": EPISODE, "step": 6},
    "compare": {"page": "compare", "episode": EPISODE, "step": 6},
}
SCREENS = (("light", 1280, 800), ("dark", 1280, 800), ("light", 1920, 1080), ("dark", 1920, 1080))
COMPLETE = """() => {
    const busy = [...document.querySelectorAll("*")].flatMap((node) => (node.shadowRoot ? [node.shadowRoot] : []))
        .flatMap((root) => [...root.querySelectorAll(".run-status")]);
    return busy.length > 0 && busy.every((node) => node.hidden);
}"""


def main() -> int:
    """Writes docs/screenshots/<page>-<scheme>-<width>.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="an existing workspace; the shipped data if left out")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        take_all(options.workspace or Path(folder), options.out)
    return 0


def take_all(workspace: Path, out: Path) -> None:
    """Photographs every page on every screen."""
    from playwright.sync_api import sync_playwright

    with serving(workspace) as address, sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        for name, parameters in SHOTS.items():
            for scheme, width, height in SCREENS:
                page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                take(page, f"{address}/?{urlencode(parameters)}", out / f"{name}-{scheme}-{width}.png")
                page.close()
        chromium.close()


def take(page: Any, link: str, path: Path) -> None:
    """Waits until the page stands still, then writes the picture."""
    page.goto(link)
    page.wait_for_selector(".lens[data-step]", timeout=60_000)
    page.wait_for_function(COMPLETE, timeout=600_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=str(path))
    print(path)


if __name__ == "__main__":
    sys.exit(main())
