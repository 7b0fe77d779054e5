// The list of open connections. The server is asked again after every event, at most about once a second.

import { $, announce, h, roving, setText, span, tabStop, throttled } from "./dom.js";

/** More rows than these are counted, not shown. */
const SHOWN = 500;

export class Connections {
  /** `onSelect(id or null)`: show one connection only; `onTopic(topic)`: write to a topic. */
  constructor(state, { onSelect, onTopic }) {
    Object.assign(this, { state, onSelect, onTopic, selected: null, list: [], offsets: {}, rows: new Map(), labels: new Map() });
    this.took = 0;
    this.refresh = throttled(() => this.load(), 120, () => Math.max(900, 4 * this.took));
    $("connections").classList.toggle("foreign", !state.registry);
    $("connections-find").addEventListener("input", () => this.render());
    roving($("connections-rows"), () => [...$("connections-rows").rows], (row) => row.querySelector("button"));
    $("connections-rows").addEventListener("keydown", (event) => this.sideways(event));
    setInterval(() => this.tick(), 1000);
    this.refresh();
  }

  /** What a connection is called: its user, if it has one, and the beginning of its id. */
  label(id) {
    return { user: this.labels.get(id), short: id.slice(0, 8) };
  }

  /** Takes what an event tells before the server is asked. */
  see(event) {
    if (event.kind === "handshake" && event.connection) {
      const user = event.query.find(([name]) => name === "user");
      if (user && this.state.registry) this.remember(event.connection, user[1]);
    }
    if (event.kind === "close") {
      this.list = this.list.filter((one) => one.id !== event.connection);
      this.drop(event.connection);
    }
    this.refresh();
  }

  remember(id, user) {
    this.labels.delete(id);
    this.labels.set(id, user);
    if (this.labels.size > 5000) this.labels.delete(this.labels.keys().next().value);
  }

  async load() {
    const started = performance.now();
    try {
      const answer = await fetch("/_tidings/connections");
      if (!answer.ok) return;
      const { connections, problem, offsets } = await answer.json();
      this.offsets = offsets;
      $("connections-problem").hidden = !problem;
      setText($("connections-problem"), problem ? `Users and topics are not known: ${problem}` : "");
      this.list = connections.reverse();
      for (const one of connections) if (one.user) this.remember(one.id, one.user);
      this.render();
    } catch {
      // The stream tells that the server is gone.
    } finally {
      this.took = performance.now() - started;
    }
  }

  render() {
    const wanted = $("connections-find").value.trim().toLowerCase();
    const fits = (one) => [one.id, one.user, one.protocol, ...one.topics].some((text) => text?.toLowerCase().includes(wanted));
    const found = wanted ? this.list.filter(fits) : this.list;
    const shown = found.slice(0, SHOWN);
    const ids = new Set(shown.map((one) => one.id));
    for (const id of [...this.rows.keys()]) if (!ids.has(id)) this.drop(id);
    const body = $("connections-rows");
    shown.forEach((one, index) => {
      const row = this.rows.get(one.id) ?? this.add(one);
      this.fill(row, one);
      if (body.rows[index] !== row.element) body.insertBefore(row.element, body.rows[index] ?? null);
    });
    if (!body.contains(document.activeElement)) tabStop(body, body.querySelector("button"));
    this.count();
    $("connections-more").hidden = found.length <= SHOWN;
    setText($("connections-more"), `${SHOWN} of ${found.length} are shown. Find others by id, user or topic.`);
    this.suggest();
  }

  count() {
    setText($("connections-count"), String(this.list.length));
    const none = $("connections-none");
    none.hidden = this.rows.size > 0;
    if (this.list.length > 0) setText(none, "No connection fits.");
    else if (none.textContent === "No connection fits.") setText(none, "Nobody is connected.");
  }

  add({ id }) {
    const cell = (name) => h("td", { class: name });
    const select = h("button", { type: "button", class: "id mono", tabIndex: -1, "aria-pressed": "false" }, id);
    select.title = "Show only this connection in the timeline";
    select.addEventListener("click", () => this.select(this.selected === id ? null : id));
    const close = h("button", { type: "button", class: "quiet", tabIndex: -1, "aria-label": `Close ${id}`, title: "Close this connection" }, "×");
    close.addEventListener("click", () => this.close(id));
    const cells = {
      user: cell("user"),
      protocol: cell("protocol mono"),
      topics: cell("topics"),
      age: cell("number age"),
      active: cell("number active"),
      traffic: cell("number traffic"),
    };
    const element = h("tr", {}, h("th", { scope: "row" }, select), ...Object.values(cells), h("td", { class: "end" }, close));
    const row = { element, select, cells, topics: null, data: null };
    this.rows.set(id, row);
    return row;
  }

  fill(row, one) {
    row.data = one;
    setText(row.cells.user, one.user ?? "");
    setText(row.cells.protocol, one.protocol ?? "");
    setText(row.cells.traffic, `${one.received} / ${one.sent}`);
    const topics = one.topics.join("\n");
    if (row.topics !== topics) {
      row.topics = topics;
      row.cells.topics.replaceChildren(...one.topics.map((topic) => this.chip(topic)));
    }
    for (const chip of row.cells.topics.children) this.number(chip);
    this.age(row);
  }

  /** Where the log of a chip's topic ends, beside it. */
  number(chip) {
    const offset = this.offsets[chip.textContent];
    if (offset === undefined || chip.dataset.offset === String(offset)) return;
    chip.dataset.offset = offset;
    chip.title = `Write to this topic. The last offset of its log is ${offset}`;
  }

  chip(topic) {
    const chip = h("button", { type: "button", class: "chip mono", tabIndex: -1, title: "Write to this topic" }, topic);
    chip.addEventListener("click", () => this.onTopic(topic));
    return chip;
  }

  age({ cells, data }, now = Date.now()) {
    setText(cells.age, span(now - data.connectedAt));
    setText(cells.active, `${span(now - data.lastActiveAt)} ago`);
  }

  tick() {
    const now = Date.now();
    for (const row of this.rows.values()) this.age(row, now);
  }

  drop(id) {
    const row = this.rows.get(id);
    if (!row) return;
    const neighbour = row.element.nextElementSibling ?? row.element.previousElementSibling;
    const focused = row.element.contains(document.activeElement);
    row.element.remove();
    this.rows.delete(id);
    if (focused) (neighbour?.querySelector("button") ?? $("connections-find")).focus();
    this.count();
  }

  /** From button to button of one row. */
  sideways(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const buttons = [...(event.target.closest("tr")?.querySelectorAll("button") ?? [])].filter((button) => button.offsetParent);
    const next = buttons[buttons.indexOf(event.target) + step];
    if (step && next) next.focus();
  }

  select(id) {
    this.rows.get(this.selected)?.select.setAttribute("aria-pressed", "false");
    this.selected = id;
    this.rows.get(id)?.select.setAttribute("aria-pressed", "true");
    this.onSelect(id);
  }

  async close(id) {
    const answer = await fetch(`/_tidings/connections/${encodeURIComponent(id)}`, { method: "DELETE" });
    announce(answer.ok ? `Closed ${id}` : `${id} is closed already`);
    this.refresh();
  }

  /** Offers what is known wherever a topic, user or connection is asked for. */
  suggest() {
    const topics = new Set(this.list.flatMap((one) => one.topics));
    const users = new Set(this.list.map((one) => one.user).filter(Boolean));
    const offers = [["known-topics", topics], ["known-users", users], ["known-connections", this.list.map((one) => one.id)]];
    for (const [id, values] of offers) {
      const some = [...values].slice(0, 100);
      const key = some.join("\n");
      if ($(id).dataset.key === key) continue;
      $(id).dataset.key = key;
      $(id).replaceChildren(...some.map((value) => h("option", { value })));
    }
  }
}
