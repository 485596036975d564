"""The simulated tabletop, its expert and its teacher."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # before mujoco is imported anywhere: headless rendering on the CPU
