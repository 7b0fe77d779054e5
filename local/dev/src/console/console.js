// The console: puts the parts together, follows the server's events, and knows the keyboard.

import { Client } from "./client.js";
import { Connections } from "./connections.js";
import { $, announce, h, setText } from "./dom.js";
import { Logs } from "./logs.js";
import { Notify } from "./notify.js";
import { Timeline } from "./timeline.js";

const state = JSON.parse($("state").textContent);
const TOOLS = ["notify", "client", "stack", "logs"];
const VIEWS = ["connections", "timeline", ...TOOLS];
/** Beside each other where there is room, else one at a time. */
const wide = matchMedia("(min-width: 1000px)");
const shown = { view: "timeline", tool: "notify" };

const names = new Map(state.functions.map((one) => [one.id, one.name]));
const notify = new Notify(state);
const client = new Client(state);
const logs = new Logs(state);
const connections = new Connections(state, {
  onSelect: (id) => timeline.showOnly(id),
  onTopic: (topic) => {
    show("notify");
    notify.aim("topic", topic);
  },
});
const timeline = new Timeline(state, {
  names: (id) => names.get(id) ?? id,
  label: (id) => connections.label(id),
  onOnly: (id) => connections.select(id),
});

// --- Panels

function show(view) {
  if (VIEWS.includes(view)) {
    shown.view = view;
    if (TOOLS.includes(view)) shown.tool = view;
  }
  const isShown = (id) => (wide.matches ? !TOOLS.includes(id) || id === shown.tool : id === shown.view);
  for (const id of VIEWS) $(id).hidden = !isShown(id);
  for (const button of $("views").children) {
    button.hidden = wide.matches && !TOOLS.includes(button.dataset.view);
    const current = button.dataset.view === (wide.matches ? shown.tool : shown.view);
    button.setAttribute("aria-current", String(current));
  }
  // The order of the keyboard is the order on the screen.
  const home = wide.matches ? document.querySelector("aside") : $("desk");
  if ($("views").parentElement !== home) home.prepend($("views"));
  logs.refresh();
}

$("views").addEventListener("click", (event) => {
  if (event.target.dataset.view) show(event.target.dataset.view);
});
wide.addEventListener("change", () => show());
show();

// --- What runs

const address = new URL(state.addresses.websocket);
address.host = location.host;
$("address").textContent = address.href;
$("address").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(address.href);
    announce("Copied");
    $("address").dataset.copied = "";
    setTimeout(() => delete $("address").dataset.copied, 1200);
  } catch {
    getSelection().selectAllChildren($("address"));
  }
});

function listStack() {
  const rows = Object.entries(state.addresses);
  for (const one of state.functions) rows.push(["function", `${one.name} — ${one.timeout} s, ${one.memory} MB`]);
  for (const api of state.apis) rows.push(["API", `${api.id} (${api.apiId}), stage ${api.stages.join(", ")}`], ...api.routes.map((route) => ["route", route]));
  for (const table of state.tables) rows.push(["table", table]);
  for (const topic of state.topics) rows.push(["topic", `${topic.id} (${topic.name}) → ${topic.subscribers.join(", ") || "nobody"}`]);
  for (const one of state.schedules) rows.push(["schedule", `${one.id} ${one.when} → ${one.targets.join(", ") || "nobody"}`, fireButton(one.id)]);
  rows.push(["tidings", state.version]);
  let last = "";
  for (const [name, value, button] of rows) {
    $("stack-list").append(h("dt", {}, name === last ? "" : name), h("dd", { class: "mono" }, value, button));
    last = name;
  }
}

/** Fires a schedule now. What comes of it is in the timeline. */
function fireButton(id) {
  const button = h("button", { type: "button", class: "fire", "aria-label": `Fire ${id} now` }, "Fire now");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const answer = await fetch("/_tidings/trigger", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ kind: "schedule", name: id }),
      });
      const { done, message } = await answer.json();
      announce(done ?? message);
      setText(button, answer.ok ? "Fired" : "Failed");
    } catch {
      announce("tidings dev does not answer; is it running?");
      setText(button, "Failed");
    }
    button.disabled = false;
    button.focus();
    setTimeout(() => setText(button, "Fire now"), 1500);
  });
  return button;
}
listStack();

// --- Events of the server

function link(text, tone) {
  setText($("link"), text);
  $("link").dataset.tone = tone;
}

/** How far the timeline has come, and in which run of the server. */
const seen = { run: null, last: 0 };

function follow() {
  const source = new EventSource("/_tidings/events");
  source.addEventListener("hello", (event) => {
    const { run } = JSON.parse(event.data);
    if (run !== seen.run) {
      if (seen.run !== null) timeline.clear();
      Object.assign(seen, { run, last: 0 });
    }
    link("live", "on");
    connections.refresh();
    logs.refresh();
  });
  source.addEventListener("message", (event) => {
    const { missed, events } = JSON.parse(event.data);
    const fresh = events.filter((one) => one.seq > seen.last);
    if (fresh.length === 0) return;
    seen.last = fresh.at(-1).seq;
    for (const one of fresh) connections.see(one);
    timeline.add(fresh, missed);
    logs.refresh();
  });
  source.addEventListener("error", () => {
    link("not running, trying again", "wait");
    // A browser gives up for good when something else answers meanwhile.
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  });
}
follow();

// --- Keyboard

const keys = $("help-keys");
keys.checked = localStorage.getItem("tidings.keys") !== "off";
keys.addEventListener("change", () => localStorage.setItem("tidings.keys", keys.checked ? "on" : "off"));
$("help-open").addEventListener("click", () => $("help").showModal());

const shortcuts = {
  "?": () => $("help").showModal(),
  "/": () => {
    show(wide.matches ? undefined : "timeline");
    $("timeline-find").focus();
  },
  p: () => timeline.pause(),
  x: () => timeline.clear(),
};
VIEWS.forEach((view, index) => {
  shortcuts[index + 1] = () => {
    show(view);
    const first = ["tbody [tabindex='0']", "ol [tabindex='0']", "input, textarea, button"];
    first.map((selector) => $(view).querySelector(selector)).find(Boolean)?.focus();
  };
});

function isWriting(element) {
  return element.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  const target = event.target instanceof Element ? event.target : document.body;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && target.matches("textarea")) {
    event.preventDefault();
    return target.form.requestSubmit();
  }
  if ($("help").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (isWriting(target) && !target.value) target.blur();
    else if (!isWriting(target) && connections.selected) connections.select(null);
    return;
  }
  const run = shortcuts[event.key];
  if (!run || isWriting(target) || !keys.checked) return;
  event.preventDefault();
  run();
});
