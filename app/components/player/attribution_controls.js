// Which attribution method explains the query, its settings, and the task that runs it.

import { readSettings, writeSettings } from "./attribution.js";
import { el, setText } from "./dom.js";

export class AttributionControls {
  // onOpen: the list of methods is wanted; onStart(all): explain this step, or all steps.
  constructor({ update, onOpen, onStart, onCancel }) {
    this.update = update;
    this.summary = el("summary", { text: "Explain with attribution" });
    this.wait = el("p", { class: "quiet", role: "status" });
    this.list = el("div", { class: "methods", role: "radiogroup", "aria-label": "Attribution method" });
    this.fields = el("div", { class: "method-settings" });
    this.scalar = el("select", { "aria-label": "Explained number", onchange: () => update({ scalar: this.scalar.value }) },
      el("option", { value: "", text: "action value; of words log-probability" }), el("option", { value: "action", text: "action value" }),
      el("option", { value: "log-probability", text: "log-probability" }));
    this.one = el("button", { type: "button", class: "primary", text: "Explain this step", onclick: () => onStart(false) });
    this.all = el("button", { type: "button", text: "Explain all steps", onclick: () => onStart(true) });
    this.leave = el("button", { type: "button", text: "Back to attention", onclick: () => update({ method: "", settings: "" }) });
    this.cancel = el("button", { type: "button", text: "Cancel", onclick: onCancel });
    this.bar = el("progress", { max: "1", "aria-label": "progress of the attribution" });
    this.said = el("span", { class: "quiet", role: "status" });
    this.run = el("div", { class: "row attribution-run" }, this.one, this.all, this.bar, this.cancel, this.leave, this.said);
    this.chosen = el("div", { class: "attribution-chosen" }, el("div", { class: "row" }, el("label", { class: "choice" }, el("span", { text: "Number" }), this.scalar)), this.fields);
    this.details = el("details", { class: "attribution", ontoggle: () => this.details.open && onOpen() },
      this.summary, this.wait, this.list, this.chosen);
    this.node = el("div", { class: "attribution-side" }, this.details, this.run);
    this.built = "";
    this.fieldsFor = "";
  }

  // methods: merged over the panes, or null; task: the one under way; done/total steps explained.
  show({ view, methods, waiting, title, task, complaint, explained, length, stepDone }) {
    const chosen = methods?.find(({ name }) => name === view.method);
    setText(this.summary, view.method ? `Explained with: ${chosen?.title ?? (title || view.method)}` : "Explain with attribution");
    this.wait.hidden = !this.details.open || !waiting;
    setText(this.wait, waiting);
    if (methods && this.built !== JSON.stringify(methods)) this.build(methods);
    for (const button of this.list.querySelectorAll("button")) button.setAttribute("aria-checked", String(button.dataset.method === view.method));
    this.chosen.hidden = !chosen;
    if (chosen) this.showFields(chosen, view);
    this.scalar.value = view.scalar;
    this.run.hidden = !view.method;
    this.one.hidden = Boolean(task) || stepDone;
    this.all.hidden = Boolean(task) || explained >= length;
    this.cancel.hidden = this.bar.hidden = !task;
    if (task?.total) this.bar.value = task.done / task.total;
    else this.bar.removeAttribute("value");
    setText(this.said, task ? { queued: "Waiting for its turn…", loading: "Opening the checkpoint…" }[task.state] ?? "" : complaint || (view.method ? `${explained} of ${length} steps explained` : ""));
  }

  build(methods) {
    this.built = JSON.stringify(methods);
    this.list.replaceChildren(...methods.map(({ name, title, why_not: why }) => el("button", {
      type: "button", role: "radio", class: "method", "data-method": name, disabled: Boolean(why), title: why ?? "",
      onclick: () => this.update({ method: name, settings: "" }),
    }, el("span", { text: title }), why ? el("small", { text: why }) : null)));
  }

  showFields(method, view) {
    const key = `${method.name}|${view.settings}`;
    if (key === this.fieldsFor) return;
    this.fieldsFor = key;
    const given = readSettings(view.settings);
    this.fields.replaceChildren(...method.settings.map((setting) => this.field(setting, given, view)));
  }

  field(setting, given) {
    const value = given[setting.name] ?? (setting.default === null ? "" : String(setting.default));
    const change = (text) => {
      const next = { ...given };
      if (text === String(setting.default ?? "")) delete next[setting.name];
      else next[setting.name] = text;
      this.update({ settings: writeSettings(next) });
    };
    const input = setting.options.length
      ? el("select", { "aria-label": setting.name, onchange: (event) => change(event.target.value) }, setting.options.map((text) => el("option", { value: text, text, selected: text === value })))
      : el("input", { "aria-label": setting.name, value, type: setting.kind.startsWith("number") || setting.kind === "whole number" ? "number" : "text",
        step: setting.kind === "number" ? "any" : "1", min: setting.least, placeholder: setting.optional ? "empty" : "", onchange: (event) => change(event.target.value) });
    return el("label", { class: "choice", title: setting.help }, el("span", { text: setting.name.replaceAll("_", " ") }), input);
  }
}
