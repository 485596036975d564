// What is drawn over a frame, in the picture's own pixels: `fit` says where they lie on the canvas.

export function fitted({ width, height }, boxWidth, boxHeight) {
  const scale = Math.min(boxWidth / width, boxHeight / height);
  return { scale, left: (boxWidth - width * scale) / 2, top: (boxHeight - height * scale) / 2 };
}

function onCanvas(fit, [x0, y0, x1, y1]) {
  return [fit.left + x0 * fit.scale, fit.top + y0 * fit.scale, (x1 - x0) * fit.scale, (y1 - y0) * fit.scale];
}

export function drawFrame(context, fit, { frame, width, height, grey }) {
  context.imageSmoothingEnabled = true;
  if (grey) context.filter = "grayscale(1) brightness(0.8)";
  context.drawImage(frame, fit.left, fit.top, width * fit.scale, height * fit.scale);
  context.filter = "none";
}

// overlays: [{ picture, box }]
export function drawOverlays(context, fit, overlays, opacity, smooth) {
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = Boolean(smooth);
  for (const { picture, box } of overlays) context.drawImage(picture, ...onCanvas(fit, box));
  context.globalAlpha = 1;
}

// Left, top, width, height on the canvas of a patch of a grid.
export function patchRectangle(fit, { rows, columns, box }, index) {
  const [left, top, width, height] = onCanvas(fit, box);
  const [w, h] = [width / columns, height / rows];
  return [left + (index % columns) * w, top + Math.floor(index / columns) * h, w, h];
}

export function drawGrid(context, fit, { rows, columns, box }) {
  const [left, top, width, height] = onCanvas(fit, box);
  const step = Math.max(rows, columns) > 40 ? 2 : 1;
  context.strokeStyle = "rgba(255, 255, 255, 0.28)";
  context.lineWidth = 1;
  context.beginPath();
  for (let r = 0; r <= rows; r += step) line(context, left, top + (r / rows) * height, left + width, top + (r / rows) * height);
  for (let c = 0; c <= columns; c += step) line(context, left + (c / columns) * width, top, left + (c / columns) * width, top + height);
  context.stroke();
}

function line(context, x0, y0, x1, y1) {
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
}

export function outline(context, rectangle, colour, lineWidth) {
  context.strokeStyle = "rgba(0, 0, 0, 0.65)";
  context.lineWidth = lineWidth + 2;
  context.strokeRect(...rectangle);
  context.strokeStyle = colour;
  context.lineWidth = lineWidth;
  context.strokeRect(...rectangle);
}

// What the data set says is in view: boxes in colours of their own, [{ label, box, colour }].
export function drawBoxes(context, fit, boxes, font) {
  const taken = [];
  for (const { label, box, colour } of boxes) {
    const [x, y, width, height] = onCanvas(fit, box);
    context.lineWidth = 2;
    context.strokeStyle = colour;
    context.strokeRect(x, y, width, height);
    drawLabel(context, label, x, y, font, taken);
  }
}

// What the policy wrote about: dashed boxes and points, black on white so that they stand out from any frame.
export function drawMarks(context, fit, marks, font, labels = true) {
  const taken = [];
  const named = new Set();
  for (const { name, kind, at } of marks) {
    const [x, y, width, height] = kind === "box" ? onCanvas(fit, at) : [fit.left + at[0] * fit.scale, fit.top + at[1] * fit.scale, 0, 0];
    if (kind === "box") dashed(context, x, y, width, height);
    else point(context, x, y);
    const shift = kind === "box" ? 0 : 9;
    // A path of points carries its name once.
    if (labels && (kind === "box" || !named.has(name))) drawLabel(context, name, x + shift, y + shift, font, taken);
    if (kind !== "box") named.add(name);
  }
}

function dashed(context, x, y, width, height) {
  for (const [colour, dash, lineWidth] of [["#ffffff", [], 4], ["#111418", [7, 4], 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = lineWidth;
    context.setLineDash(dash);
    context.strokeRect(x, y, width, height);
  }
  context.setLineDash([]);
}

function point(context, x, y) {
  for (const [radius, colour] of [[7, "#ffffff"], [5, "#111418"], [2, "#ffffff"]]) {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  }
}

// Labels that would lie on each other move down.
function drawLabel(context, label, x, y, font, taken) {
  context.font = `600 13px ${font}`;
  context.textBaseline = "top";
  const width = context.measureText(label).width + 8;
  const room = context.canvas.width / (context.getTransform().a || 1);
  const left = Math.max(0, Math.min(x, room - width));
  let top = Math.max(0, y);
  while (taken.some((other) => left < other.left + other.width && other.left < left + width && Math.abs(other.top - top) < 18)) top += 18;
  taken.push({ left, top, width });
  context.fillStyle = "rgba(10, 14, 20, 0.78)";
  context.fillRect(left, top, width, 17);
  context.fillStyle = "#ffffff";
  context.fillText(label, left + 4, top + 3);
}
