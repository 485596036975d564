"""The simulated counter: reset, step, look."""

from __future__ import annotations

import mujoco
import numpy as np

from models.types import Observation, Rationale
from sample_data.counter.expert import Decision, decide, is_done
from sample_data.counter.moment import Moment
from sample_data.counter.scene import ARM, CAMERA, CAMERA_FOVY, FINGERS, TOOL, build_model
from sample_data.counter.tasks import DRAWER, KINDS, KNOB, LABELS, MOVABLE, THINGS, TRAVEL, Goal, Kind
from sample_data.counter.teacher import explain
from sample_data.world.kinematics import DOWN, rotation, solve
from sample_data.world.tasks import ROBOT
from sample_data.world.view import View, all_touch

FPS = 3.0
WIDTH, HEIGHT = 320, 256  # pixels, as in Fractal
_SUBSTEPS, _RAMP = 83, 60  # of 4 ms: a third of a second a step; the arm reaches its target after the ramp
_OPEN_FINGER, _CLOSED_FINGER = 0.056, 0.0224  # metres: the finger joint's values with 67 mm and nothing between
_LOW, _HIGH = np.array([0.20, -0.30, 0.023]), np.array([0.58, 0.30, 0.32])  # where the tool may be sent
_TILT = np.array([0.4, 0.4, 1.7])
_READY = np.array([0, 0, 0.25, 0, 1.3, 0.0])  # joint angles from which inverse kinematics starts
_LANE = 0.16  # metres: the drawer's half width and room beside it, kept free of things


class Counter:
    """One simulated counter. Not thread-safe; the renderer belongs to the thread that made it."""

    robot, camera, fovy, fps = "ViperX 300 S (simulated)", CAMERA, CAMERA_FOVY, FPS
    labels: tuple[str, ...] = LABELS
    tasks: tuple[str, ...] = tuple(kind.value for kind in Kind)

    def __init__(self) -> None:
        self.model = build_model()
        self.data = mujoco.MjData(self.model)
        self._kinematics = mujoco.MjData(self.model)
        model = self.model
        self._tool, self._knob = model.site(TOOL).id, model.site(KNOB).id
        self._body = {name: model.body(name).id for name in (*MOVABLE, DRAWER)}
        self._joint = {name: model.jnt_qposadr[model.body_jntadr[self._body[name]]] for name in MOVABLE}
        self._velocity = {name: model.jnt_dofadr[model.body_jntadr[self._body[name]]] for name in MOVABLE}
        self._slide = model.jnt_qposadr[model.joint(DRAWER).id]
        self._view = View(self.model, self.data, CAMERA, (HEIGHT, WIDTH), LABELS, _name_of)
        self._lamp = {key: getattr(model, key).copy() for key in ("light_diffuse", "light_dir")}
        self.reset(0)

    # --- set-up

    def reset(self, seed: int, task: str | None = None) -> None:
        """Lay a new counter: things, drawer, light, wording and arm pose follow from the seed (and the task, if given).

        Args:
            seed: the same seed gives the same counter.
            task: the value of a `Kind`; None draws one.
        """
        rng = self.rng = np.random.default_rng(seed)
        kind = Kind(task) if task else KINDS[rng.integers(len(KINDS))]
        names = [str(name) for name in rng.permutation(MOVABLE)]
        if kind is Kind.PICK:
            names = ["can", *[name for name in names if name != "can"]]
        self.things = tuple(names[:3])
        thing = KNOB if kind in (Kind.OPEN, Kind.CLOSE) else names[0]
        self.goal = Goal(kind, thing, names[1] if kind is Kind.NEAR else "")
        self.task, self.instruction = kind.value, self.goal.worded(rng)
        mujoco.mj_resetData(self.model, self.data)
        self._set_light(rng)
        self._lay_out(rng)
        self.tool = np.array([rng.uniform(0.27, 0.35), rng.uniform(-0.08, 0.08), rng.uniform(0.18, 0.22)])
        self.tilt = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(-0.3, 0.3)])
        self._target, _ = self._solve(_READY, 300)
        self.data.qpos[:6] = self.data.ctrl[:6] = self._target
        self.data.qpos[6:8] = self.data.ctrl[6:8] = _OPEN_FINGER, -_OPEN_FINGER
        mujoco.mj_step(self.model, self.data, 80)
        self._begun = self.moment()

    def _set_light(self, rng: np.random.Generator) -> None:
        warmth = rng.uniform(-0.12, 0.12)
        colour = np.array([1 + warmth, 1.0, 1 - warmth]) * rng.uniform(0.85, 1.12)
        self.model.light_diffuse[:] = self._lamp["light_diffuse"] * colour
        self.model.light_dir[:] = self._lamp["light_dir"] + rng.uniform(-0.12, 0.12, 3)
        self.model.light_dir[:] /= np.linalg.norm(self.model.light_dir, axis=1, keepdims=True)

    def _lay_out(self, rng: np.random.Generator) -> None:
        """The drawer to one side, the things on the other and in front."""
        side = rng.choice([-1, 1])
        self.model.body_pos[self._body[DRAWER]][1] = side * rng.uniform(0.08, 0.14)
        shut = {Kind.OPEN: 0.0, Kind.CLOSE: rng.uniform(0.11, TRAVEL)}.get(self.goal.kind, 0.0)
        self.data.qpos[self._slide] = shut
        radii = np.array([THINGS[name].radius for name in self.things])
        needed = radii[:, None] + radii[None] + 0.03
        lane = self.model.body_pos[self._body[DRAWER]][1]
        for _ in range(5000):
            points = np.stack([rng.uniform(0.26, 0.46, 3), rng.uniform(-0.24, 0.24, 3)], axis=1)
            apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
            free = (np.abs(points[:, 1] - lane) > _LANE) | (points[:, 0] < 0.30)
            if (apart + np.eye(3) > needed).all() and free.all():
                break
        for i, name in enumerate(MOVABLE):
            self._place(name, np.array([0.3 * i - 0.6, 3, -0.86]), 0.0)
        for name, (x, y) in zip(self.things, points, strict=True):
            self._place(name, np.array([x, y, THINGS[name].half_height + 0.001]), rng.uniform(-0.7, 0.7))

    def _place(self, name: str, position: np.ndarray, yaw: float) -> None:
        quat = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        self.data.qpos[self._joint[name] : self._joint[name] + 7] = [*position, *quat]
        self.data.qvel[self._velocity[name] : self._velocity[name] + 6] = 0

    # --- motion

    def step(self, action: np.ndarray) -> None:
        """Carry out one action [7] for a third of a second. Steps are clipped to what the arm can do."""
        action = np.asarray(action, dtype=float)
        self.tool = np.clip(self.tool + np.clip(action[:3], -0.05, 0.05), _LOW, _HIGH)
        self.tilt = np.clip(self.tilt + np.clip(action[3:6], -0.5, 0.5), -_TILT, _TILT)
        self._target, _ = self._solve(self._target, 30)
        before = self.data.ctrl[:6].copy()
        finger = _OPEN_FINGER if action[6] > 0.5 else _CLOSED_FINGER
        self.data.ctrl[6:8] = finger, -finger
        for k in range(_SUBSTEPS):
            self.data.ctrl[:6] = before + (self._target - before) * min(1.0, (k + 1) / _RAMP)
            mujoco.mj_step(self.model, self.data)

    def _solve(self, start: np.ndarray, iterations: int) -> tuple[np.ndarray, float]:
        wanted = rotation(*self.tilt) @ DOWN
        return solve(self.model, self._kinematics, self._tool, self.tool, wanted, start, iterations)

    # --- what there is to see

    def moment(self) -> Moment:
        """The state of the counter now."""
        position = {name: self.data.xpos[self._body[name]].copy() for name in self.things}
        turned = {name: self.data.xmat[self._body[name]].reshape(3, 3) for name in self.things}
        yaw = {name: float(np.arctan2(matrix[1, 0], matrix[0, 0])) for name, matrix in turned.items()}
        position[KNOB] = self.data.site_xpos[self._knob].copy()
        gap = float(self.data.qpos[6] - self.data.qpos[7] - 2 * _CLOSED_FINGER)
        opening = float(self.data.qpos[self._slide])
        return Moment(self.goal, position, yaw, opening, self.tool.copy(), self.tilt.copy(), gap)

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
        """Pick: in the fingers and lifted. Near: let go beside its target, at rest. Drawer: as far as was asked."""
        moment, thing = self.moment(), self.goal.thing
        if self.goal.kind is Kind.PICK:
            return moment.is_reached() and self.touches(thing)
        if self.goal.with_drawer:
            return moment.is_reached()
        speed = np.linalg.norm(self.data.qvel[self._velocity[thing] : self._velocity[thing] + 3])
        return moment.is_reached() and not self.touches(thing) and bool(speed < 0.05)

    @property
    def present(self) -> tuple[str, ...]:
        """Everything that can be seen beside the robot."""
        return (*self.things, DRAWER)

    @property
    def goal_thing(self) -> str:
        return self.goal.thing

    def touches(self, name: str) -> bool:
        """Whether both fingers touch the thing."""
        fingers = [self.model.body(f"{ARM}/{finger}").id for finger in FINGERS]
        return all_touch(self.model, self.data, fingers, self._body[name])

    def is_lifted(self, name: str) -> bool:
        """A thing in the air between the fingers; of the drawer, whether it was moved at all."""
        if name == KNOB:
            return abs(self.moment().opening - self._begun.opening) > 0.02
        return self.touches(name) and self.data.xpos[self._body[name]][2] > THINGS[name].half_height + 0.02

    def render(self) -> np.ndarray:
        """The camera's picture, uint8 [256, 320, 3]."""
        return self._view.picture()

    def render_labels(self) -> np.ndarray:
        """Which thing each pixel shows, uint8 [256, 320], index into LABELS."""
        return self._view.labels()


def _name_of(body: str, root: str) -> str:
    return root if root != ARM else ROBOT
