"""A team's server: people log in with an OpenID provider, and nothing is shown or served before."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.review_world import ReviewWorld, make_review_world
from tests.browser.world import PATIENCE
from tests.oidc_provider import providing, secrets_toml

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TEAM = {
    "Ann, who judges": {"sub": "1", "email": "ann@lab.org", "email_verified": True},
    "Kim, who leads": {"sub": "2", "email": "kim@lab.org", "email_verified": True, "groups": ["robot-leads"]},
    "A stranger": {"sub": "3", "email": "stranger@else.org", "email_verified": True},
}
PEOPLE = '[people]\nannotator = ["ann@lab.org"]\nlead = ["robot-leads"]\nclaim = "groups"\n'


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReviewWorld]:
    """A served workspace whose people log in."""
    world = make_review_world(tmp_path_factory.mktemp("team"), 24, PEOPLE)
    with providing(TEAM) as provider:
        secrets = world.folder / ".streamlit" / "secrets.toml"
        secrets.parent.mkdir()
        secrets.write_text(secrets_toml(world.address, default=provider))
        world.start()
        yield world
        world.stop()


@pytest.fixture(scope="module")
def team_server(team: ReviewWorld) -> str:
    return team.address


@pytest.fixture
def visit(browser: Any, team_server: str) -> Iterator[Any]:
    """A page of a browser that knows nobody yet."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def log_in(page: Any, address: str, who: str, **parameters: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name=who).click()
    page.wait_for_url(f"{address}/**")


def test_nothing_is_shown_or_served_before_the_login(visit: Any, team_server: str) -> None:
    visit.goto(f"{team_server}/?episode=plain")
    visit.get_by_role("button", name="Log in").wait_for()
    expect(visit.locator("body")).not_to_contain_text("plain")
    told = visit.evaluate(
        "async () => { const r = await fetch('/lens/episode?episode=plain'); return [r.status, await r.json()]; }"
    )
    assert told == [401, {"error": "log in first"}]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{team_server}/lens/frame?dataset=x&episode=plain&camera=shoulder&step=0", timeout=5)
    assert refused.value.code == 401 and json.load(refused.value) == {"error": "log in first"}


def test_who_logged_in_sees_frames_under_the_name_of_the_provider(visit: Any, team_server: str) -> None:
    log_in(visit, team_server, "Ann, who judges")
    visit.wait_for_selector(".lens[data-step]")
    expect(visit.locator("[data-testid=stSidebar]")).to_contain_text("ann@lab.org · annotator")
    visit.get_by_role("button", name="Log out").click()
    visit.get_by_role("button", name="Log in").wait_for()
    assert visit.evaluate("async () => (await fetch('/lens/episode?episode=plain')).status") == 401


def test_somebody_without_a_role_stays_outside(visit: Any, team_server: str) -> None:
    log_in(visit, team_server, "A stranger")
    visit.get_by_text("stranger@else.org has no role here").wait_for()
    assert visit.evaluate("async () => (await fetch('/lens/episode?episode=plain')).status") == 403


def test_an_annotator_judges_under_the_address_and_cannot_open_pages_for_leads(visit: Any, team: ReviewWorld) -> None:
    project = team.project("team", 3, overlap=2)
    log_in(visit, team.address, "Ann, who judges")
    visit.goto(f"{team.address}/?page=projects&project={project}&person=kim@lab.org")
    visit.locator("[data-testid=stSidebar]").get_by_text("Review", exact=True).wait_for()
    expect(visit.locator("[data-testid=stSidebar]").get_by_text("Projects", exact=True)).to_have_count(0)
    expect(visit.get_by_text("Settings", exact=True)).to_have_count(0)
    ask = """async ([name, body]) => (await fetch(`/lens/review/${name}`, {
        method: "POST", headers: { "X-VLA-Lens": "1" }, body: JSON.stringify({ person: "kim@lab.org", ...body }),
    })).status"""
    decide = {"desk": "adjudicate", "project": project, "count": 1, "skip": []}
    assert visit.evaluate(ask, ["next", decide]) == 403  # whatever name the request gives
    visit.goto(f"{team.address}/?page=review&project={project}&person=kim@lab.org")
    visit.wait_for_selector(".desk[data-ready]")
    visit.wait_for_timeout(300)
    visit.keyboard.press("g")
    expect(visit.locator(".overall.accept")).to_have_attribute("aria-checked", "true")
    visit.keyboard.press("Enter")
    visit.locator(".progress").filter(has_text="1 judged by you").wait_for()
    assert [one.annotator for one in team.store.reviews(project)] == ["ann@lab.org"]


def test_a_lead_opens_them(visit: Any, team: ReviewWorld) -> None:
    project = team.project("led", 1)
    log_in(visit, team.address, "Kim, who leads")
    visit.goto(f"{team.address}/?page=projects&project={project}")
    visit.get_by_text("Nobody has judged anything yet").wait_for()


def test_one_of_several_providers_is_chosen(browser: Any, tmp_path: Path) -> None:
    """Each knows people of its own; both hand out the same names for them."""
    elsewhere = {"Kim, who visits": {"sub": "2", "email": "kim@college.org", "email_verified": True}}
    world = make_review_world(tmp_path, 24, '[people]\nannotator = ["kim@college.org"]\nlead = ["ann@lab.org"]\n')
    secrets = world.folder / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    with providing(TEAM) as lab, providing(elsewhere) as college:
        secrets.write_text(secrets_toml(world.address, lab=lab, college=college))
        world.start()
        for provider, who, shown in (
            ("lab", "Ann, who judges", "ann@lab.org · lead"),
            ("college", "Kim, who visits", "kim@college.org · annotator"),
        ):
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.goto(world.address)
            page.get_by_role("button", name=f"Log in with {provider}").click()
            page.get_by_role("link", name=who).click()
            page.locator("[data-testid=stSidebar]").get_by_text(shown).wait_for()
            context.close()
        world.stop()
