// Plays at the episode's own rate times the speed, by the clock: a slow frame is skipped, never waited for.

export class Playback {
  constructor(player) {
    this.player = player;
    this.playing = false;
  }

  toggle() {
    if (this.playing) this.pause();
    else this.start();
    this.player.render();
  }

  start() {
    const { player } = this;
    const last = player.episode.length - 1;
    if (player.view.step >= last) player.showStep(0);
    this.playing = true;
    this.restart();
  }

  restart() {
    if (!this.playing) return;
    cancelAnimationFrame(this.frame);
    this.origin = { time: performance.now(), step: this.player.view.step };
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    if (!this.playing) return;
    const { episode, view } = this.player;
    const rate = episode.fps * view.speed;
    const step = Math.min(episode.length - 1, this.origin.step + Math.max(0, Math.floor(((now - this.origin.time) / 1000) * rate)));
    this.player.showStep(step);
    if (step >= episode.length - 1) {
      this.pause();
      this.player.render();
    } else this.frame = requestAnimationFrame((next) => this.tick(next));
  }

  pause() {
    this.playing = false;
    cancelAnimationFrame(this.frame);
    this.player.render();
  }
}
