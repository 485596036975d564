// How far away the policy takes things to be, laid over the frame in place of the attention.

import { depthPicture } from "./overlay.js";

export class DepthView {
  constructor(pane) {
    this.pane = pane;
    this.drawn = null;
  }

  // What the step says of the depth of a camera, without the map: { camera, box, nearest, farthest }.
  told(camera) {
    return this.pane.bundle()?.depth.find((entry) => entry.camera === camera || !this.pane.player.known(entry.camera)) ?? null;
  }

  // The map, or null while it is on its way.
  map(camera) {
    const told = this.told(camera);
    const { run, player } = this.pane;
    if (!told) return null;
    const held = run.depth(player.view.step, told.camera);
    if (!held) run.loadDepth(player.view.step, told.camera).then(() => { player.drawStages(); player.render(); }).catch((error) => player.complain(error));
    return held ?? null;
  }

  // Of this step, or of all fetched ones where one scale is wanted for the episode.
  range(camera) {
    const told = this.told(camera);
    if (this.pane.player.view.scale === "frame") return told;
    const all = [...this.pane.run.bundles.entries.values()].flatMap(({ value }) => value.depth.filter((entry) => entry.camera === told.camera));
    return { nearest: Math.min(...all.map(({ nearest }) => nearest)), farthest: Math.max(...all.map(({ farthest }) => farthest)) };
  }

  overlay(camera) {
    const depth = this.map(camera);
    if (!depth) return null;
    const { map } = this.pane.player.view;
    const { nearest, farthest } = this.range(camera);
    const key = `${nearest}|${farthest}|${map}`;
    if (this.drawn?.depth !== depth || this.drawn.key !== key) {
      this.drawn = { depth, key, picture: depthPicture(depth.metres, depth.rows, depth.columns, { nearest, farthest, map }) };
    }
    return { picture: this.drawn.picture, box: depth.box };
  }

  explanation(camera) {
    if (!this.told(camera)) return null;
    const { nearest, farthest } = this.range(camera);
    const { map, scale } = this.pane.player.view;
    const scaling = scale === "frame" ? "scaled to this frame" : "one scale for the episode";
    return {
      caption: `depth as the policy estimates it, ${metres(nearest)} to ${metres(farthest)} · ${scaling}`,
      legend: { map, turned: true, low: metres(nearest), high: metres(farthest) },
    };
  }

  // The depth at the middle of a patch, in words; nothing where no map is here.
  at(grid, index) {
    const { view } = this.pane.player;
    const depth = view.depth ? this.map(view.camera) : null;
    if (!depth) return "";
    const [x0, y0, x1, y1] = grid.box;
    const x = x0 + ((index % grid.columns) + 0.5) * ((x1 - x0) / grid.columns);
    const y = y0 + (Math.floor(index / grid.columns) + 0.5) * ((y1 - y0) / grid.rows);
    const [left, top, right, bottom] = depth.box;
    const column = Math.floor(((x - left) / (right - left)) * depth.columns);
    const row = Math.floor(((y - top) / (bottom - top)) * depth.rows);
    const inside = column >= 0 && row >= 0 && column < depth.columns && row < depth.rows;
    return inside ? `depth ${metres(depth.metres[row * depth.columns + column])}` : "";
  }
}

function metres(value) {
  return `${value.toFixed(value < 10 ? 2 : 1)} m`;
}
