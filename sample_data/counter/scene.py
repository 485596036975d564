"""The MuJoCo model: a ViperX 300 S at a kitchen counter with a drawer, four things, a camera beside its head.

The arm's MJCF and meshes come from the package gym-aloha (Apache-2.0, The Hugging Face team; meshes by Trossen
Robotics). Only pictures of them are shipped with this project, never the meshes.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import mujoco
import numpy as np

from models.errors import UserError
from sample_data.counter.tasks import DRAWER, KNOB, TRAVEL

CAMERA = "head"
CAMERA_POSITION = np.array([-0.12, 0.34, 0.66])
CAMERA_TARGET = np.array([0.41, 0.0, 0.02])
CAMERA_FOVY = 42.0  # degrees
ARM, TOOL = "vx300s_right", "tool"
FINGERS = ("left_finger_link", "right_finger_link")
FRONT = 0.54  # metres in front of the base: the front of the closed drawer
KNOB_REACH, KNOB_HEIGHT = 0.024, 0.048  # metres before the front, over the counter

_BOX, _CYLINDER = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
_SPHERE, _ELLIPSOID = mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_ELLIPSOID
_GRIP = {"friction": [1.6, 0.02, 0.001], "condim": 4, "solref": [0.008, 1], "priority": 1}
_PICTURE_ONLY = {"contype": 0, "conaffinity": 0}
_STIFFNESS = (800, 1600, 800, 200, 200, 100)  # N m / rad, of the six joints
_PAD_FACE, _PAD_TIP = 0.0224, 0.064  # metres in the finger's frame: its inner face, the middle of its pad

_RED, _LID = [0.80, 0.08, 0.10, 1], [0.82, 0.83, 0.85, 1]
_APPLE, _STALK = [0.45, 0.70, 0.15, 1], [0.35, 0.24, 0.12, 1]
_SPONGE, _SCRUB = [0.25, 0.50, 0.85, 1], [0.12, 0.30, 0.22, 1]
_LEMON = [0.96, 0.85, 0.20, 1]
_WHITE, _INSIDE, _METAL = [0.90, 0.89, 0.86, 1], [0.72, 0.62, 0.48, 1], [0.25, 0.26, 0.28, 1]


def camera_axes() -> np.ndarray:
    """Rows: the camera's right, up and backward directions in the robot's base frame, shape [3, 3]."""
    backward = CAMERA_POSITION - CAMERA_TARGET
    backward /= np.linalg.norm(backward)
    right = np.cross([0, 0, 1], backward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(backward, right), backward])


def build_model() -> mujoco.MjModel:
    """The compiled scene, every thing parked out of view."""
    spec = _arm()
    spec.option.timestep, spec.option.impratio = 0.004, 10
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    _set_visuals(spec)
    _add_room(spec)
    _add_movable(spec)
    _add_drawer(spec)
    return spec.compile()


def _arm() -> mujoco.MjSpec:
    """The arm at the origin, looking along x, with motors, flat finger pads and a point between the fingers."""
    package = importlib.util.find_spec("gym_aloha")
    if package is None or package.origin is None:
        raise UserError("the second robot's model is not installed: pip install --no-deps gym-aloha==0.1.5")
    assets = Path(package.origin).parent / "assets"
    spec = mujoco.MjSpec.from_string(
        f'<mujoco><compiler meshdir="{assets}" angle="radian"/><include file="{assets}/vx300s_dependencies.xml"/>'
        f'<worldbody><include file="{assets}/{ARM}.xml"/></worldbody></mujoco>'
    )
    spec.compiler.inertiagrouprange = [0, 5]  # the package counts collision geoms alone
    base = spec.body(ARM)
    base.pos, base.alt.euler = [0, 0, 0], [0, 0, 0]
    for body in spec.bodies:
        body.gravcomp = 1 if body.name.startswith(ARM) else 0
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0  # the pads alone touch things
        geom.rgba = [0.16, 0.16, 0.18, 1]
    _motors(spec)
    _pads(spec)
    spec.body(f"{ARM}/gripper_link").add_site(name=TOOL, pos=[0.0687 + _PAD_TIP, 0, 0])
    return spec


def _motors(spec: mujoco.MjSpec) -> None:
    fingers = [f"{ARM}/{name.removesuffix('_link')}" for name in FINGERS]
    arm = [joint.name for joint in spec.joints if joint.name not in fingers]
    for name, stiffness in zip(arm + fingers, (*_STIFFNESS, 600, 600), strict=True):
        joint = spec.joint(name)
        joint.frictionloss, joint.armature = 0, 0.1 if name in arm else 0.02
        joint.damping[0] = 2 * np.sqrt(stiffness * joint.armature)
        motor = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.set_to_position(kp=stiffness)
        if name in fingers:
            motor.forcerange, motor.forcelimited = [-12, 12], True


def _pads(spec: mujoco.MjSpec) -> None:
    for name, side in zip(FINGERS, (1, -1), strict=True):
        # in the finger's frame the pad's inner face lies beyond the middle: the joint's own value brings it back
        position = [_PAD_TIP, -side * (_PAD_FACE - 0.004), 0]
        pad = spec.body(f"{ARM}/{name}").add_geom(type=_BOX, size=[0.020, 0.004, 0.009], pos=position, **_GRIP)
        pad.group, pad.mass = 3, 1e-3


def _set_visuals(spec: mujoco.MjSpec) -> None:
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 512, 0  # four times faster in software
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 640
    light = spec.visual.headlight
    light.ambient, light.diffuse, light.specular = [0.40] * 3, [0.35] * 3, [0.1] * 3
    spec.visual.map.znear, spec.stat.extent, spec.stat.center = 0.02, 1.0, [0.35, 0, 0.1]


def _add_room(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    counter = {"type": _BOX, "size": [0.50, 0.60, 0.02], "pos": [0.35, 0, -0.02], "rgba": [0.55, 0.56, 0.58, 1]}
    world.add_geom(friction=[1, 0.01, 0.001], **counter)
    world.add_geom(type=_BOX, size=[3, 3, 0.02], pos=[0, 0, -0.9], rgba=[0.42, 0.36, 0.30, 1], **_PICTURE_ONLY)
    world.add_geom(type=_BOX, size=[0.02, 2.5, 1.6], pos=[1.4, 0, 0.4], rgba=[0.84, 0.80, 0.72, 1], **_PICTURE_ONLY)
    world.add_geom(type=_BOX, size=[2.5, 0.02, 1.6], pos=[0, -1.3, 0.4], rgba=[0.80, 0.77, 0.70, 1], **_PICTURE_ONLY)
    lamp = world.add_light(name="lamp", pos=[0.1, 0.7, 1.5], dir=[0.2, -0.6, -1.2], castshadow=True)
    lamp.type, lamp.diffuse, lamp.specular = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, [0.55] * 3, [0.2] * 3
    orientation = np.zeros(4)
    mujoco.mju_mat2Quat(orientation, camera_axes().T.flatten())
    world.add_camera(name=CAMERA, pos=CAMERA_POSITION, quat=orientation, fovy=CAMERA_FOVY)


def _add_movable(spec: mujoco.MjSpec) -> None:
    def body(name: str, mass: float, solid: list[dict], painted: list[dict]) -> None:
        added = spec.worldbody.add_body(name=name, pos=[0, 3, 0.1])
        added.add_freejoint()
        for geom in solid:
            added.add_geom(mass=mass / len(solid), **{**_GRIP, **geom})
        for geom in painted:
            added.add_geom(mass=1e-5, **_PICTURE_ONLY, **geom)

    lids = [{"type": _CYLINDER, "size": [0.022, 0.0015, 0], "pos": [0, 0, s * 0.045], "rgba": _LID} for s in (1, -1)]
    body("can", 0.08, [
        {"type": _CYLINDER, "size": [0.025, 0.044, 0], "rgba": _RED},
        {"type": _BOX, "size": [0.012, 0.0252, 0.03], "rgba": [*_RED[:3], 0]},
    ], lids)  # fmt: skip
    # Invisible boxes give the fingers flat faces and let round things come to rest.
    body("apple", 0.06, [
        {"type": _SPHERE, "size": [0.026, 0, 0], "rgba": _APPLE},
        {"type": _BOX, "size": [0.014, 0.022, 0.012], "rgba": [*_APPLE[:3], 0]},
        {"type": _CYLINDER, "size": [0.014, 0.002, 0], "pos": [0, 0, -0.0245], "rgba": [*_APPLE[:3], 0]},
    ], [{"type": _CYLINDER, "size": [0.002, 0.007, 0], "pos": [0, 0, 0.030], "rgba": _STALK}])  # fmt: skip
    body(
        "sponge",
        0.04,
        [{"type": _BOX, "size": [0.038, 0.022, 0.016], "rgba": _SPONGE}],
        [{"type": _BOX, "size": [0.0382, 0.0222, 0.005], "pos": [0, 0, 0.012], "rgba": _SCRUB}],
    )
    body("lemon", 0.05, [
        {"type": _ELLIPSOID, "size": [0.030, 0.020, 0.020], "rgba": _LEMON},
        {"type": _BOX, "size": [0.018, 0.014, 0.0185], "rgba": [*_LEMON[:3], 0]},
    ], [{"type": _SPHERE, "size": [0.005, 0, 0], "pos": [0.029, 0, 0], "rgba": _LEMON}])  # fmt: skip


def _add_drawer(spec: mujoco.MjSpec) -> None:
    """A cabinet that can be stood anywhere along the wall, and a drawer that slides out of it towards the robot."""
    cabinet = spec.worldbody.add_body(name=DRAWER, pos=[FRONT, 0, 0], mocap=False)
    sides = [([0.10, 0.004, 0.045], [0.104, s * 0.094, 0.045]) for s in (1, -1)]
    slabs = [*sides, ([0.10, 0.098, 0.004], [0.104, 0, 0.092]), ([0.004, 0.09, 0.045], [0.20, 0, 0.045])]
    for size, pos in slabs:
        cabinet.add_geom(type=_BOX, size=size, pos=pos, rgba=_WHITE)
    tray = cabinet.add_body(name="tray", pos=[0, 0, 0])
    tray.add_joint(
        name=DRAWER, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[-1, 0, 0], range=[0, TRAVEL], limited=True,
        damping=[8, 0, 0], frictionloss=0.6, armature=0.2,
    )  # fmt: skip
    panels = [
        ([0.005, 0.088, 0.036], [0, 0, 0.044], _WHITE),
        ([0.085, 0.082, 0.003], [0.088, 0, 0.012], _INSIDE),
        *(([0.085, 0.003, 0.022], [0.088, s * 0.082, 0.033], _INSIDE) for s in (1, -1)),
    ]
    for size, pos, colour in panels:
        tray.add_geom(type=_BOX, size=size, pos=pos, rgba=colour, mass=0.08, contype=2, conaffinity=1)
    stem = {"type": _BOX, "size": [0.012, 0.004, 0.005], "pos": [-0.012, 0, KNOB_HEIGHT]}
    tray.add_geom(rgba=_METAL, mass=0.01, contype=2, conaffinity=1, **stem)
    knob = {"type": _BOX, "size": [0.010, 0.009, 0.014], "pos": [-KNOB_REACH, 0, KNOB_HEIGHT]}
    tray.add_geom(rgba=_METAL, mass=0.02, contype=2, conaffinity=1, **{**_GRIP, **knob})
    tray.add_site(name=KNOB, pos=[-KNOB_REACH, 0, KNOB_HEIGHT])
