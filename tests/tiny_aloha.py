"""Small files as ALOHA records them: raw frames, or JPEGs padded with zeros."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from analysis.episodes.hdf5_writer import encode_image

STEPS, HEIGHT, WIDTH = 4, 24, 32
CAMERAS = ("cam_high", "cam_left_wrist")


def picture(seed: int, step: int) -> np.ndarray:
    out = np.full((HEIGHT, WIDTH, 3), (0, 40 * seed, 90), np.uint8)
    out[8:16, 8 * step : 8 * step + 8] = (250, 0, 0)
    return out


def jpeg(seed: int, step: int) -> bytes:
    return encode_image(picture(seed, step), "jpeg", 50)


def actions(seed: int, columns: int = 14) -> np.ndarray:
    return (np.arange(STEPS * columns).reshape(STEPS, columns) + seed) / 100


def write_aloha(path: Path, seed: int = 0, compressed: bool = False, columns: int = 14) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = False
        file.attrs["compress"] = compressed
        file["action"] = actions(seed, columns)
        for name in ("qpos", "qvel", "effort"):
            file[f"observations/{name}"] = actions(seed, columns) - 0.01
        for camera in CAMERAS:
            name = f"observations/images/{camera}"
            if compressed:
                pictures = [jpeg(seed, step) for step in range(STEPS)]
                padded = np.zeros((STEPS, 2000), np.uint8)
                for step, data in enumerate(pictures):
                    padded[step, : len(data)] = np.frombuffer(data, np.uint8)
                file.create_dataset(name, data=padded, chunks=(1, 2000))
            else:
                raw = np.stack([picture(seed, step) for step in range(STEPS)])
                file.create_dataset(name, data=raw, chunks=(1, HEIGHT, WIDTH, 3))
        if compressed:
            file["compress_len"] = [[len(jpeg(seed, step)) for step in range(STEPS)]] * len(CAMERAS)
    return path
