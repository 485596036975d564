"""What the files of well-known RLDS data sets do not say: rate, robot, and what the columns are.

Rates are the control frequencies that the Open X-Embodiment collection lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_FPS = 10.0  # the most frequent rate in Open X-Embodiment; EpisodeMeta.extra["fps"] says so where it is used

POSE = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
POSE_UNITS = ("m", "m", "m", "rad", "rad", "rad", "open")  # gripper: 1 is open, 0 is closed


@dataclass(frozen=True)
class Known:
    """One data set. Columns are named only where their number is as expected."""

    fps: float  # frames a second
    robot: str = ""
    action: tuple[str, ...] = ()
    action_units: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    state_units: tuple[str, ...] = ()


_BRIDGE = Known(5, "WidowX 250", POSE, POSE_UNITS, POSE, POSE_UNITS)
_EXTERNAL = "_converted_externally_to_rlds"

DATA_SETS: Mapping[str, Known] = {
    "bridge": _BRIDGE,  # in Open X-Embodiment: the action is a dictionary, whose parts name themselves
    "bridge_dataset": _BRIDGE,
    "bridge_orig": _BRIDGE,
    "fractal20220817_data": Known(3, "Google Robot"),
    "kuka": Known(10, "Kuka iiwa"),
    "taco_play": Known(15, "Franka"),
    "jaco_play": Known(10, "Jaco 2"),
    "berkeley_cable_routing": Known(10, "Franka"),
    "roboturk": Known(10, "Sawyer"),
    "viola": Known(20, "Franka"),
    "berkeley_autolab_ur5": Known(5, "UR5"),
    "toto": Known(30, "Franka"),
    "language_table": Known(10, "xArm", ("x", "y"), ("m", "m"), ("x", "y"), ("m", "m")),
    "bc_z": Known(10, "Google Robot"),
    "droid": Known(15, "Franka"),
    "fmb": Known(10, "Franka"),
    "furniture_bench_dataset" + _EXTERNAL: Known(10, "Franka"),
    "austin_buds_dataset" + _EXTERNAL: Known(20, "Franka"),
    "austin_sailor_dataset" + _EXTERNAL: Known(20, "Franka"),
    "austin_sirius_dataset" + _EXTERNAL: Known(20, "Franka"),
    "stanford_hydra_dataset" + _EXTERNAL: Known(10, "Franka"),
    "nyu_franka_play_dataset" + _EXTERNAL: Known(3, "Franka"),
    "ucsd_kitchen_dataset" + _EXTERNAL: Known(2, "xArm"),
    "dlr_edan_shared_control" + _EXTERNAL: Known(5, "DLR EDAN"),
    "iamlab_cmu_pickup_insert" + _EXTERNAL: Known(20, "Franka"),
    "utaustin_mutex": Known(20, "Franka"),
    "berkeley_fanuc_manipulation": Known(10, "Fanuc Mate"),
    "cmu_stretch": Known(10, "Hello Stretch"),
    "libero_spatial_no_noops": Known(20, "Franka"),
    "libero_object_no_noops": Known(20, "Franka"),
    "libero_goal_no_noops": Known(20, "Franka"),
    "libero_10_no_noops": Known(20, "Franka"),
}

# parts of actions that are dictionaries, in the order in which they are joined; parts not listed follow by name
ACTION_PARTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "world_vector": (("x", "y", "z"), ("m", "m", "m")),
    "rotation_delta": (("roll", "pitch", "yaw"), ("rad", "rad", "rad")),
    "gripper_closedness_action": (("gripper_closedness_action",), ("closed",)),  # 1 closes, -1 opens
    "open_gripper": (("gripper",), ("open",)),
    "base_displacement_vector": (("base x", "base y"), ("m", "m")),
    "base_displacement_vertical_rotation": (("base yaw",), ("rad",)),
    "terminate_episode": ((), ()),
}
