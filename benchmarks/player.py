"""The player in Chromium: scrub input to pixels, against a Streamlit rerun; and opening a stored trajectory.

``python -m benchmarks.player`` makes a workspace with a 100-step episode and a stored run of the size that the shipped
reasoning model gives (6 layers, 4 heads, 67 rows of 146 positions a step), and serves it with the real server.

* scrub: from the time stamp of the pointer event to the first pixel read back from the canvas of the new step, rows
  reduced and overlaid; the pointer is moved by the browser's own input, so waiting in its queue counts.
* rerun: the same frames on an ``st.slider`` page that draws ``st.image``, from the time stamp of the key press to the
  moment the new picture is decoded in the page.
* open: from navigation to the first picture with overlay, in a fresh browser profile, the server warm; printed with the
  part that passes before Streamlit has put up the player's empty place.
* switch: from choosing another stored episode in the side bar to its first picture with overlay.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STEPS = 100
EPISODES = ("long", "other")
TARGETS = {"scrub_ms": 16.0, "open_s": 1.5}

WATCH_SCRUB = """() => {
    window.scrubs = [];
    let began = null;
    const note = (event) => { began = event.timeStamp; };
    window.addEventListener("pointermove", note, true);
    window.addEventListener("lens-drawn", (event) => {
        if (began === null) return;
        const canvas = event.composedPath().map((node) => node.querySelector?.("canvas.stage-canvas")).find(Boolean);
        canvas.getContext("2d").getImageData(0, 0, 1, 1);  // waits until the picture is really there
        window.scrubs.push({ step: event.detail.step, overlay: event.detail.overlay, ms: performance.now() - began });
        began = null;
    }, true);
}"""

WATCH_RERUN = """() => {
    window.reruns = [];
    let began = null;
    let last = document.querySelector("img").src;
    window.addEventListener("keydown", (event) => { began = event.timeStamp; }, true);
    const look = async () => {
        const image = document.querySelector("[data-testid=stImage] img, .stImage img, img");
        if (image && image.src !== last && began !== null) {
            last = image.src;
            await image.decode();
            window.reruns.push(performance.now() - began);
            began = null;
        }
        requestAnimationFrame(look);
    };
    look();
}"""

RERUN_PAGE = """
import streamlit as st
from analysis.workspace import Workspace
workspace = Workspace.open({workspace!r})
episode = st.cache_resource(lambda: workspace.episode("long"))()
step = st.slider("Step", 0, {last}, 0, key="step")
st.image(episode.encoded_frame("shoulder", step)[0])
"""


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints. Returns 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    if options.json:
        print(json.dumps(found))
    else:
        report(found)
    return int(any(found[name] > target for name, target in TARGETS.items()))


def measure(folder: Path) -> dict[str, float]:
    """Medians: milliseconds of a scrub and of a rerun, seconds of opening; and how many of each were taken."""
    from playwright.sync_api import sync_playwright

    from tests.browser.world import CHROMIUM, serving

    workspace = make_workspace(folder)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        with serving(workspace) as address:
            link = f"{address}/?episode=long"
            time_to_overlay(chromium, link)  # the server's own imports and first rerun
            opening = [time_to_overlay(chromium, link) for _ in range(7)]
            switching = time_to_switch(chromium, link)
            scrubs = scrub(chromium, link)
        with serving_reruns(folder, workspace) as address:
            reruns = rerun(chromium, address)
        chromium.close()
    return {
        "scrub_ms": statistics.median(scrubs),
        "scrub_p95_ms": sorted(scrubs)[int(0.95 * len(scrubs))],
        "scrubs": len(scrubs),
        "rerun_ms": statistics.median(reruns),
        "reruns": len(reruns),
        "open_s": statistics.median(total for total, _ in opening),
        "open_streamlit_s": statistics.median(before for _, before in opening),
        "switch_s": statistics.median(switching),
        "opened": len(opening),
    }


def report(found: dict[str, float]) -> None:
    """Prints one line a figure, with its target."""
    print(
        f"scrub to pixels   {found['scrub_ms']:7.1f} ms median, {found['scrub_p95_ms']:.1f} ms 95th percentile, "
        f"n = {found['scrubs']} (target {TARGETS['scrub_ms']:g} ms)"
    )
    print(
        f"st.image rerun    {found['rerun_ms']:7.1f} ms median, n = {found['reruns']} "
        f"({found['rerun_ms'] / found['scrub_ms']:.0f} times as long)"
    )
    print(
        f"open {STEPS} steps    {found['open_s']:7.2f} s median to the first overlay, n = {found['opened']} "
        f"(target {TARGETS['open_s']:g} s); {found['open_streamlit_s']:.2f} s of it before Streamlit shows the player"
    )
    print(f"switch episode    {found['switch_s']:7.2f} s median to the first overlay in the open app")


def make_workspace(folder: Path) -> Path:
    """A workspace with episodes of ``STEPS`` steps, a tiny checkpoint and complete stored runs."""
    from tests.browser.world import checkpoint_named, store_synthetic_run, write_synthetic_episode
    from tests.tiny_checkpoints import write_action_token_paligemma

    for name in EPISODES:
        write_synthetic_episode(folder / "episodes" / f"{name}.hdf5", STEPS, id=name)
    write_action_token_paligemma(folder / "checkpoints" / "tuned", rationale=True, name="tuned")
    workspace = folder / "workspace"
    workspace.mkdir()
    (workspace / "workspace.toml").write_text('episodes = ["../episodes"]\ncheckpoints = ["../checkpoints"]\n')
    for name in EPISODES:
        store_synthetic_run(workspace, name, checkpoint_named(workspace, "tuned"))
    return workspace


def time_to_overlay(chromium: Any, link: str) -> tuple[float, float]:
    """Seconds from navigation to the first overlay, and to the player's empty place; in a fresh profile."""
    page = chromium.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.add_init_script(
        """addEventListener("lens-drawn", (event) => {
            if (event.detail.overlay) window.first ??= performance.now();
        }, true);
        const look = () => {
            const place = document.querySelector(".stBidiComponent, [data-testid^=stBidiComponent]");
            if (place) window.placed = performance.now();
            else requestAnimationFrame(look);
        };
        look();"""
    )
    page.goto(link)
    page.wait_for_function("window.first !== undefined", timeout=60_000)
    found = page.evaluate("[window.first, window.placed ?? NaN]")
    page.context.close()
    return found[0] / 1000, found[1] / 1000


def time_to_switch(chromium: Any, link: str) -> list[float]:
    """Seconds from the click on another episode to its first overlay, to and fro."""
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.goto(link)
    page.wait_for_selector(".chips.part-action button")
    page.wait_for_timeout(3000)
    page.evaluate(
        """() => {
            addEventListener("click", (event) => { window.clicked = event.timeStamp; window.first = undefined; }, true);
            addEventListener("lens-drawn", (event) => {
                if (event.detail.overlay && event.detail.episode === window.wanted) window.first ??= performance.now();
            }, true);
        }"""
    )
    out = []
    for name in [*EPISODES[1:], *EPISODES[:1]] * 3:
        page.evaluate("name => { window.wanted = name; }", name)
        page.get_by_role("combobox", name="Episode").click()
        page.get_by_role("option").filter(has_text=f"· {name}").click()
        page.wait_for_function("window.first !== undefined", timeout=20_000)
        out.append(page.evaluate("(window.first - window.clicked) / 1000"))
        page.wait_for_timeout(800)
    page.close()
    return out


def scrub(chromium: Any, link: str) -> list[float]:
    """Milliseconds of about a hundred steps of a drag over the timeline, once everything is fetched."""
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.goto(link)
    page.wait_for_selector(".lens[data-step]")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(4000)
    page.evaluate(WATCH_SCRUB)
    box = page.locator(".timeline").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 2, y)
    page.mouse.down()
    for step in [*range(1, STEPS), *range(STEPS - 2, -1, -2)]:
        page.mouse.move(box["x"] + (step + 0.5) / STEPS * box["width"], y)
        page.wait_for_timeout(20)
    page.mouse.up()
    found = page.evaluate("window.scrubs")
    page.close()
    if not all(entry["overlay"] for entry in found):
        raise RuntimeError("some steps were drawn without their overlay")
    return [entry["ms"] for entry in found]


@contextmanager
def serving_reruns(folder: Path, workspace: Path) -> Iterator[str]:
    """The page that redraws with ``st.image``, served the usual way, by ``streamlit run``."""
    from tests.browser.world import ROOT

    script = folder / "reruns.py"
    script.write_text(RERUN_PAGE.format(workspace=str(workspace), last=STEPS - 1))
    port = 18533
    options = ["--server.port", str(port), "--server.address", "127.0.0.1", "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options, "--browser.gatherUsageStats", "false"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(150):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def rerun(chromium: Any, address: str) -> list[float]:
    """Milliseconds from a key press on the slider to the decoded picture, 30 times."""
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    page.locator("img").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
    page.get_by_role("slider").focus()
    page.evaluate(WATCH_RERUN)
    for number in range(30):
        page.keyboard.press("ArrowRight")
        page.wait_for_function("count => window.reruns.length > count", arg=number, timeout=20_000)
        page.wait_for_timeout(100)
    found = page.evaluate("window.reruns")
    page.close()
    return [float(value) for value in found]


if __name__ == "__main__":
    sys.exit(main())
