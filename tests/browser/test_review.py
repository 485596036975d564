"""The review page in a real browser against the real server: keys, drafts, undo, text that is only text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.review_world import PARTS, ReviewWorld, judge
from tests.browser.reviewer import Reviewer, reviews
from tests.browser.world import HTML

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STRANGE = {
    "observation": HTML,
    "situation": "\u200fهذا نص عربي يُقرأ من اليمين إلى اليسار 🤖 שלום",
    "task": "<svg onload=window.harmed=1> **bold** [link](javascript:window.harmed=1) $x^2$ :red[a] {{x}} ${x}",
    "plan": "long " * 20_000,
}


def test_an_item_is_judged_by_keys_alone(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("keys")
    ann.open(project)
    first = ann.item
    expect(ann.page.locator(".part")).to_have_count(4)
    expect(ann.page.locator(".pictures canvas")).to_have_count(2)
    expect(ann.page.locator(".followed")).to_contain_text("What the robot did")
    ann.page.evaluate(
        "() => { window.sends = 0; const send = WebSocket.prototype.send;"
        " WebSocket.prototype.send = function (...all) { window.sends += 1; return send.apply(this, all); }; }"
    )
    ann.press("1", "1", "3", "w", "q", "j", "4", "m")
    ann.page.keyboard.type("the block is elsewhere")
    ann.press("Enter", "d", "Enter")
    ann.next_after(first)
    ann.all_sent()
    said = reviews(review_world, project)[first].judgement
    assert said is not None and (said.overall, said.comment) == ("reject", "the block is elsewhere")
    assert [(one.verdict, one.errors) for one in said.parts] == [
        ("correct", ()),
        ("correct", ()),
        ("wrong", ("wrong object", "wrong place")),
        ("cannot tell", ()),
    ]
    assert ann.page.evaluate("window.sends") == 0  # no rerun of the script
    expect(ann.page.locator(".progress")).to_contain_text("1 judged by you · 1 of 6")


def test_the_count_is_right_in_whatever_order_the_answers_come(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("order", 3)
    ann.open(project)
    first, judging, asking = ann.item, [], []
    ann.page.route("**/review/submit", lambda route: route.continue_() if judging else judging.append(route))
    ann.page.route(
        "**/review/next", lambda route: route.continue_() if asking else asking.append((route, route.fetch()))
    )
    ann.press("g", "Enter")
    ann.next_after(first)
    while not judging or not asking:
        ann.page.wait_for_timeout(50)
    judging[0].continue_()
    ann.all_sent()
    route, counted_before = asking[0]
    route.fulfill(response=counted_before)
    ann.page.wait_for_timeout(300)
    expect(ann.page.locator(".progress")).to_contain_text("1 judged by you · 1 of 3")
    for _ in range(2):
        judged = ann.item
        ann.press("g", "Enter")
        ann.page.wait_for_selector(f".desk:not([data-ready='{judged}']):is([data-ready], [data-idle])")
        ann.page.wait_for_timeout(300)
    expect(ann.page.locator(".empty")).to_contain_text("You judged 3 of 3 items")


def test_a_correction_keeps_the_original(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("correction")
    ann.open(project)
    first = ann.item
    ann.press("1", "2", "c")
    ann.page.keyboard.press("Control+a")
    ann.page.keyboard.type("The gripper is closed.")
    ann.press("Escape", "g", "Enter")
    ann.next_after(first)
    ann.all_sent()
    said = reviews(review_world, project)[first].judgement
    assert said is not None and said.overall == "correct"
    part = said.part("situation")
    assert part is not None and (part.correction, part.original) == ("The gripper is closed.", PARTS["situation"])


def test_nothing_is_sent_by_accident(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("accident")
    ann.open(project)
    first = ann.item
    ann.press("Enter")
    ann.message("Say first")
    ann.press("1", "a", "Enter")
    ann.message("is not judged yet")
    ann.press("g", "s", "Enter")
    ann.message("Correct a part first")
    ann.press("s", "a", "m")
    ann.page.keyboard.type("fine")
    ann.press("Enter")  # leaves the comment
    assert ann.item == first
    ann.page.keyboard.down("Enter")
    for _ in range(5):  # a key that is held repeats
        ann.page.keyboard.down("Enter")
    ann.page.keyboard.up("Enter")
    second = ann.next_after(first)
    ann.all_sent()
    assert set(reviews(review_world, project)) == {first} and second != first


def test_mouse_and_keys_mix(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("mouse")
    ann.open(project)
    first = ann.item
    for part in PARTS:
        ann.page.locator(f"[data-part={part}] [data-verdict=correct]").click()
    ann.page.locator(".overall.accept").click()
    ann.press("Enter")  # sends; it does not click the button again
    ann.next_after(first)
    ann.all_sent()
    assert reviews(review_world, project)[first].judgement.overall == "accept"  # type: ignore[union-attr]


def test_undo_takes_back_changes_and_then_the_last_judgement(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("undo")
    ann.open(project)
    first = ann.item
    ann.press("1", "3", "z")
    expect(ann.page.locator("[data-part=situation] [aria-checked=true]")).to_have_count(0)
    ann.press("g", "Enter")
    second = ann.next_after(first)
    ann.all_sent()
    ann.press("z")
    ann.message("Taken back")
    ann.page.wait_for_selector(f".desk[data-ready='{first}']")
    assert reviews(review_world, project) == {} and len(review_world.store.review_history(project)) == 2
    ann.page.wait_for_timeout(300)
    ann.press("d", "Enter")
    assert ann.next_after(first) == second
    ann.all_sent()
    assert reviews(review_world, project)[first].judgement.overall == "reject"  # type: ignore[union-attr]
    ann.open(project)  # another sitting: the last judgement can still be taken back
    ann.press("z")
    ann.page.wait_for_selector(f".desk[data-ready='{first}']")


def test_a_draft_outlives_the_tab_and_the_browser(ann: Reviewer, review_world: ReviewWorld, browser: Any) -> None:
    project = review_world.project("draft")
    ann.open(project)
    first = ann.item
    ann.press("1", "3", "e", "m")
    ann.page.keyboard.type("half a thought")
    ann.saved()
    ann.page.close()
    elsewhere = browser.new_context()
    again = Reviewer(elsewhere.new_page(), review_world.address)
    again.open(project)
    assert again.item == first
    expect(again.page.locator(".comment")).to_have_value("half a thought")
    expect(again.page.locator("[data-part=situation] [data-error='wrong state'][aria-pressed=true]")).to_have_count(1)
    elsewhere.close()


def test_keys_can_be_changed_and_are_remembered(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("remap")
    ann.open(project)
    ann.press("?")
    ann.page.locator(".help .key[data-action=reject]").click()
    ann.press("x")
    ann.page.get_by_role("button", name="Close").click()
    ann.press("x")
    expect(ann.page.locator(".overall.reject")).to_have_attribute("aria-checked", "true")
    ann.press("d")  # says nothing any more
    ann.saved()
    ann.open(project)
    expect(ann.page.locator(".overall.reject kbd")).to_have_text("X")
    expect(ann.page.locator(".overall.reject")).to_have_attribute("aria-checked", "true")


def test_text_of_data_sets_is_only_text(ann: Reviewer, review_world: ReviewWorld) -> None:
    guidelines = "Look <script>window.harmed=1</script> <img src=x onerror='window.harmed=1'> **well**"
    project = review_world.project("<b>strange</b> **names**", 2, STRANGE, guidelines=guidelines)
    ann.open(project)
    shown = ann.page.locator(".part .text").all_inner_texts()
    assert shown[0].startswith(HTML) and shown[2] == STRANGE["task"] and len(shown[3]) > 99_000
    assert ann.page.evaluate("() => getComputedStyle(document.querySelector('body')) && window.harmed") is None
    right_to_left = ann.page.locator("[data-part=situation] .text")
    assert right_to_left.evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert ann.page.locator(".part b, .part svg[onload], .part script, .part img").count() == 0
    side = ann.page.locator("[data-testid=stSidebar]")
    expect(side).to_contain_text("<script>")
    expect(side.locator("img[src=x], script")).to_have_count(0)
    ann.press("j", "j", "j", "c")  # the long part can be corrected
    ann.page.keyboard.type("!")
    ann.press("Escape", "d", "Enter")
    ann.all_sent()
    ann.open(project, page="projects", part="files", wait="[data-testid=stFileUploader]")
    expect(ann.page.locator("h4")).to_contain_text("<b>strange</b> **names**")
    assert ann.page.evaluate("window.harmed") is None


def test_what_is_said_where_there_is_nothing_to_do(ann: Reviewer, review_world: ReviewWorld) -> None:
    held = review_world.project("held", 1)
    review_world.store.next_items(held, "Bob", 1)
    ann.open(held, wait=".desk[data-idle]")
    expect(ann.page.locator(".empty")).to_contain_text("1 place is held by others")
    done = review_world.project("done", 1)
    judge(review_world.store, done, "Ann", "correct", "accept")
    ann.open(done, wait=".desk[data-idle]")
    expect(ann.page.locator(".empty")).to_contain_text("You judged 1 of 1 items")
    empty = review_world.project("empty", 0)
    ann.open(empty, wait=".desk[data-idle]")
    expect(ann.page.locator(".empty")).to_contain_text("no items yet")


def test_a_full_disk_is_said_and_nothing_is_lost(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("full disk")
    ann.open(project)
    first = ann.item
    review_world.fill_disk(True)
    try:
        ann.press("1", "m")
        ann.page.keyboard.type("kept")
        ann.saved("Draft kept in this browser only")
        ann.press("Escape", "d", "Enter")
        ann.saved("1 judgement not stored yet")
        expect(ann.page.locator(".bar .saved")).to_contain_text("disk")
        assert reviews(review_world, project) == {}
    finally:
        review_world.fill_disk(False)
    ann.all_sent()
    assert reviews(review_world, project)[first].judgement.comment == "kept"  # type: ignore[union-attr]


def test_a_lead_settles_a_conflict_with_a_reason(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("conflict", 1, overlap=2)
    judge(review_world.store, project, "Ann", "correct", "accept")
    judge(review_world.store, project, "Bob", "wrong", "reject")
    ann.open(project, "Kim", page="projects", part="conflicts")
    expect(ann.page.locator(".others").first).to_contain_text("Bob")
    ann.press("g", "Enter")
    ann.message("Give the reason")
    ann.page.keyboard.type("seen on the frame")
    ann.press("Enter", "Enter")
    ann.page.wait_for_selector(".desk[data-idle]")
    ann.all_sent()
    (decided,) = review_world.store.adjudications(project).values()
    assert decided.judgement is not None
    assert (decided.author, decided.judgement.overall, decided.judgement.comment) == (
        "Kim",
        "accept",
        "seen on the frame",
    )
    ann.press("z")  # where nothing else is open
    ann.message("Taken back")
    expect(ann.page.locator(".comment")).to_have_value("seen on the frame")
    assert review_world.store.adjudications(project) == {} and len(review_world.store.conflicts(project)) == 1
    ann.page.wait_for_timeout(300)
    ann.press("d", "Enter")
    ann.page.wait_for_selector(".desk[data-idle]")
    ann.all_sent()
    (decided,) = review_world.store.adjudications(project).values()
    assert decided.version == 3 and decided.judgement is not None and decided.judgement.overall == "reject"


def test_a_project_is_made_on_the_page(ann: Reviewer, review_world: ReviewWorld) -> None:
    review_world.project("first")
    ann.open("", "Kim", page="projects", wait="[data-testid=stMetric]")
    ann.page.get_by_role("button", name="New project").click()
    ann.page.get_by_label("Name").fill("made by hand")
    ann.page.get_by_role("button", name="Make the project").click()
    ann.page.get_by_text("no rationale fits this selection").wait_for()  # the episode has none


@pytest.mark.parametrize("format", ["JSONL", "CSV", "HDF5", "LeRobot"])
def test_what_survived_goes_out(ann: Reviewer, review_world: ReviewWorld, format: str) -> None:
    project = review_world.project(f"out as {format}", 3)
    judge(review_world.store, project, "Ann", "correct", "accept", 2)
    judge(review_world.store, project, "Ann", "wrong", "reject", 1)
    ann.open(project, "Kim", page="projects", part="files", wait="[data-testid=stFileUploader]")
    ann.page.get_by_label("Format").click()
    ann.page.get_by_role("option", name=format).click()
    ann.page.get_by_label("Name", exact=True).fill(f"out-{format}")
    ann.page.get_by_role("button", name="Export", exact=True).click()
    ann.page.get_by_text("Items: 2 accept, 1 reject").wait_for()
    assert list((review_world.folder / "exports").glob(f"out-{format}*"))


def test_rationales_come_in_once(ann: Reviewer, review_world: ReviewWorld) -> None:
    project = review_world.project("in", 1)
    said = {"episode": "plain", "start": 3, "stop": 5, "parts": {"observation": "a new one"}, "author": "by hand"}
    lines = "\n".join([json.dumps(said), json.dumps(said), json.dumps(said | {"start": 4})])
    ann.open(project, "Kim", page="projects", part="files", wait="[data-testid=stFileUploader]")
    file = {"name": "said.jsonl", "mimeType": "application/jsonl", "buffer": lines.encode()}
    ann.page.locator("input[type=file]").set_input_files(file)
    ann.page.get_by_role("button", name="Import into this project").click()
    ann.page.get_by_text("2 of 3 rationales were added").wait_for()
    assert [one.source.rationale.author for one in review_world.store.items(project)] == [
        "teacher",
        "by hand",
        "by hand",
    ]
