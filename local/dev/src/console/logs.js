// The logs of topics and users, and what their newest messages are. The server is asked while the panel is open.

import { $, clock, duration, h, pretty, roving, setText, span, tabStop, throttled } from "./dom.js";

/** `topic orders/42`: what a log is known by. */
const keyOf = (log) => `${log.kind} ${log.name}`;

/** What a rule keeps, in words. */
function kept(retention) {
  if (!retention) return "not kept any more";
  const count = retention.messages ? `, the newest ${retention.messages}` : "";
  return `kept for ${span(retention.seconds * 1000)}${count}${retention.ordered ? ", ordered" : ""}`;
}

export class Logs {
  constructor(state) {
    this.rows = new Map();
    this.list = [];
    this.took = 0;
    this.known = state.logs;
    this.ask = throttled(() => this.load(), 150, () => Math.max(900, 4 * this.took));
    if (!this.known) setText($("logs-none"), "Logs are shown where the table is Tidings' own and in the DynamoDB of this program.");
    $("logs-find").addEventListener("input", () => this.render());
    roving($("logs-rows"), () => [...$("logs-rows").children], (row) => row.querySelector("summary"));
    $("logs-rows").addEventListener("toggle", (event) => this.toggle(event.target), true);
  }

  /** Asks again, if somebody looks. */
  refresh() {
    if (this.known && !$("logs").hidden) this.ask();
  }

  async load() {
    const started = performance.now();
    try {
      const answer = await fetch("/_tidings/logs");
      if (!answer.ok) return;
      const { logs, complete, problem } = await answer.json();
      $("logs-problem").hidden = !problem;
      setText($("logs-problem"), problem ?? "");
      $("logs-more").hidden = complete || Boolean(problem);
      this.list = logs;
      this.render();
      await Promise.all([...this.rows.values()].filter((row) => row.details.open).map((row) => this.read(row)));
    } catch {
      // The stream tells that the server is gone.
    } finally {
      this.took = performance.now() - started;
    }
  }

  render() {
    const wanted = $("logs-find").value.trim().toLowerCase();
    const shown = wanted ? this.list.filter((log) => keyOf(log).toLowerCase().includes(wanted)) : this.list;
    const keys = new Set(shown.map(keyOf));
    for (const [key, row] of this.rows) if (!keys.has(key)) this.drop(key, row);
    const body = $("logs-rows");
    shown.forEach((log, index) => {
      const row = this.rows.get(keyOf(log)) ?? this.add(log);
      this.fill(row, log);
      if (body.children[index] !== row.element) body.insertBefore(row.element, body.children[index] ?? null);
    });
    if (!body.contains(document.activeElement)) tabStop(body, body.querySelector("summary"));
    setText($("logs-count"), String(this.list.length));
    $("logs-none").hidden = shown.length > 0;
    if (this.known) setText($("logs-none"), this.list.length > 0 ? "No log fits." : "Nothing was said yet to a topic or a user with a log.");
  }

  add(log) {
    const summary = h("summary", { tabIndex: -1 });
    const details = h("details", {}, summary);
    const row = { log, details, summary, element: h("li", { class: "row log-row" }, details), text: "", messages: "" };
    this.rows.set(keyOf(log), row);
    return row;
  }

  fill(row, log) {
    row.log = log;
    const text = JSON.stringify(log);
    if (row.text === text) return;
    row.text = text;
    const count = log.entries === 1 ? "1 message" : `${log.entries} messages`;
    row.summary.replaceChildren(
      h("span", { class: "kind" }, log.kind),
      h("span", { class: "what mono", title: log.name }, log.name),
      h("span", { class: "meta mono", title: "The last message's offset" }, String(log.offset)),
      h("span", { class: "hint" }, h("span", { class: "mono", title: "The log's epoch" }, log.epoch), `, ${count}, ${kept(log.retention)}`),
    );
  }

  drop(key, row) {
    const neighbour = row.element.nextElementSibling ?? row.element.previousElementSibling;
    const focused = row.element.contains(document.activeElement);
    row.element.remove();
    this.rows.delete(key);
    if (focused) (neighbour?.querySelector("summary") ?? $("logs-find")).focus();
  }

  toggle(details) {
    const row = [...this.rows.values()].find((one) => one.details === details);
    if (row && details.open) this.read(row);
  }

  /** The newest messages of an open row. */
  async read(row) {
    const { kind, name } = row.log;
    const answer = await fetch(`/_tidings/logs/${kind}/${encodeURIComponent(name)}`);
    const body = await answer.json();
    const text = JSON.stringify(body);
    if (row.messages === text) return;
    row.messages = text;
    const shown = answer.ok ? this.messages(body) : [h("p", { class: "problem" }, body.message)];
    row.details.querySelector(".detail")?.remove();
    row.details.append(h("div", { class: "detail" }, ...shown));
  }

  messages({ epoch, messages, more }) {
    if (messages.length === 0) return [h("p", { class: "hint" }, `Nothing is kept of epoch ${epoch}.`)];
    const items = messages.map((message) => {
      const { at, data } = this.said(message.notification);
      const left = message.expiresAt - Date.now();
      const when = left > 0 ? `for ${left < 1000 ? duration(left) : span(left)} more` : "expired";
      return h("li", {},
        h("p", {}, h("b", { class: "mono" }, String(message.offset)), h("span", { class: "hint" }, at ? `${clock(at)}, ${when}` : when)),
        h("pre", {}, data));
    });
    const rest = more ? [h("p", { class: "hint" }, `These are the newest ${messages.length}.`)] : [];
    return [h("ol", { class: "messages", "aria-label": "Newest messages" }, ...items), ...rest];
  }

  /** A notification for people: when it was said, and what. */
  said(text) {
    try {
      const { at } = JSON.parse(text);
      return { at, data: pretty(text) };
    } catch {
      return { data: text };
    }
  }
}
