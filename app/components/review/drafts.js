// Drafts: in this browser at every change, on the server shortly after. The newer of the two comes back.

import { newId } from "./api.js";

const QUIET = 600; // ms without a change before the server gets a draft
const AGAIN = 5000; // ms until a failed saving is tried again

export class Drafts {
  constructor(api, keep, onServer, { onChange, onPlace }) {
    Object.assign(this, { api, keep, onServer, onChange, onPlace });
    this.state = { kept: true, saved: true, reason: "" };
    this.timer = null;
    this.latest = null;
  }

  // The draft to go on with: {review, content, revision}; a new one where there is none.
  open(item) {
    this.state = { kept: true, saved: true, reason: "" };
    return this.newest(item);
  }

  newest(item) {
    const local = this.keep.read("draft", item.id);
    const server = item.draft;
    const newer = !local ? server : !server ? local
      : local.review === server.review ? (local.revision >= server.revision ? local : server) : (local.at >= server.at ? local : server);
    const usable = newer && typeof newer.review === "string" && newer.content && typeof newer.content === "object";
    return usable ? { ...newer } : { review: newId(), content: null, revision: 0 };
  }

  note(item, draft) {
    draft.revision += 1;
    draft.at = Date.now();
    this.state.kept = this.keep.write(["draft", item.id], draft);
    if (this.onServer) {
      this.state.saved = false;
      this.latest = { item: item.id, draft };
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.send(), QUIET);
    }
    this.onChange();
  }

  async send(options) {
    clearTimeout(this.timer);
    const sent = this.latest;
    if (!sent) return;
    const { review, content, revision } = sent.draft;
    try {
      const { place } = await this.api.post("draft", { item: sent.item, review, content, revision }, options);
      this.onPlace(sent.item, place);
      if (this.latest === sent && sent.draft.revision === revision) this.latest = null;
      this.state.saved = this.latest === null;
      this.state.reason = "";
    } catch (error) {
      this.state.reason = error.message;
      if (error.retry && this.latest === sent) this.timer = setTimeout(() => this.send(), AGAIN);
    }
    this.onChange();
  }

  // The judgement was handed in, or taken back to be changed elsewhere: nothing is left to save.
  drop(itemId, keepLocal = false) {
    if (this.latest?.item === itemId) {
      clearTimeout(this.timer);
      this.latest = null;
      this.state = { kept: true, saved: true, reason: "" };
    }
    if (!keepLocal) this.keep.remove("draft", itemId);
  }

  close() {
    if (this.latest) this.send({ keepalive: true });
    clearTimeout(this.timer);
  }
}
