import json
from dataclasses import replace

import numpy as np
import pytest

from models.errors import UserError
from models.teachers.answer import check, common_things, invented_things, other_language, parse
from models.teachers.prompt import PromptTemplate
from models.teachers.teacher import BadAnswer, Clip, TeacherSettings, make_teacher

ENGLISH = "The carrot is to the left of the gripper and the plate is behind it."
TERSE = "A silver pot and a spoon on a table. Lift spoon onto towel; gripper open. Spoon left of gripper. Reach, grasp."
GERMAN = "Die Karotte liegt links von dem Greifer und der Teller ist nicht auf dem Tisch."


def clip(objects: dict | None = None) -> Clip:
    return Clip("e", "put the carrot on the plate", 0, 1, (), np.array([[0.01, 0.5]]), ("x", "gripper"), ("m", ""),
                objects=objects)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "wanted", "other"),
    [
        (ENGLISH, "en", False),
        (GERMAN, "en", True),
        (GERMAN, "de", False),
        (ENGLISH, "de", True),
        ("La zanahoria está en la mesa y el plato es rojo, las cosas se ven.", "en", True),
        ("Морковь лежит слева от захвата", "en", True),
        ("胡萝卜在夹爪左边", "en", True),
        ("carrot left , plate right , descend , grasp", "en", False),  # too few common words to tell
        ("i see the carrot , the plate and the towel .", "en", False),
        (TERSE, "en", False),
        (TERSE, "nl", True),
        ("Robot kolu masanın üzerinde ve havuç görünüyor. Görev havucu tabağa koymaktır, tutucu açık.", "en", True),
        ("Robotarmen är över bordet och moroten syns. Uppgiften är att lägga moroten på tallriken.", "en", True),
        ("Guleroden ligger til venstre for griberen. Gå til guleroden, luk griberen, løft den.", "en", True),
    ],
)
def test_another_language_is_told_by_letters_and_common_words(text: str, wanted: str, other: bool) -> None:
    assert (other_language(text, wanted) is not None) is other


def test_things_that_are_not_there() -> None:
    things = {"carrot", "plate", "banana", "green block", "yellow block", "strawberry"}
    known = {"carrot", "green block"}
    assert invented_things("A carrot and two bananas near the green blocks", known, things) == ["banana"]
    assert invented_things("the yellow block beside strawberries", known, things) == ["strawberry", "yellow block"]
    assert invented_things("the plates", known, things) == ["plate"]


@pytest.mark.parametrize(
    ("said", "made_up"),
    [
        ("There is no eggplant in view, the carrot is.", False),
        ("There isn't any eggplant.", False),
        ("No lemon or eggplant is on the table.", False),
        ("Neither a lemon nor an eggplant lies there", False),
        ("The eggplants are not visible.", False),
        ("The eggplant is not on the plate.", True),
        ("There is no lemon, but an eggplant", True),
        ("The arm is not near the eggplant", True),
        ("There is no eggplant. The eggplant is on the left", True),
    ],
)
def test_what_is_truly_denied_is_not_made_up(said: str, made_up: bool) -> None:
    assert ("eggplant" in invented_things(said, {"carrot"}, {"eggplant", "lemon"})) is made_up


def test_the_last_object_that_fits_is_the_answer() -> None:
    parts = {"observation": "a", "situation": "b", "spatial": "c", "planning": "d"}
    good, draft = json.dumps(parts), json.dumps({**parts, "planning": "draft"})
    around = ("%s", "<think>I wonder {about} it</think>%s", "%s I hope {this} helps", draft + "%s", '{"answer": %s}',
              "{" * 5000 + "%s")  # fmt: skip
    for text in around:
        assert dict(parse(text % good)) == parts
    with pytest.raises(BadAnswer, match="schema: more: Extra inputs"):
        parse(json.dumps({**parts, "more": {}}))
    for text in ("{", '["a"]', "{" * 100_000, '{"a":' * 100_000):
        with pytest.raises(BadAnswer, match="holds no JSON object"):
            parse(text)


def test_a_made_up_object_is_told_only_where_the_scene_is_known() -> None:
    parts = {"observation": "There is a banana on the table."}
    check(parts, clip(), "en", common_things())
    with pytest.raises(BadAnswer, match="not in the scene: banana"):
        check(parts, clip({"carrot": None}), "en", common_things())
    check({"observation": "The plate is near the carrot."}, clip({"carrot": None}), "en", common_things())  # instructed
    with pytest.raises(BadAnswer, match="another language"):
        check({"observation": GERMAN}, clip(), "en", common_things())
    check({"observation": GERMAN}, clip(), "any", common_things())


def test_the_shipped_prompt_says_what_is_known() -> None:
    template = PromptTemplate.read()
    said = template.fill(replace(clip({"carrot": None, "plate": None}), actions_are="relative"), "en")
    assert '"put the carrot on the plate"' in said
    assert "In view are: carrot, plate." in said
    assert "x +0.01 m, gripper +0.5" in said
    assert '{"observation": "..."' in said
    assert template.hash == PromptTemplate.read().hash != PromptTemplate.read("{instruction}").hash


def test_the_motion_is_a_sum_of_increments_and_a_difference_of_targets() -> None:
    actions = np.array([[0.5, 1.0, 0.2], [0.6, 0.0, 0.2], [0.8, 0.0, 0.2]])
    moved = Clip("e", "move", 0, 3, (), actions, ("x", "gripper", "base"), ("m", "", "m/s"))
    template = PromptTemplate.read("{instruction}: {motion}")
    told = {kind: template.fill(replace(moved, actions_are=kind), "en") for kind in ("relative", "absolute", "")}
    assert told["relative"] == "move: Over these steps it moves by x +1.9 m, gripper +0, base +0.6 m/s."
    assert told["absolute"] == "move: Over these steps it moves by x +0.3 m, gripper +0."
    assert told[""] == "move: "
    one = replace(moved, actions=actions[:1], stop=1)
    assert template.fill(replace(one, actions_are="absolute"), "en") == "move: "


def test_a_teacher_that_is_not_known() -> None:
    with pytest.raises(UserError, match="no teacher 'gpt'; there are endpoint, scripted"):
        make_teacher("gpt", TeacherSettings())
    with pytest.raises(UserError, match="cannot be imported"):
        make_teacher("nowhere:Teacher", TeacherSettings())
