"""One server and one Chromium for all browser tests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Error, expect, sync_playwright

from tests.browser.review_world import ReviewWorld, make_review_world
from tests.browser.reviewer import Reviewer
from tests.browser.world import CHROMIUM, PATIENCE, make_world, serving


@dataclass
class Tab:
    """A browser tab on the app, with everything that its console complained about."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)

    def open(self, **parameters: object) -> None:
        """Opens the app with these URL parameters and waits for the first picture."""
        self.page.goto(f"{self.address}/?{urlencode(parameters)}")
        self.page.wait_for_selector(".lens[data-step]")

    def wait_for_rows(self) -> None:
        """Waits until the current step has attention and words."""
        self.page.locator(".chips.part-action button").first.wait_for()

    @property
    def step(self) -> int:
        return int(self.page.locator(".lens").get_attribute("data-step"))

    def parameter(self, name: str) -> str | None:
        """A parameter of the URL as it stands now."""
        return self.page.evaluate("name => new URLSearchParams(location.search).get(name)", name)

    def wait_for_parameter(self, name: str, value: str) -> None:
        self.page.wait_for_function(
            "([name, value]) => new URLSearchParams(location.search).get(name) === value",
            arg=[name, value],
        )

    def wait_for_caption(self, text: str) -> None:
        """Words follow the picture by one animation frame."""
        self.page.locator(".caption").first.filter(has_text=text).wait_for()

    def pixels(self, which: int = 0) -> str:
        """The canvas as it is drawn, to compare with another moment."""
        return str(self.page.locator("canvas.stage-canvas").nth(which).evaluate("canvas => canvas.toDataURL()"))

    def settled_pixels(self) -> str:
        """The canvas once it has stayed the same for half a second."""
        before, now = "", self.pixels()
        while now != before:
            self.page.wait_for_timeout(500)
            before, now = now, self.pixels()
        return now

    def wait_for_pixels(self, picture: str) -> None:
        """Waits until the canvas shows this picture."""
        self.wait_until(lambda: self.pixels() == picture, "the picture that was expected")

    def wait_for_other_pixels(self, picture: str, which: int = 0) -> None:
        """Waits until the canvas shows another picture."""
        self.wait_until(lambda: self.pixels(which) != picture, "another picture")

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Asks again until ``holds()``, or fails."""
        end = time.monotonic() + PATIENCE / 1000
        while not holds():
            assert time.monotonic() < end, f"{what} did not come"
            self.page.wait_for_timeout(50)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def server(world: Path) -> Iterator[str]:
    with serving(world) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}; on Debian: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser: Any, server: str) -> Iterator[Tab]:
    """A fresh tab; the test fails if its console shows an error."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE)
    opened = Tab(page, server)

    def listen(message: Any) -> None:
        # Streamlit drops the pictures of a run when the next one begins; one that still loads is not shown any more.
        if message.type == "error" and not urlsplit(message.location["url"]).path.startswith("/media/"):
            opened.complaints.append(f"{message.text} {message.location['url']}")

    page.on("console", listen)
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    yield opened
    page.close()
    assert not opened.complaints


@pytest.fixture(scope="session")
def review_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReviewWorld]:
    """A workspace in which each test makes review projects of its own, and a server over it."""
    made = make_review_world(tmp_path_factory.mktemp("review"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def ann(browser: Any, review_world: ReviewWorld) -> Iterator[Reviewer]:
    """A fresh tab in which somebody judges; the test fails if a script on the page does."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    reviewer = Reviewer(context.new_page(), review_world.address)
    yield reviewer
    context.close()
    assert not reviewer.complaints


ALL_TEXT = """() => {
    const all = (node) => [...node.querySelectorAll("*")];
    const shadows = (node) => all(node).flatMap(({ shadowRoot: root }) => (root ? [root, ...shadows(root)] : []));
    const parts = [document.body, ...shadows(document).flatMap((root) => [...root.children])];
    return parts.map((part) => part.innerText ?? "").join("\\n").replace(/\\s*\\n\\s*/g, "\\n");
}"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What stood on the pages of a test that failed: a machine without a screen leaves nothing else to look at."""
    report = yield
    browser = getattr(item, "funcargs", {}).get("browser") if report.when == "call" and report.failed else None
    contexts = browser.contexts if browser is not None else []
    for page in (page for context in contexts for page in context.pages):
        with contextlib.suppress(Error):
            report.sections.append((page.url, page.evaluate(ALL_TEXT)[-4000:]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test was tried once more: it may be a race in the product, which a second try must not hide."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"first try of {report.nodeid}")
        terminalreporter.line(report.longreprtext)
        for title, text in report.sections:
            terminalreporter.line(f"{title}\n{text}")
