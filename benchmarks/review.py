"""The review page in Chromium: from the key that sends a judgement to the next item, ready on the screen.

``python -m benchmarks.review`` makes a workspace with a project of 60 rationales, serves it with the real server, and
judges by keys: "all good", then Enter.

* next: from the time stamp of the Enter key to the first animation frame after the next item stands there, its picture
  drawn and read back from the canvas.
* stored: from the same key to the server's acknowledgement of the judgement.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

JUDGED = 40
THINKING_MS = 700  # between two judgements; what is fetched ahead is fetched in this time
TARGET_MS = 300.0

WATCH = """(() => {
    window.nexts = [];
    window.acknowledged = [];
    let began = null;
    const sent = new Map();
    window.addEventListener("keydown", (event) => { if (event.key === "Enter") began = event.timeStamp; }, true);
    window.addEventListener("lens-review-ready", (event) => {
        if (began === null) return;
        const start = began;
        began = null;
        const canvas = event.composedPath()[0].querySelector(".pictures canvas");
        requestAnimationFrame(() => {
            canvas.getContext("2d").getImageData(0, 0, 1, 1);  // waits until the picture is really there
            window.nexts.push(performance.now() - start);
        });
    }, true);
    const ask = window.fetch;
    window.fetch = async (address, options) => {
        const start = String(address).endsWith("/review/submit") ? began ?? performance.now() : null;
        const answer = await ask(address, options);
        if (start !== null && answer.ok) window.acknowledged.push(performance.now() - start);
        return answer;
    };
})()"""


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints. Returns 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    if options.json:
        print(json.dumps(found))
    else:
        report(found)
    return int(found["next_ms"] > TARGET_MS)


def measure(folder: Path) -> dict[str, float]:
    """Medians and 95th percentiles in milliseconds, and how many judgements they are from."""
    from playwright.sync_api import sync_playwright

    from tests.browser.review_world import make_review_world
    from tests.browser.world import CHROMIUM

    world = make_review_world(folder)
    project = world.project("benchmark", JUDGED + 20)
    world.start()
    try:
        with sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
            page = chromium.new_page(viewport={"width": 1280, "height": 800})
            page.add_init_script(WATCH)  # before the page listens: its own listener keeps its keys from others
            asked = urlencode({"page": "review", "project": project, "person": "Ann"})
            page.goto(f"{world.address}/?{asked}")
            judge(page)
            nexts, acknowledged = page.evaluate("[window.nexts, window.acknowledged]")
            chromium.close()
        stored = len(world.store.reviews(project))
    finally:
        world.stop()
    if stored != JUDGED:
        raise RuntimeError(f"{JUDGED} judgements were sent and {stored} are stored")
    return {
        "next_ms": statistics.median(nexts),
        "next_p95_ms": sorted(nexts)[int(0.95 * len(nexts))],
        "stored_ms": statistics.median(acknowledged),
        "stored_p95_ms": sorted(acknowledged)[int(0.95 * len(acknowledged))],
        "judged": len(nexts),
    }


def judge(page: Any) -> None:
    """As an annotator who needs little time for each."""
    page.wait_for_selector(".desk[data-ready]", timeout=60_000)
    for number in range(JUDGED):
        page.wait_for_timeout(THINKING_MS)
        page.keyboard.press("g")
        page.keyboard.press("Enter")
        page.wait_for_function("count => window.nexts.length > count", arg=number, timeout=20_000)
    page.wait_for_selector(".desk[data-unsent='0']", timeout=60_000)


def report(found: dict[str, float]) -> None:
    """Prints the figures beside the target."""
    print(f"{found['judged']:.0f} judgements by keys in Chromium, the real server, SQLite")
    for title, name in (("next item ready", "next"), ("judgement stored", "stored")):
        print(f"{title:18} median {found[name + '_ms']:7.1f} ms   95 % {found[name + '_p95_ms']:7.1f} ms")
    print(f"target             median {TARGET_MS:7.1f} ms for the next item")


if __name__ == "__main__":
    sys.exit(main())
