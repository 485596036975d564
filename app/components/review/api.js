// Requests to the review routes. Every error says whether trying again can help.

const PATIENCE = 30_000; // ms; sending a review twice is harmless, waiting for ever is not

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
    this.retry = status === 0 || status === 401 || status >= 500;
    this.alone = status === 500; // the server fails on what was sent; on something else it may not
    this.taken = status === 422; // the id is another review's
  }
}

export class Api {
  constructor({ base, person, project, desk }) {
    this.base = base;
    this.common = { person, project: project.id, desk };
  }

  async post(name, body = {}, options = {}) {
    const response = await this.answer(name, body, options);
    const said = await response.json().catch(() => ({}));
    if (response.ok) return said;
    const reason = response.status === 401 ? "you are logged out; log in again in another tab" : said.error;
    throw new ApiError(response.status, reason || `the server answered ${response.status}`);
  }

  async answer(name, body, options) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), PATIENCE);
    try {
      return await fetch(`${this.base}/review/${name}`, {
        method: "POST", headers: { "Content-Type": "application/json", "X-VLA-Lens": "1" },
        body: JSON.stringify({ ...this.common, ...body }), signal: abort.signal, ...options,
      });
    } catch {
      throw new ApiError(0, "the server does not answer");
    } finally {
      clearTimeout(timer);
    }
  }
}

export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID(); // not there on plain http under a name
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
