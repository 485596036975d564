"""The simulated counter: a ViperX 300 S, things, a drawer; its expert and its teacher."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # before mujoco is imported anywhere: headless rendering on the CPU
