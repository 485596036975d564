"""What a simulated scene looks like through one camera, and what touches what in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import mujoco
import numpy as np


class View:
    """Pictures of a scene as it is now. The renderer belongs to the thread that looked first."""

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        camera: str,
        size: tuple[int, int],
        labels: Sequence[str],
        name_of: Callable[[str, str], str],
    ) -> None:
        """``size``: height and width in pixels. ``name_of`` gives a geom's label from the names of its body and that
        body's root; what is no label is background."""
        self._model, self._data, self._camera, self._size = model, data, camera, size
        self._renderer: mujoco.Renderer | None = None
        self._options = mujoco.MjvOption()
        self._options.geomgroup[3], self._options.sitegroup[:] = 0, 0
        self._label = np.zeros(model.ngeom + 1, np.uint8)  # the last: no geom at all
        for geom, body in enumerate(model.geom_bodyid):
            name = name_of(model.body(body).name, model.body(model.body_rootid[body]).name)
            self._label[geom] = labels.index(name) if name in labels else 0

    def picture(self) -> np.ndarray:
        """uint8 [H, W, 3]."""
        return self._looking().render().copy()

    def labels(self) -> np.ndarray:
        """Which thing each pixel shows, uint8 [H, W], index into the labels."""
        renderer = self._looking()
        renderer.enable_segmentation_rendering()
        seen = renderer.render()
        renderer.disable_segmentation_rendering()
        geoms = np.where(seen[..., 1] == int(mujoco.mjtObj.mjOBJ_GEOM), seen[..., 0], -1)
        return self._label[geoms]

    def _looking(self) -> mujoco.Renderer:
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self._model, *self._size)
        self._renderer.update_scene(self._data, self._camera, scene_option=self._options)
        return self._renderer


def all_touch(model: mujoco.MjModel, data: mujoco.MjData, fingers: Collection[int], body: int) -> bool:
    """Whether each of the bodies ``fingers`` touches ``body``."""
    pairs = model.geom_bodyid[data.contact.geom] if data.ncon else np.zeros((0, 2), int)
    met = {int(b) for pair in pairs if body in pair for b in pair}
    return set(fingers) <= met
