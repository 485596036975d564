// Judgements of this sitting (and those before it), so that the last one can be taken back.

import { newId } from "./api.js";

export class Past {
  constructor(desk) {
    this.desk = desk;
    this.sent = []; // {id, item, sent, version}
    this.count = 0;
    this.earlier = null; // ids of own reviews from before, once asked for
  }

  add(item, sent) {
    this.sent.push({ id: sent.id, item, sent, version: null });
    this.count += 1;
  }

  stored(sent, stored) {
    const entry = this.sent.find(({ id }) => id === sent.id);
    if (entry) entry.version = stored.version ?? 0;
  }

  drop(id) {
    this.sent = this.sent.filter((entry) => entry.id !== id);
  }

  // The last judgement comes back as a draft. On the server a row is added that undoes it; nothing is deleted.
  async undo() {
    const { desk } = this;
    if (this.busy) return;
    const last = this.sent.at(-1);
    this.busy = true;
    try {
      if (last && desk.outbox.withdraw(last.id)) this.back(last.item, last.sent, 0);
      else if (last && last.version === null) desk.screen.bar.say("The last judgement is still being sent; undo it when it has arrived", "bad");
      else if (last && desk.config.desk !== "review") this.back({ ...last.item, version: last.version }, last.sent, 0);
      else await this.undoStored(last);
    } catch (error) {
      desk.screen.bar.say(`Not undone: ${error.message}`, "bad");
    } finally {
      this.busy = false;
    }
  }

  async undoStored(last) {
    const { desk } = this;
    if (desk.config.desk !== "review") return desk.screen.bar.say("There is nothing to undo");
    const review = last ? { id: last.id, judgement: last.sent.judgement, seconds: last.sent.seconds } : await this.before();
    if (!review) return desk.screen.bar.say("There is nothing to undo");
    const { item } = await desk.api.post("undo", { review: review.id, id: newId() });
    this.back(item, review, -1);
  }

  async before() {
    this.earlier ??= (await this.desk.api.post("mine")).reviews;
    return this.earlier.pop();
  }

  back(item, { judgement, seconds }, counted) {
    const { desk } = this;
    if (this.sent.at(-1)?.item.id === item.id) this.sent.pop();
    this.count = Math.max(0, this.count - 1);
    desk.supply.putBack();
    desk.open(item, { ...judgement, seconds: seconds ?? 0 });
    desk.supply.counted(counted);
    desk.screen.bar.say("Taken back: change it and send it again");
  }
}
