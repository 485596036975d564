"""Attribution methods in the player: choose, run, cancel, colours, caption, link; what cannot run says why."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Tab
from tests.browser.world import checkpoint_named

pytestmark = pytest.mark.browser


def open_methods(tab: Tab, world: Path, **more: object) -> None:
    tab.open(episode="plain", checkpoint=checkpoint_named(world, "tuned").digest, query="action.x", **more)
    tab.page.locator(".chips.part-action button").first.wait_for()  # the first run loads torch
    tab.page.locator("details.attribution > summary").click()
    tab.page.locator(".methods [data-method=iss]").wait_for()


def explain(tab: Tab, method: str, said: str, button: str = "Explain this step") -> str:
    tab.page.locator(f"[data-method={method}]").click()
    tab.page.get_by_role("button", name=button).click()
    caption = tab.page.locator(".caption").first.filter(has_text=said)
    caption.wait_for()
    return caption.inner_text()


def test_a_signed_map_is_drawn_with_method_settings_and_scale_and_opens_from_its_link(tab: Tab, world: Path) -> None:
    open_methods(tab, world)
    before = tab.settled_pixels()
    caption = explain(tab, "occlusion", "Occlusion of the action")
    assert "size 2, stride 1, fill mean" in caption and "50 forwards" in caption
    tab.page.locator(".stage .faithful", has_text="faithfulness not tested").first.wait_for()
    expect(tab.page.locator(".legend").first).to_contain_text(re.compile("^−"))
    tab.wait_for_other_pixels(before)
    tab.wait_for_parameter("method", "occlusion")
    drawn = tab.settled_pixels()
    tab.page.reload()
    tab.page.locator(".caption").first.filter(has_text="Occlusion of the action").wait_for()
    tab.wait_for_pixels(drawn)
    tab.page.get_by_role("button", name="Back to attention").click()
    tab.wait_for_caption("top-k fusion")


def test_the_convergence_delta_and_the_standard_error_are_shown(tab: Tab, world: Path) -> None:
    open_methods(tab, world)
    caption = explain(tab, "integrated-gradients", "Integrated gradients")
    assert "convergence delta" in caption and "% of the change" in caption
    tab.page.locator("[data-method=iss]").click()
    for name, value in (("masks", "16"), ("side", "2")):
        tab.page.get_by_label(name, exact=True).fill(value)
        tab.page.keyboard.press("Tab")
    tab.wait_for_parameter("settings", "masks=16;side=2")
    tab.page.get_by_role("button", name="Explain this step").click()
    caption = tab.page.locator(".caption").first.filter(has_text="standard error")
    expect(caption).to_contain_text("masks 16")
    expect(tab.page.locator(".legend").first).to_contain_text(re.compile("^0"))


def test_a_wrong_setting_and_a_target_without_a_number_say_so(tab: Tab, world: Path) -> None:
    open_methods(tab, world)
    tab.page.locator("[data-method=saliency]").click()
    tab.page.locator(".strip-title", has_text="Action tokens").click()
    tab.page.get_by_role("button", name="Explain this step").click()
    tab.page.locator(".attribution-run", has_text="explains one number").wait_for()


def test_all_steps_can_be_explained_and_cancelled(tab: Tab, world: Path) -> None:
    open_methods(tab, world)
    tab.page.locator("[data-method=shapley]").click()
    tab.page.get_by_role("button", name="Explain all steps").click()
    tab.page.get_by_role("button", name="Cancel").click()
    tab.page.get_by_role("button", name="Explain all steps").wait_for()
    explain(tab, "input-gradient", "Input × gradient", "Explain all steps")
    tab.page.locator(".attribution-run", has_text="12 of 12 steps explained").wait_for()
    tab.page.locator(".lens").focus()
    tab.page.keyboard.press("ArrowRight")
    tab.page.locator(".lens[data-step='1']").wait_for()
    tab.wait_for_caption("Input × gradient")


def test_two_checkpoints_are_explained_side_by_side(tab: Tab, world: Path) -> None:
    first, second = (checkpoint_named(world, name).digest for name in ("base", "tuned"))
    held: list[Any] = []  # the first model's step comes only after the button was pressed and both runs had ended
    waiting = True
    tab.page.route(
        re.compile(f"/lens/step.*checkpoint={first}"),
        lambda route: held.append(route) if waiting else route.continue_(),
    )
    tab.open(page="compare", episode="plain", first=first, second=second, query="action.x", method="occlusion")
    tab.page.locator(".chips.part-action button").first.wait_for()  # the first run loads torch
    tab.page.get_by_role("button", name="Explain this step").click()
    for number in (0, 1):
        tab.page.locator(".run-status[data-state=complete]").nth(number).wait_for(state="attached")
    tab.wait_until(lambda: bool(held), "the first model's step")
    waiting = False
    for route in held:
        route.continue_()
    captions = tab.page.locator(".caption")
    for number in (0, 1):
        captions.nth(number).filter(has_text="Occlusion of the action").wait_for()
    captions.nth(2).filter(has_text="Occlusion, ").wait_for()
    expect(captions.nth(2)).to_contain_text("minus")


def test_what_cannot_run_is_greyed_out_with_its_reason(tab: Tab, world: Path) -> None:
    reason = "tuned denoises its actions"

    def answer(route: object) -> None:
        response = route.fetch()
        told = response.json()
        for method in told.get("result") or []:
            if isinstance(method, dict) and method["name"] == "saliency":
                method["why_not"] = reason
        route.fulfill(response=response, body=json.dumps(told))

    tab.page.route("**/lens/task?id=*", answer)
    tab.page.route("**/lens/task/start", answer)
    open_methods(tab, world)
    button = tab.page.locator("[data-method=saliency]")
    expect(button).to_be_disabled()
    expect(button).to_contain_text(reason)
    expect(tab.page.locator("[data-method=iss]")).to_be_enabled()
