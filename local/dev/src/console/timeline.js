// The timeline: events in their order, filtered, newest last.
//
// Events wait in a queue and are shown a few hundred at a time, once a frame, so that a storm of them never blocks the
// page. As many are kept as the server keeps.

import { $, announce, clock, h, roving, setText, tabStop } from "./dom.js";
import { describe, details } from "./events.js";

/** Rows made in one go. */
const STEP = 200;
/** What scrolls so soon after the user did something is their doing, in milliseconds. */
const BY_HAND = 400;

export class Timeline {
  /** `names(function id)` and `label(connection id)` say what things are called; `onOnly` shows one connection. */
  constructor(state, { names, label, onOnly }) {
    Object.assign(this, { kept: state.kept, names, label, onOnly, queue: [], paused: false, scheduled: false });
    /** Whether the end stays in view; who scrolls up wants to read. */
    this.following = true;
    this.scrolledUntil = 0;
    this.rows = new Map();
    this.running = new Map();
    this.only = null;
    this.kinds = new Set(["handshake", "frame", "invocation", "push", "bus", "close"]);
    this.text = "";
    this.list = $("timeline-rows");
    this.wire();
  }

  wire() {
    for (const button of $("timeline-kinds").querySelectorAll("button")) {
      button.addEventListener("click", () => this.toggleKind(button));
    }
    $("timeline-find").addEventListener("input", (event) => {
      this.text = event.target.value.trim().toLowerCase();
      this.filter();
    });
    $("timeline-pause").addEventListener("click", () => this.pause());
    $("timeline-clear").addEventListener("click", () => this.clear());
    $("timeline-latest").addEventListener("click", () => this.toEnd());
    $("timeline-only").addEventListener("click", () => this.onOnly(null));
    this.list.addEventListener("scroll", () => this.look(), { passive: true });
    for (const input of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      this.list.addEventListener(input, () => { this.scrolledUntil = performance.now() + BY_HAND; }, { passive: true });
    }
    new ResizeObserver(() => this.following && this.toEnd()).observe(this.list);
    this.list.addEventListener("toggle", (event) => this.open(event.target), true);
    roving(this.list, () => [...this.list.children].filter((row) => !row.hidden), (row) => row.querySelector("summary") ?? row);
    document.addEventListener("visibilitychange", () => this.schedule());
  }

  add(events, missed) {
    if (missed > 0) this.queue.push({ missed });
    this.queue.push(...events);
    if (this.queue.length > this.kept) {
      const lost = this.queue.splice(0, this.queue.length - this.kept).length;
      this.queue.unshift({ missed: lost });
    }
    this.schedule();
  }

  /** A page that nobody sees waits; the queue is bounded. */
  schedule() {
    if (this.paused) return setText($("timeline-pause"), `Go on (${this.queue.length})`);
    if (this.scheduled || this.queue.length === 0) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      if (!this.paused) this.show(this.queue.splice(0, STEP));
      this.schedule();
    });
  }

  show(events) {
    const fragment = document.createDocumentFragment();
    for (const event of events) {
      const row = this.row(event);
      if (row) fragment.append(row);
    }
    this.list.append(fragment);
    while (this.list.childElementCount > this.kept) this.remove(this.list.firstElementChild);
    if (this.following) this.toEnd();
    this.tell();
  }

  /** A new row, or none where an earlier one was brought up to date. */
  row(event) {
    if (event.missed) return h("li", { class: "gap-row", tabIndex: -1 }, `${event.missed} earlier events were not kept`);
    const before = event.kind === "invocation" ? this.running.get(event.id) : undefined;
    const row = before ?? h("li", {}, h("details", {}, h("summary", { tabIndex: -1 })));
    if (before) event.at = this.rows.get(before).at;
    this.rows.set(row, event);
    this.write(row, event);
    if (event.kind === "invocation") {
      if (event.outcome) this.running.delete(event.id);
      else this.running.set(event.id, row);
    }
    return before ? null : row;
  }

  write(row, event) {
    const { label, tone, what, meta } = describe(event, this.names);
    const who = event.connection ? this.label(event.connection) : null;
    row.className = `row ${tone}`;
    row.hidden = !this.fits(event);
    row.querySelector("summary").replaceChildren(
      h("time", { class: "mono" }, clock(event.at)),
      h("span", { class: "kind" }, label),
      h("span", { class: "who", title: event.connection ?? "" }, who?.user ? h("b", {}, who.user) : null, h("span", { class: "mono soft" }, who?.short ?? "")),
      h("span", { class: "what" }, ...what),
      h("span", { class: "meta" }, meta),
    );
    const box = row.querySelector(".detail");
    if (box) this.fill(box, event);
  }

  open(element) {
    const row = element.closest?.("li.row");
    if (!row || !element.open || row.querySelector(".detail")) return;
    const box = h("div", { class: "detail" });
    element.append(box);
    this.fill(box, this.rows.get(row));
    row.scrollIntoView({ block: row.offsetHeight < this.list.clientHeight ? "nearest" : "start" });
    this.follow(this.isAtEnd());
  }

  fill(box, event) {
    box.replaceChildren(...details(event, this.names));
    if (!event.connection) return;
    const only = h("button", { type: "button", class: "link" }, "Show only this connection");
    only.addEventListener("click", () => this.onOnly(event.connection));
    box.append(only);
  }

  remove(row) {
    const event = this.rows.get(row);
    this.rows.delete(row);
    if (event?.kind === "invocation") this.running.delete(event.id);
    if (row.contains(document.activeElement)) row.nextElementSibling?.querySelector("summary")?.focus();
    row.remove();
  }

  fits(event) {
    // A message for a topic of SNS is an event as one on a bus is.
    if (!this.kinds.has(event.kind === "topic" ? "bus" : event.kind)) return false;
    if (this.only && event.connection !== this.only) return false;
    if (!this.text) return true;
    const who = event.connection ? this.label(event.connection).user ?? "" : "";
    const name = event.function ? this.names(event.function) : "";
    return `${JSON.stringify(event)} ${event.body?.text ?? ""} ${who} ${name}`.toLowerCase().includes(this.text);
  }

  filter() {
    for (const [row, event] of this.rows) row.hidden = !this.fits(event);
    this.tell();
    this.toEnd();
  }

  /** Says why nothing is to be seen, and lets Tab reach the newest that is. */
  tell() {
    let seen = this.list.lastElementChild;
    while (seen?.hidden) seen = seen.previousElementSibling;
    if (!this.list.contains(document.activeElement)) tabStop(this.list, seen?.querySelector("summary"));
    $("timeline-none").hidden = Boolean(seen);
    if (!seen && this.rows.size > 0) setText($("timeline-none"), "No event fits the filter.");
    else if (!seen) setText($("timeline-none"), "Handshakes, messages, invocations, pushes and events show up here as they happen.");
  }

  toggleKind(button) {
    const kind = button.dataset.kind;
    const shown = !this.kinds.delete(kind);
    if (shown) this.kinds.add(kind);
    button.setAttribute("aria-pressed", String(shown));
    this.filter();
  }

  showOnly(id) {
    this.only = id;
    const { user, short } = id ? this.label(id) : {};
    $("timeline-only").hidden = !id;
    $("timeline-only").textContent = id ? `Only ${user ?? short} ×` : "";
    $("timeline-only").setAttribute("aria-label", id ? `Only ${user ?? ""} ${id}. Show all connections again` : "");
    announce(id ? `Only ${user ?? id} is shown` : "All connections are shown");
    this.filter();
  }

  pause() {
    this.paused = !this.paused;
    $("timeline-pause").setAttribute("aria-pressed", String(this.paused));
    setText($("timeline-pause"), this.paused ? "Go on" : "Pause");
    announce(this.paused ? "The timeline is paused" : "The timeline goes on");
    this.schedule();
  }

  clear() {
    this.queue = [];
    this.rows.clear();
    this.running.clear();
    this.list.replaceChildren();
    this.tell();
    if (this.paused) setText($("timeline-pause"), "Go on");
    announce("The timeline is empty");
  }

  isAtEnd() {
    return this.list.scrollTop + this.list.clientHeight >= this.list.scrollHeight - 24;
  }

  follow(following) {
    this.following = following;
    $("timeline-latest").hidden = following;
  }

  /** After scrolling. The end also moves away by itself, when rows above it go or the list gets smaller. */
  look() {
    const now = performance.now();
    const byHand = now < this.scrolledUntil;
    // It may go on for a while after the finger is gone.
    if (byHand) this.scrolledUntil = now + BY_HAND;
    if (this.isAtEnd()) this.follow(true);
    else if (byHand) this.follow(false);
    else if (this.following) this.toEnd();
  }

  toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
    this.follow(true);
  }
}
