"""The MuJoCo model: a WidowX AI arm at a wooden table, the things of the four tasks, a camera over its shoulder.

The arm's MJCF and meshes come from the package trossen-arm-sim (code Apache-2.0, model and meshes BSD-3-Clause,
Trossen Robotics). Only pictures of them are shipped with this project, never the meshes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np

from models.errors import UserError

CAMERA = "shoulder"
CAMERA_POSITION = np.array([-0.10, -0.27, 0.52])
CAMERA_TARGET = np.array([0.265, 0.0, 0.015])
CAMERA_FOVY = 43.0  # degrees

_BOX = mujoco.mjtGeom.mjGEOM_BOX
_CAPSULE = mujoco.mjtGeom.mjGEOM_CAPSULE
_CYLINDER = mujoco.mjtGeom.mjGEOM_CYLINDER
_ELLIPSOID = mujoco.mjtGeom.mjGEOM_ELLIPSOID
_ALONG_X = [0.7071, 0, 0.7071, 0]  # quaternion that lays a capsule along x
_GRIP = {"friction": [1.5, 0.02, 0.001], "condim": 4, "solref": [0.008, 1], "priority": 1}
_PICTURE_ONLY = {"contype": 0, "conaffinity": 0}

_SPOON, _CARROT, _LEAF = [0.16, 0.62, 0.38, 1], [0.95, 0.45, 0.08, 1], [0.20, 0.55, 0.15, 1]
_EGGPLANT, _STALK = [0.36, 0.10, 0.42, 1], [0.25, 0.50, 0.20, 1]
_GREEN, _YELLOW = [0.12, 0.62, 0.20, 1], [0.95, 0.80, 0.10, 1]
_TOWEL, _STRIPE = [0.25, 0.42, 0.75, 1], [0.90, 0.90, 0.95, 1]
_PLATE, _RIM = [0.86, 0.87, 0.90, 1], [0.93, 0.93, 0.95, 1]
_BASKET, _WICKER = [0.60, 0.45, 0.15, 1], [0.80, 0.62, 0.20, 1]


def camera_axes() -> np.ndarray:
    """Rows: the camera's right, up and backward directions in the robot's base frame, shape [3, 3]."""
    backward = CAMERA_POSITION - CAMERA_TARGET
    backward /= np.linalg.norm(backward)
    right = np.cross([0, 0, 1], backward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(backward, right), backward])


def project(point: np.ndarray) -> tuple[float, float]:
    """Where a point (metres, base frame) appears: column and row as fractions of a square frame."""
    right, up, backward = camera_axes() @ (np.asarray(point) - CAMERA_POSITION)
    focal = 0.5 / np.tan(np.deg2rad(CAMERA_FOVY) / 2)
    return 0.5 + focal * right / -backward, 0.5 - focal * up / -backward


def build_model() -> mujoco.MjModel:
    """The compiled scene, every thing parked out of view."""
    package = importlib.util.find_spec("trossen_arm_sim")
    if package is None or package.origin is None:
        raise UserError("the robot model is not installed: pip install --no-deps trossen-arm-sim==0.2.3")
    assets = Path(package.origin).parent / "assets"
    spec = mujoco.MjSpec.from_file(str(assets / "wxai_follower.xml"))
    spec.option.timestep, spec.option.impratio = 0.004, 10
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    _set_visuals(spec)
    _add_room(spec)
    _add_movable(spec)
    _add_receptacles(spec)
    _simplify_arm(spec)
    return spec.compile()


def _set_visuals(spec: mujoco.MjSpec) -> None:
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 512, 0  # four times faster in software
    spec.visual.global_.offwidth = spec.visual.global_.offheight = 640
    light = spec.visual.headlight
    light.ambient, light.diffuse, light.specular = [0.38] * 3, [0.35] * 3, [0.1] * 3
    spec.visual.map.znear, spec.stat.extent, spec.stat.center = 0.02, 1.0, [0.25, 0, 0.1]


def _wood(size: int = 256) -> np.ndarray:
    """Five planks with grain, RGB, drawn from fixed seeds."""
    rng = np.random.default_rng(0)
    across, along = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size), indexing="ij")
    grain = np.zeros((size, size))
    for k in range(1, 7):
        bend = 0.15 * np.sin(2 * np.pi * along * k * 0.7 + rng.uniform(0, 6.28))
        grain += np.sin(2 * np.pi * (across * k * 5 + bend) + rng.uniform(0, 6.28)) / k
    plank = (across * 5).astype(int) % 5
    shade = 1 + 0.035 * grain + rng.uniform(-0.06, 0.06, 5)[plank] + rng.normal(0, 0.012, (size, size))
    picture = np.clip(np.array([0.78, 0.64, 0.47]) * shade[..., None], 0, 1)
    picture[(across * 5) % 1 < 0.03] *= 0.75  # the gaps
    return (picture * 255).astype(np.uint8)


def _add_room(spec: mujoco.MjSpec) -> None:
    texture = spec.add_texture(name="wood", type=mujoco.mjtTexture.mjTEXTURE_2D, width=256, height=256, nchannel=3)
    texture.data = _wood().tobytes()
    material = spec.add_material(name="wood", specular=0.1)
    roles = [""] * int(mujoco.mjtTextureRole.mjNTEXROLE)
    roles[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = "wood"
    material.textures = roles
    world = spec.worldbody
    world.add_geom(type=_BOX, size=[0.45, 0.45, 0.02], pos=[0.27, 0, -0.02], material="wood", friction=[1, 0.01, 0.001])
    world.add_geom(type=_BOX, size=[3, 3, 0.02], pos=[0, 0, -0.7], rgba=[0.45, 0.47, 0.5, 1])
    world.add_geom(type=_BOX, size=[0.02, 2.5, 1.6], pos=[1.25, 0, 0.5], rgba=[0.80, 0.82, 0.80, 1], **_PICTURE_ONLY)
    world.add_geom(type=_BOX, size=[2.5, 0.02, 1.6], pos=[0, 1.25, 0.5], rgba=[0.74, 0.77, 0.78, 1], **_PICTURE_ONLY)
    lamp = world.add_light(name="lamp", pos=[0.1, -0.7, 1.4], dir=[0.15, 0.7, -1.2], castshadow=True)
    lamp.type, lamp.diffuse, lamp.specular = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, [0.55] * 3, [0.2] * 3
    orientation = np.zeros(4)
    mujoco.mju_mat2Quat(orientation, camera_axes().T.flatten())
    world.add_camera(name=CAMERA, pos=CAMERA_POSITION, quat=orientation, fovy=CAMERA_FOVY)


def _add_movable(spec: mujoco.MjSpec) -> None:
    def body(name: str, mass: float, solid: list[dict], painted: Sequence[dict] = ()) -> None:
        added = spec.worldbody.add_body(name=name, pos=[0, 2, 0.1])
        added.add_freejoint()
        for geom in solid:
            added.add_geom(mass=mass / len(solid), **{**_GRIP, **geom})
        for geom in painted:
            added.add_geom(mass=1e-5, **_PICTURE_ONLY, **geom)

    body("spoon", 0.04, [
        {"type": _CAPSULE, "size": [0.0075, 0.045, 0], "quat": _ALONG_X, "rgba": _SPOON},
        {"type": _ELLIPSOID, "size": [0.022, 0.015, 0.0075], "pos": [0.058, 0, 0], "rgba": _SPOON},
    ])  # fmt: skip
    # The invisible boxes give the fingers flat faces: two ellipsoid contacts let the thing spin.
    body("carrot", 0.05, [
        {"type": _ELLIPSOID, "size": [0.048, 0.0145, 0.014], "rgba": _CARROT},
        {"type": _BOX, "size": [0.02, 0.009, 0.0125], "rgba": [*_CARROT[:3], 0]},
    ], [
        {"type": _CAPSULE, "size": [0.006, 0.012, 0], "pos": [-0.05, 0, 0.001], "quat": _ALONG_X, "rgba": _LEAF},
    ])  # fmt: skip
    body("eggplant", 0.05, [
        {"type": _ELLIPSOID, "size": [0.030, 0.019, 0.018], "pos": [0.012, 0, 0], "rgba": _EGGPLANT},
        {"type": _ELLIPSOID, "size": [0.032, 0.0145, 0.0145], "pos": [-0.014, 0, 0], "rgba": _EGGPLANT},
        {"type": _BOX, "size": [0.02, 0.010, 0.0135], "rgba": [*_EGGPLANT[:3], 0]},
    ], [{"type": _ELLIPSOID, "size": [0.010, 0.013, 0.013], "pos": [-0.042, 0, 0], "rgba": _STALK}])  # fmt: skip
    body("green block", 0.05, [{"type": _BOX, "size": [0.02] * 3, "rgba": _GREEN}])
    body("yellow block", 0.08, [{"type": _BOX, "size": [0.02] * 3, "rgba": _YELLOW}])


def _add_receptacles(spec: mujoco.MjSpec) -> None:
    def body(name: str, solid: list[dict], painted: Sequence[dict] = ()) -> None:
        added = spec.worldbody.add_body(name=name, pos=[0, 2, 0], mocap=True)
        for geom in solid:
            added.add_geom(friction=[1, 0.01, 0.001], **geom)
        for geom in painted:
            added.add_geom(**_PICTURE_ONLY, **geom)

    stripe = {"type": _BOX, "size": [0.050, 0.004, 0.0016], "rgba": _STRIPE}
    body(
        "towel",
        [{"type": _BOX, "size": [0.062, 0.048, 0.0015], "pos": [0, 0, 0.0015], "rgba": _TOWEL}],
        [{**stripe, "pos": [0, side * 0.032, 0.0018]} for side in (1, -1)],
    )
    body("plate", [{"type": _CYLINDER, "size": [0.056, 0.003, 0], "pos": [0, 0, 0.003], "rgba": _PLATE}], _plate_rim())
    walls = [([0.062, 0.003, 0.014], [0, side * 0.052, 0.016]) for side in (1, -1)]
    walls += [([0.003, 0.052, 0.014], [side * 0.062, 0, 0.016]) for side in (1, -1)]
    floor = {"type": _BOX, "size": [0.062, 0.052, 0.002], "pos": [0, 0, 0.002], "rgba": _BASKET}
    body("basket", [floor, *({"type": _BOX, "size": size, "pos": pos, "rgba": _WICKER} for size, pos in walls)])


def _plate_rim(pieces: int = 24) -> list[dict]:
    rim = []
    for angle in 2 * np.pi * np.arange(pieces) / pieces:
        quat = np.zeros(4)
        mujoco.mju_axisAngle2Quat(quat, np.array([-np.cos(angle), -np.sin(angle), 0.0]), np.pi / 2)
        position = [0.056 * np.cos(angle), 0.056 * np.sin(angle), 0.007]
        rim.append({"type": _CAPSULE, "size": [0.005, 0.0085, 0], "pos": position, "quat": quat, "rgba": _RIM})
    return rim


def _simplify_arm(spec: mujoco.MjSpec) -> None:
    """Drop the wrist camera (a third of all triangles) and give the finger pads a firm grip."""
    spec.material("trossen_black").rgba = [0.19, 0.19, 0.21, 1]
    for geom in list(spec.geoms):
        plate = geom.parent.name == "link_6" and geom.classname.name == "visual" and geom.type == _BOX
        if plate or geom.meshname in ("camera_mount_d405", "d405"):
            spec.delete(geom)
        elif geom.parent.name.startswith("carriage") and geom.classname.name == "collision":
            geom.friction, geom.condim = _GRIP["friction"], _GRIP["condim"]
