// Where the next items come from: some are always ready, with their frames, and kept from others while they are here.

const AHEAD = 2; // items ready behind the one that is shown
const LOOK_AGAIN = 10_000; // ms, where there is nothing to do
const RENEW = 60_000; // ms at most between two renewals of what is held

export class Supply {
  constructor(desk) {
    Object.assign(this, { desk, ready: [], skipped: [], progress: null, doubtful: false, changes: 0, asking: null, closed: false });
    this.renewing = setInterval(() => this.renew(), RENEW);
  }

  async begin() {
    await this.fill(true);
    if (!this.desk.item) this.advance();
  }

  // Ids that must not be handed out again: shown, ready, on their way, given back.
  get here() {
    const shown = this.desk.item ? [this.desk.item.id] : [];
    return [...new Set([...shown, ...this.ready.map(({ id }) => id), ...this.desk.outbox.items, ...this.skipped])];
  }

  fill(progress = false) {
    this.asking ??= this.ask(progress).finally(() => { this.asking = null; });
    return this.asking;
  }

  async ask(progress) {
    const wanted = AHEAD + (this.desk.item ? 0 : 1) - this.ready.length;
    if (wanted <= 0 || this.closed) return;
    const before = this.tally();
    try {
      const said = await this.desk.api.post("next", { count: wanted, skip: this.here, progress });
      this.trouble = "";
      if (said.progress) this.take(said.progress, before);
      const here = new Set(this.here);
      for (const item of said.items) if (!here.has(item.id)) this.ready.push(item);
      this.prefetch();
    } catch (error) {
      this.trouble = error.message;
    }
  }

  // How many judgements have been counted; NaN, which equals nothing, while the server may count one that is not counted here.
  tally() {
    return this.desk.outbox.waiting.length || this.desk.past.busy ? NaN : this.changes;
  }

  // A count asked for ``before`` something else was counted is older or newer than that, nobody knows: it is asked for again.
  take(progress, before) {
    this.doubtful = before !== this.tally();
    if (!this.doubtful || !this.progress) this.progress = progress;
    this.desk.screen.showProgress();
    if (this.desk.root.dataset.idle) this.desk.idle(this.progress, this.trouble); // its words tell the count as well
    this.recount();
  }

  async recount() {
    const before = this.tally();
    if (!this.doubtful || Number.isNaN(before) || this.closed) return;
    const said = await this.desk.api.post("next", { count: 0, skip: [], progress: true }).catch(() => null);
    if (said?.progress && !this.closed) this.take(said.progress, before);
  }

  prefetch() {
    const { moments, item } = this.desk;
    moments.keepOnly(new Set([item?.id, ...this.ready.map(({ id }) => id)]));
    for (const next of this.ready) moments.of(next).loadLooked();
    (async () => { for (const next of [...this.ready]) await moments.of(next).loadClip(); })();
  }

  // Shows the next item at once if one is ready; then sees to the ones after it.
  async advance() {
    const { desk } = this;
    clearTimeout(this.timer);
    desk.item = null;
    const next = this.ready.shift();
    if (next) desk.open(next);
    else {
      if (!this.ready.length) desk.screen.waiting();
      await this.fill(true);
      if (this.closed || desk.item) return;
      if (this.ready.length) return this.advance();
      if (this.skipped.length && !this.trouble) { // what was put aside is all that is left
        this.skipped = [];
        await this.fill(true);
        if (this.ready.length && !desk.item) return this.advance();
      }
      desk.idle(this.progress, this.trouble);
      this.timer = setTimeout(() => this.advance(), LOOK_AGAIN);
      return;
    }
    this.fill();
  }

  // A judgement was stored, or (-1) taken back.
  counted(by = 1) {
    this.changes += 1;
    this.doubtful ||= this.desk.config.desk !== "review"; // what is open there, only the server counts
    if (this.progress) this.progress = { ...this.progress, mine: this.progress.mine + by, reviews: this.progress.reviews + by };
    this.desk.screen.showProgress();
    this.recount();
  }

  putBack() {
    const { desk } = this;
    clearTimeout(this.timer); // something else is about to be shown
    if (!desk.item) return;
    this.ready.unshift(desk.item);
    desk.drafts.send();
    desk.item = null;
  }

  // Gives the item to somebody else; its draft stays with this annotator.
  skip() {
    const { desk } = this;
    const { id } = desk.item;
    this.skipped.push(id);
    desk.drafts.send();
    if (desk.config.desk === "review") desk.api.post("release", { item: id }).catch(() => {});
    desk.screen.bar?.say("Given back");
    this.advance();
  }

  async renew() {
    if (this.desk.config.desk !== "review" || document.visibilityState !== "visible") return;
    for (const id of [this.desk.item?.id, ...this.ready.map((item) => item.id)].filter(Boolean)) {
      const said = await this.desk.api.post("renew", { item: id }).catch(() => null);
      if (said) this.desk.placed(id, said.place);
      if (said && !said.held && this.desk.item?.id !== id) this.ready = this.ready.filter((item) => item.id !== id);
    }
  }

  // A closed tab keeps the item that was in front of its annotator, and gives the others back.
  release() {
    if (this.desk.config.desk !== "review") return;
    for (const { id } of this.ready) this.desk.api.post("release", { item: id }, { keepalive: true }).catch(() => {});
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearInterval(this.renewing);
  }
}
