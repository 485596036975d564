"""The four tasks, the things on the table and the ways to ask for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """Sizes in metres."""

    name: str
    half_height: float  # of the body's centre over what it lies on; 0 for receptacles, whose origin is their base
    grasp_height: float  # of the tool over the table when the fingers close
    held_gap: float  # between the fingers when they hold it, measured in the simulator
    radius: float  # free circle around it when things are laid out
    rim: float = 0.0  # height of the surface that it offers to others


THINGS = {
    thing.name: thing
    for thing in (
        Thing("spoon", 0.007, 0.008, 0.0142, 0.055),
        Thing("carrot", 0.014, 0.012, 0.0277, 0.050),
        Thing("green block", 0.020, 0.018, 0.0396, 0.032),
        Thing("yellow block", 0.020, 0.018, 0.0396, 0.032, rim=0.040),
        Thing("eggplant", 0.018, 0.014, 0.0354, 0.045),
        Thing("towel", 0.0, 0.0, 0.0, 0.072, rim=0.004),
        Thing("plate", 0.0, 0.0, 0.0, 0.064, rim=0.008),
        Thing("basket", 0.0, 0.0, 0.0, 0.075, rim=0.008),
    )
}
MOVABLE = ("spoon", "carrot", "green block", "yellow block", "eggplant")
FIXED = ("towel", "plate", "basket")
BLOCKS = ("green block", "yellow block")  # look the same every quarter turn
ROBOT = "robot"
LABELS = ("background", ROBOT, *MOVABLE, *FIXED)  # values of the label images


@dataclass(frozen=True)
class Task:
    name: str
    thing: str
    receptacle: str
    relation: str
    wordings: tuple[str, ...]


TASKS = {
    task.name: task
    for task in (
        Task(
            "spoon on towel", "spoon", "towel", "on",
            ("put the spoon on the towel", "place the spoon on the towel", "move the spoon onto the towel",
             "pick up the spoon and put it on the towel"),
        ),
        Task(
            "carrot on plate", "carrot", "plate", "on",
            ("put the carrot on the plate", "place the carrot on the plate", "move the carrot onto the plate",
             "pick up the carrot and put it on the plate"),
        ),
        Task(
            "stack blocks", "green block", "yellow block", "on",
            ("stack the green block on the yellow block", "put the green block on the yellow block",
             "place the green block onto the yellow block", "pick up the green block and stack it on the yellow block"),
        ),
        Task(
            "eggplant in basket", "eggplant", "basket", "in",
            ("put the eggplant in the basket", "place the eggplant in the basket", "move the eggplant into the basket",
             "pick up the eggplant and put it in the basket"),
        ),
    )
}  # fmt: skip
