// Judgements on their way: kept in this browser under their id until the server has acknowledged exactly that id.

const WAITS = [1000, 2000, 4000, 8000, 15_000]; // ms between tries

export class Outbox {
  constructor(api, keep, { onChange, onStored, onRefused }) {
    Object.assign(this, { api, keep, onChange, onStored, onRefused });
    this.waiting = keep.all("sent").filter((sent) => sent?.id && sent.item).sort((a, b) => a.at - b.at);
    this.unkept = new Set(); // ids that only this page holds
    this.reason = "";
    this.tries = 0;
    this.sending = null;
    this.timer = null;
  }

  get items() {
    return this.waiting.map(({ item }) => item);
  }

  add(sent) {
    this.waiting.push(sent);
    if (!this.keep.write(["sent", sent.id], sent)) this.unkept.add(sent.id);
    this.onChange();
    this.flush();
  }

  // Takes a judgement back that was not sent yet; false if it is on its way or gone.
  withdraw(id) {
    const place = this.waiting.findIndex((sent) => sent.id === id);
    if (place < 0 || this.sending === id || this.tries > 0) return false; // tried before: it may have arrived
    this.forget(id);
    return true;
  }

  forget(id) {
    this.waiting = this.waiting.filter((sent) => sent.id !== id);
    this.unkept.delete(id);
    this.keep.remove("sent", id);
    this.onChange();
  }

  async flush() {
    clearTimeout(this.timer);
    if (this.sending || !this.waiting.length || this.closed) return;
    const [sent] = this.waiting;
    this.sending = sent.id;
    try {
      const stored = await this.api.post("submit", sent);
      this.succeeded(sent, stored);
    } catch (error) {
      this.failed(sent, error);
    }
    if (this.waiting.length && !this.reason) this.flush();
  }

  succeeded(sent, stored) {
    this.sending = null;
    this.reason = "";
    this.tries = 0;
    this.forget(sent.id);
    this.onStored(sent, stored);
  }

  failed(sent, error) {
    this.sending = null;
    if (error.retry || error.status === undefined) {
      this.reason = error.message;
      this.timer = setTimeout(() => { this.reason = ""; this.flush(); }, WAITS[Math.min(this.tries, WAITS.length - 1)]);
      this.tries += 1;
      this.onChange();
      return;
    }
    this.reason = "";
    this.tries = 0;
    this.forget(sent.id);
    this.onRefused(sent, error);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}
