"""The simulated table: reset, step, look."""

from __future__ import annotations

import mujoco
import numpy as np

from models.types import Observation, Rationale
from sample_data.world.expert import Decision, decide, is_done
from sample_data.world.kinematics import DOWN, rotation, solve
from sample_data.world.moment import Moment
from sample_data.world.scene import CAMERA, CAMERA_FOVY, build_model
from sample_data.world.tasks import FIXED, LABELS, MOVABLE, ROBOT, TASKS, THINGS
from sample_data.world.teacher import explain
from sample_data.world.view import View, all_touch

FPS = 5.0
FRAME = 256  # pixels, square as in BridgeData V2
_SUBSTEPS, _RAMP = 50, 35  # of 4 ms: 0.2 s a step; the arm reaches its target after the ramp
_OPEN_FINGER = 0.044  # metres, each
_LOW = np.array([0.14, -0.24, 0.004])  # where the tool may be sent
_HIGH = np.array([0.46, 0.24, 0.26])
_TILT = np.array([0.5, 0.5, 1.7])
_READY = np.array([0, 1.59, 1.57, -1.5, 0, 0.0])  # joint angles from which inverse kinematics starts


class Tabletop:
    """One simulated table. Not thread-safe; the renderer belongs to the thread that made it."""

    robot, camera, fovy, fps = "WidowX AI (simulated)", CAMERA, CAMERA_FOVY, FPS
    labels: tuple[str, ...] = LABELS
    tasks: tuple[str, ...] = tuple(TASKS)
    present: tuple[str, ...]  # everything that can be seen beside the robot

    def __init__(self) -> None:
        self.model = build_model()
        self.data = mujoco.MjData(self.model)
        self._kinematics = mujoco.MjData(self.model)
        self._site = self.model.site("ee_site").id
        self._body = {name: self.model.body(name).id for name in MOVABLE + FIXED}
        self._joint = {name: self.model.jnt_qposadr[self.model.body_jntadr[self._body[name]]] for name in MOVABLE}
        self._velocity = {name: self.model.jnt_dofadr[self.model.body_jntadr[self._body[name]]] for name in MOVABLE}
        self._mocap = {name: self.model.body_mocapid[self._body[name]] for name in FIXED}
        self._view = View(self.model, self.data, CAMERA, (FRAME, FRAME), LABELS, _name_of)
        self._lamp = {key: getattr(self.model, key).copy() for key in ("light_diffuse", "light_dir")}
        self._home: np.ndarray | None = None
        self.reset(0)

    # --- set-up

    def reset(self, seed: int, task: str | None = None, settle: bool = True) -> None:
        """Lay a new table: things, light, wording and arm pose follow from the seed (and the task, if given).

        Args:
            seed: the same seed gives the same table.
            task: a key of TASKS; None draws one.
            settle: let the arm and the things come to rest under gravity.
        """
        rng = self.rng = np.random.default_rng(seed)
        names = list(TASKS)
        drawn, other = names[rng.integers(4)], int(rng.integers(1, 4))
        self.task = task or drawn
        self.distractor = names[(names.index(self.task) + other) % 4]
        self.instruction = str(rng.choice(TASKS[self.task].wordings))
        mujoco.mj_resetData(self.model, self.data)
        self._set_light(rng)
        self._lay_out(rng)
        self.tool = np.array([rng.uniform(0.20, 0.28), rng.uniform(-0.07, 0.07), rng.uniform(0.12, 0.16)])
        self.tilt = np.array([rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12), rng.uniform(-0.3, 0.3)])
        self.pose_arm(self.tool, self.tilt, 2 * _OPEN_FINGER)
        if settle:
            mujoco.mj_step(self.model, self.data, 60)

    def _set_light(self, rng: np.random.Generator) -> None:
        warmth = rng.uniform(-0.12, 0.12)
        colour = np.array([1 + warmth, 1.0, 1 - warmth]) * rng.uniform(0.85, 1.12)
        self.model.light_diffuse[:] = self._lamp["light_diffuse"] * colour
        self.model.light_dir[:] = self._lamp["light_dir"] + rng.uniform(-0.12, 0.12, 3)
        self.model.light_dir[:] /= np.linalg.norm(self.model.light_dir, axis=1, keepdims=True)

    def _lay_out(self, rng: np.random.Generator) -> None:
        goal, other = TASKS[self.task], TASKS[self.distractor]
        self.present = (goal.thing, goal.receptacle, other.thing, other.receptacle)
        radii = np.array([THINGS[name].radius for name in self.present])
        needed = radii[:, None] + radii[None] + 0.012
        for _ in range(5000):
            points = np.stack([rng.uniform(0.20, 0.37, 4), rng.uniform(-0.16, 0.16, 4)], axis=1)
            apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
            if (apart + np.eye(4) > needed).all():
                break
        for i, name in enumerate(MOVABLE):
            self.place(name, np.array([0.3 * i - 0.6, 3, -0.66]), 0.0)
        for i, name in enumerate(FIXED):
            self.place(name, np.array([0.3 * i, 3.5, -0.68]), 0.0)
        for name, (x, y) in zip(self.present, points, strict=True):
            yaw = rng.uniform(-0.7, 0.7) * (1.0 if name in MOVABLE else 0.3)
            self.place(name, np.array([x, y, THINGS[name].half_height + (0.001 if name in MOVABLE else 0)]), yaw)

    def place(self, name: str, position: np.ndarray, yaw: float) -> None:
        """Put a thing somewhere at once, without physics."""
        quat = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        if name in MOVABLE:
            self.data.qpos[self._joint[name] : self._joint[name] + 7] = [*position, *quat]
            self.data.qvel[self._velocity[name] : self._velocity[name] + 6] = 0
        else:
            self.data.mocap_pos[self._mocap[name]], self.data.mocap_quat[self._mocap[name]] = position, quat

    def pose_arm(self, tool: np.ndarray, tilt: np.ndarray, gap: float) -> float:
        """Put the arm somewhere at once, without physics; returns how far it misses, in metres."""
        self.tool, self.tilt = np.clip(tool, _LOW, _HIGH), np.clip(tilt, -_TILT, _TILT)
        start = _READY if self._home is None else self._home
        self._target, miss = self._solve(start, 200 if self._home is None else 60)
        if self._home is None and miss < 0.01:
            self._home = self._target.copy()
        self.data.qpos[:6], self.data.qpos[6:8] = self._target, gap / 2
        self.data.ctrl[:6], self.data.ctrl[6] = self._target, gap / 2
        mujoco.mj_forward(self.model, self.data)
        return miss

    # --- motion

    def step(self, action: np.ndarray) -> None:
        """Carry out one action [7] for 0.2 s. Steps are clipped to what the arm can do."""
        action = np.asarray(action, dtype=float)
        self.tool = np.clip(self.tool + np.clip(action[:3], -0.035, 0.035), _LOW, _HIGH)
        self.tilt = np.clip(self.tilt + np.clip(action[3:6], -0.35, 0.35), -_TILT, _TILT)
        self._target, _ = self._solve(self._target, 20)
        before = self.data.ctrl[:6].copy()
        self.data.ctrl[6] = _OPEN_FINGER if action[6] > 0.5 else 0.0
        for k in range(_SUBSTEPS):
            self.data.ctrl[:6] = before + (self._target - before) * min(1.0, (k + 1) / _RAMP)
            mujoco.mj_step(self.model, self.data)

    def _solve(self, start: np.ndarray, iterations: int) -> tuple[np.ndarray, float]:
        """Joint angles for the commanded tool pose."""
        wanted = rotation(*self.tilt) @ DOWN
        return solve(self.model, self._kinematics, self._site, self.tool, wanted, start, iterations)

    # --- what there is to see

    def moment(self) -> Moment:
        """The state of the table now."""
        position = {name: self.data.xpos[self._body[name]].copy() for name in self.present}
        turned = {name: self.data.xmat[self._body[name]].reshape(3, 3) for name in self.present}
        yaw = {name: float(np.arctan2(matrix[1, 0], matrix[0, 0])) for name, matrix in turned.items()}
        gap = float(self.data.qpos[6] + self.data.qpos[7])
        return Moment(self.task, position, yaw, self.tool.copy(), self.tilt.copy(), gap)

    def decide(self) -> Decision:
        """What the expert does now."""
        return decide(self.moment())

    def is_done(self) -> bool:
        """Whether the expert has nothing left to do."""
        return is_done(self.moment())

    def explain(self, step: int) -> Rationale:
        """What the teacher says now."""
        return explain(self.moment(), step)

    def observation(self) -> Observation:
        """What a policy gets to see."""
        return Observation({CAMERA: self.render()}, self.instruction, self.moment().state)

    def succeeded(self) -> bool:
        """The thing lies where the task wants it, let go and at rest."""
        thing = self.goal_thing
        speed = np.linalg.norm(self.data.qvel[self._velocity[thing] : self._velocity[thing] + 3])
        return self.moment().is_placed() and not self.touches(thing) and bool(speed < 0.05)

    @property
    def goal_thing(self) -> str:
        return TASKS[self.task].thing

    def touches(self, name: str) -> bool:
        """Whether both fingers touch the thing."""
        fingers = [self.model.body(f"carriage_{side}").id for side in ("left", "right")]
        return all_touch(self.model, self.data, fingers, self._body[name])

    def is_lifted(self, name: str) -> bool:
        return self.touches(name) and self.data.xpos[self._body[name]][2] > THINGS[name].half_height + 0.02

    def render(self) -> np.ndarray:
        """The camera's picture, uint8 [256, 256, 3]."""
        return self._view.picture()

    def render_labels(self) -> np.ndarray:
        """Which thing each pixel shows, uint8 [256, 256], index into LABELS."""
        return self._view.labels()


def _name_of(body: str, root: str) -> str:
    return body if root != "base_link" else ROBOT
