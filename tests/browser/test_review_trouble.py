"""Answers that get lost, servers that fail, two windows, leases that ran out: no work of an annotator is lost."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import expect

from analysis.review import Judgement, Submission
from tests.browser.review_world import ReviewWorld
from tests.browser.reviewer import Reviewer, reviews
from tests.browser.world import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def broken(route: Any, reason: str) -> None:
    route.fulfill(status=500, json={"error": reason})


def test_an_undo_that_failed_takes_back_the_same_judgement_once(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("undo", 4)
    ann.open(project)
    judged = []
    for words in ("one", "two"):
        judged.append(ann.item)
        ann.press("m")
        ann.page.keyboard.type(words)
        ann.press("Enter", "d", "Enter")
        ann.next_after(judged[-1])
    ann.all_sent()
    ann.open(project)
    tries = []

    def fail_twice(route: Any) -> None:
        tries.append(route)
        if len(tries) == 1:
            broken(route, "it did not arrive")
        elif len(tries) == 2:
            route.fetch()
            broken(route, "its answer was lost")
        else:
            route.continue_()

    ann.page.route("**/review/undo", fail_twice)
    ann.press("z")
    ann.message("it did not arrive")
    ann.press("z")
    ann.message("its answer was lost")
    ann.press("z")
    ann.message("Taken back")
    ann.page.wait_for_selector(f".desk[data-ready='{judged[1]}']")
    expect(ann.page.locator(".comment")).to_have_value("two")
    assert set(reviews(review_world, project)) == {judged[0]} and len(review_world.store.review_history(project)) == 3


def test_a_judgement_that_the_server_fails_on_holds_up_no_other(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("outbox", 4)
    ann.open(project)
    first, failing = ann.item, [True]

    def fail_on_first(route: Any) -> None:
        if failing and route.request.post_data_json["item"] == first:
            broken(route, "something broke")
        else:
            route.continue_()

    ann.page.route("**/review/submit", fail_on_first)
    ann.press("g", "Enter")
    second = ann.next_after(first)
    ann.saved("1 judgement not stored yet: something broke")
    ann.press("g", "Enter")
    ann.next_after(second)
    ann.page.wait_for_selector(".desk[data-unsent='1']")
    ann.saved("1 judgement not stored yet: something broke")
    assert set(reviews(review_world, project)) == {second}
    failing.clear()
    ann.all_sent()
    assert set(reviews(review_world, project)) == {first, second}


def test_the_second_of_two_windows_judges_on_top_of_the_first(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("windows", 3)
    ann.open(project)
    item = ann.item
    ann.press("3")
    ann.saved()
    other = Reviewer(ann.page.context.new_page(), review_world.address)
    other.open(project)
    assert other.item == item
    other.press("d", "Enter")
    other.next_after(item)
    other.all_sent()
    ann.press("m")
    ann.page.keyboard.type("from the first window")
    ann.press("Enter", "f", "Enter")
    ann.next_after(item)
    ann.all_sent()
    before, now = review_world.store.review_history(project)
    assert now.judgement is not None and now.judgement.comment == "from the first window"
    assert now.supersedes == before.id
    ann.press("z")  # under the id that it was stored with
    ann.page.wait_for_selector(f".desk[data-ready='{item}']")
    assert reviews(review_world, project)[item].judgement == before.judgement


def test_work_that_came_too_late_can_be_read_and_opened(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("late", 1, lease_seconds=1)
    ann.open(project)
    item = ann.item
    ann.press("3", "m")
    ann.page.keyboard.type("long work")
    ann.saved()
    end = time.monotonic() + PATIENCE / 1000
    while not review_world.store.next_items(project, "Bob", 1):
        assert time.monotonic() < end, "the lease did not run out"
        ann.page.wait_for_timeout(100)
    review_world.store.submit(Submission("review-of-Bob", item, "Bob", Judgement((), "reject")))
    ann.page.keyboard.type(", and more")
    expect(ann.page.get_by_role("alert")).to_contain_text("Others have this item by now")
    ann.press("Enter", "d", "Enter")
    expect(ann.page.locator(".notices")).to_contain_text("another annotator has this item by now, and it takes 1;")
    ann.open(project, wait=".desk[data-idle]")
    ann.page.on("dialog", lambda question: question.accept())
    ann.page.get_by_role("button", name="1 kept draft").click()
    expect(ann.page.get_by_label("What you wrote")).to_have_value(
        "Observation: wrong\n\nWhole: reject\n\nlong work, and more"
    )
    ann.page.locator("dialog").get_by_role("button", name="Open").click()
    ann.page.wait_for_selector(f".desk[data-ready='{item}']")
    expect(ann.page.locator(".comment")).to_have_value("long work, and more")
    expect(ann.page.get_by_role("alert")).to_contain_text("Others have this item by now")
    ann.page.get_by_role("button", name="1 kept draft").click()
    ann.page.get_by_role("button", name="Throw away").click()
    expect(ann.page.get_by_role("dialog")).to_contain_text("None are left")
    assert review_world.store.drafts(project, "Ann") == ()
