// Judgements on their way: kept in this browser under their id until the server has acknowledged exactly that id.

import { newId } from "./api.js";

const WAITS = [1000, 2000, 4000, 8000, 15_000]; // ms between tries

export class Outbox {
  constructor(api, keep, { onChange, onStored, onRefused, onRenamed }) {
    Object.assign(this, { api, keep, onChange, onStored, onRefused, onRenamed });
    this.waiting = keep.all("sent").filter((sent) => sent?.id && sent.item).sort((a, b) => a.at - b.at);
    this.unkept = new Set(); // ids that only this page holds
    this.tried = new Set(); // ids that may have arrived
    this.reason = "";
    this.failures = 0; // rounds one after the other in which something was not stored
    this.sending = false;
    this.timer = null;
  }

  get items() {
    return this.waiting.map(({ item }) => item);
  }

  add(sent) {
    this.waiting.push(sent);
    this.hold(sent);
    this.onChange();
    this.flush();
  }

  hold(sent) {
    if (!this.keep.write(["sent", sent.id], sent)) this.unkept.add(sent.id);
  }

  // Takes a judgement back that was not sent yet; false if it is on its way or gone.
  withdraw(id) {
    if (this.tried.has(id) || !this.waiting.some((sent) => sent.id === id)) return false;
    this.forget(id);
    return true;
  }

  forget(id) {
    this.waiting = this.waiting.filter((sent) => sent.id !== id);
    this.unkept.delete(id);
    this.keep.remove("sent", id);
    this.onChange();
  }

  // Sends all that waits, one after the other. What the server fails on stays behind and holds up nothing else.
  async flush() {
    clearTimeout(this.timer);
    if (this.sending) return;
    this.sending = true;
    const behind = new Set();
    let reason = "";
    for (let sent = this.first(behind); sent; sent = this.first(behind)) {
      this.tried.add(sent.id);
      const error = await this.send(sent);
      if (!error) continue;
      reason ||= error.message;
      if (!error.alone) break;
      behind.add(sent.id);
    }
    this.sending = false;
    this.rest(reason);
  }

  first(behind) {
    return this.closed ? undefined : this.waiting.find(({ id }) => !behind.has(id));
  }

  // Null once nothing of it is left to send; otherwise why it waits.
  async send(sent) {
    let stored;
    try {
      stored = await this.api.post("submit", sent);
    } catch (error) {
      if (error.retry || error.status === undefined) return error;
      if (error.taken) this.rename(sent);
      else {
        this.forget(sent.id);
        this.onRefused(sent, error);
      }
      return null;
    }
    this.forget(sent.id);
    this.onStored(sent, stored);
    return null;
  }

  // Another window judged the item under the same id: this judgement goes on top of that one.
  rename(sent) {
    const renamed = { ...sent, id: newId() };
    this.waiting = this.waiting.map((one) => (one === sent ? renamed : one));
    this.hold(renamed);
    this.unkept.delete(sent.id);
    this.keep.remove("sent", sent.id);
    this.onRenamed(sent.id, renamed.id);
  }

  rest(reason) {
    this.reason = reason;
    if (!reason) this.failures = 0;
    else if (!this.closed) {
      this.timer = setTimeout(() => this.flush(), WAITS[Math.min(this.failures, WAITS.length - 1)]);
      this.failures += 1;
    }
    this.onChange();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}
