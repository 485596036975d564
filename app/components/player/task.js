// A task of the server: started, watched to its end, cancelled.

import { address, fetched } from "./source.js";

const EVERY_MS = 400;
const BUSY = ["queued", "loading", "running"];
const HEADERS = { "X-VLA-Lens": "1" }; // the pages of other sites cannot set it

// The task when it has ended; null once `watched(task)` (asked at every look) is false. Throws what the server complains of.
export async function follow(base, body, watched) {
  let task = await (await fetched(`${base}/task/start`, { method: "POST", headers: HEADERS, body: JSON.stringify(body) })).json();
  while (BUSY.includes(task.state)) {
    if (!watched(task)) return null;
    await new Promise((resolve) => window.setTimeout(resolve, EVERY_MS));
    task = await (await fetched(address(base, "task", { id: task.id }))).json();
  }
  return task;
}

export function cancel(base, id) {
  return fetched(address(base, "task/cancel", { id }), { method: "POST", headers: HEADERS });
}
