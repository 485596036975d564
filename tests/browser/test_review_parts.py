"""What is typed and chosen about a part is what is stored: with any labels, whatever the part is called."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from analysis.review import LabelScheme, PartJudgement, PartLabels
from tests.browser.review_world import PARTS, ReviewWorld
from tests.browser.reviewer import Reviewer, reviews

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SAFE = PartLabels(("unsafe", "safe"), ("too fast", "other"))
MANY = PartLabels(("correct", "b", "c", "d", "e"), tuple(f"kind {number}" for number in range(1, 10)))


def stored(review_world: ReviewWorld, project: str, item: str) -> tuple[PartJudgement, ...]:
    said = reviews(review_world, project)[item].judgement
    assert said is not None
    return said.parts


def test_a_correction_or_an_error_without_a_verdict_is_kept(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("implied", 2)
    ann.open(project)
    first = ann.item
    ann.press("j", "c")
    ann.page.keyboard.type(" No, closed.")
    ann.press("Escape", "j", "w", "3", "d", "Enter")  # 3 says "wrong" once more; it does not take it back
    ann.next_after(first)
    ann.all_sent()
    assert [(one.part, one.verdict, one.errors, one.correction) for one in stored(review_world, project, first)] == [
        ("situation", "wrong", (), f"{PARTS['situation']} No, closed."),
        ("spatial", "wrong", ("wrong place",), None),
    ]


def test_names_that_mean_something_to_javascript_are_only_names(ann: Reviewer, review_world: ReviewWorld) -> None:
    said = {"plan": "go", "constructor": "text", "__proto__": "another", "toString": "a third"}
    project = review_world.project("names", 2, said)
    ann.open(project)
    first = ann.item
    ann.press("1", "3", "w", "j", "c")
    ann.page.keyboard.type("!")
    ann.saved()
    ann.open(project)  # the draft comes back with all of them
    expect(ann.page.locator("[data-part=constructor] [aria-checked=true]")).to_have_text("wrong")
    expect(ann.page.locator("[data-part=__proto__] textarea")).to_have_value("another!")
    ann.press("4", "s", "Enter")
    ann.next_after(first)
    ann.all_sent()
    assert [(one.part, one.verdict, one.correction) for one in stored(review_world, project, first)] == [
        ("plan", "correct", None),
        ("constructor", "wrong", None),
        ("__proto__", "wrong", "another!"),
        ("toString", "cannot tell", None),
    ]


def test_labels_of_a_project_are_all_in_reach(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("labels", 2, labels=LabelScheme(parts={"observation": MANY, "planning": SAFE}))
    ann.open(project)
    first = ann.item
    observation, planning = (ann.page.locator(f"[data-part={name}]") for name in ("observation", "planning"))
    observation.locator("[data-verdict=e]").focus()
    ann.press("Shift+Tab", "Tab", "Space")  # the fifth verdict has no key, and so is a stop of Tab
    expect(observation.locator("[data-verdict=e]")).to_have_attribute("aria-checked", "true")
    for kind in (8, 9):
        ann.press("Tab", "Space")
        expect(observation.locator(f"[data-error='kind {kind}']")).to_have_attribute("aria-pressed", "true")
    observation.click()
    ann.press("j", "j", "j", "c")
    expect(planning.locator("textarea")).to_be_focused()
    ann.page.keyboard.type(" 8. wait")
    ann.press("Escape", "g")
    ann.message("judge it yourself")  # nobody but the annotator knows whether "unsafe" is good
    expect(planning.locator("[aria-checked=true]")).to_have_count(0)
    ann.press("d", "Enter")
    ann.message("has a correction but no verdict")
    ann.press("1", "q", "Enter")  # every verdict that may be a bad one offers kinds of error
    ann.next_after(first)
    ann.all_sent()
    found = stored(review_world, project, first)
    assert [(one.verdict, one.errors) for one in found] == [
        ("e", ("kind 8", "kind 9")),
        ("correct", ()),
        ("correct", ()),
        ("unsafe", ("too fast",)),
    ]
    assert found[3].correction == f"{PARTS['planning']} 8. wait"


def test_the_keys_close_the_help_after_any_click_in_it(ann: Reviewer, review_world: ReviewWorld) -> None:
    ann.open(review_world.project("help", 1))
    ann.press("?")
    ann.page.get_by_role("button", name="As it was").click()
    ann.press("?")
    expect(ann.page.locator("dialog[open]")).to_have_count(0)
