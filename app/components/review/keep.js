// What this browser keeps by itself, key by key, so that two tabs never overwrite each other's.

const ROOT = "vla-lens";

export class Keep {
  constructor(...scope) {
    this.prefix = [ROOT, ...scope].map(encodeURIComponent).join(".");
    this.trouble = ""; // why the last writing failed
  }

  name(...path) {
    return [this.prefix, ...path.map(encodeURIComponent)].join(".");
  }

  write(path, value) {
    try {
      localStorage.setItem(this.name(...path), JSON.stringify(value));
      this.trouble = "";
      return true;
    } catch (error) {
      this.trouble = error.name === "QuotaExceededError" ? "this browser's storage is full" : "this browser keeps nothing";
      return false;
    }
  }

  read(...path) {
    try {
      return JSON.parse(localStorage.getItem(this.name(...path)));
    } catch {
      return null; // written by something else, or no storage
    }
  }

  remove(...path) {
    try {
      localStorage.removeItem(this.name(...path));
    } catch {
      // no storage: nothing to remove
    }
  }

  // All values under a path, in no order.
  all(...path) {
    const start = `${this.name(...path)}.`;
    try {
      return Object.keys(localStorage).filter((key) => key.startsWith(start)).map((key) => JSON.parse(localStorage.getItem(key)));
    } catch {
      return [];
    }
  }
}
