// Judgements of this sitting (and those before it), so that the last one can be taken back.

import { newId } from "./api.js";

export class Past {
  constructor(desk) {
    this.desk = desk;
    this.sent = []; // {id, item, judgement, seconds, version, undo}; ``undo``: the id under which it is taken back
    this.count = 0;
    this.earlier = null; // own reviews from before, once asked for
  }

  add(item, { id, judgement, seconds }) {
    this.sent.push({ id, item, judgement, seconds, version: null, undo: newId() });
    this.count += 1;
  }

  stored(sent, stored) {
    const entry = this.sent.find(({ id }) => id === sent.id);
    if (entry) entry.version = stored.version ?? 0;
  }

  renamed(before, id) {
    for (const entry of this.sent) if (entry.id === before) entry.id = id;
  }

  drop(id) {
    this.sent = this.sent.filter((entry) => entry.id !== id);
    this.earlier = this.earlier?.filter((entry) => entry.id !== id) ?? null;
  }

  // The last judgement comes back as a draft. On the server a row is added that undoes it; nothing is deleted. A judgement
  // whose undoing failed is still the last one: trying again, under the same id, undoes it once.
  async undo() {
    const { desk } = this;
    if (this.busy) return;
    this.busy = true;
    try {
      const last = this.sent.at(-1) ?? await this.before();
      if (!last) desk.screen.bar.say("There is nothing to undo");
      else if (desk.outbox.withdraw(last.id)) this.back(last, last.item, 0);
      else if (last.version === null) desk.screen.bar.say("The last judgement is still being sent; undo it when it has arrived", "bad");
      else await this.undoStored(last);
    } catch (error) {
      desk.screen.bar.say(`Not undone: ${error.message}`, "bad");
    } finally {
      this.busy = false;
    }
  }

  async undoStored(last) {
    const { api, config } = this.desk;
    try {
      if (config.desk === "review") {
        const { item } = await api.post("undo", { review: last.id, id: last.undo });
        this.back(last, item, -1);
      } else {
        const { version } = await api.post("submit", { id: last.undo, item: last.item.id, judgement: null, version: last.version });
        this.back(last, { ...last.item, version }, -1);
      }
    } catch (error) {
      if (error.retry === false) this.drop(last.id); // it will never be undone, and would stand before all others
      throw error;
    }
  }

  async before() {
    if (this.desk.config.desk !== "review") return null;
    this.earlier ??= (await this.desk.api.post("mine")).reviews.map((review) => ({ ...review, undo: newId() }));
    return this.earlier.at(-1);
  }

  back({ id, judgement, seconds }, item, counted) {
    const { desk } = this;
    this.drop(id);
    this.count = Math.max(0, this.count - 1);
    desk.supply.putBack();
    desk.open(item, { ...judgement, seconds: seconds ?? 0 });
    desk.supply.counted(counted);
    desk.screen.bar.say("Taken back: change it and send it again");
  }
}
