"""Small image folders, written as docs/episode-image-folder.md tells a lab to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from analysis.episodes.hdf5_writer import encode_image

STEPS = 12  # more than ten, so that the order of numbers differs from that of letters


def picture(seed: int, step: int) -> np.ndarray:
    out = np.full((16, 24, 3), (0, 20 * seed, 80), np.uint8)
    out[4:8, 2 * step : 2 * step + 2] = (250, 0, 0)
    return out


def write_image_folder(folder: Path, seed: int = 0, cameras: tuple[str, ...] = ("front",), **said: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for camera in cameras:
        (folder / "frames" / camera).mkdir(parents=True)
        for step in range(STEPS):
            data = encode_image(picture(seed, step), "png", 0)
            (folder / "frames" / camera / f"{step}.png").write_bytes(data)
    rows = [f"{0.1 * step:.2f},{seed},{step % 2}" for step in range(STEPS)]
    (folder / "actions.csv").write_text("\n".join(["x [m],yaw [rad],gripper [open]", *rows]) + "\n")
    described = {"instruction": "put the red block on the towel", "fps": 5, "success": True} | said
    (folder / "episode.json").write_text(json.dumps(described))
    return folder
