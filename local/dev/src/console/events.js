// What an event looks like: one line of the timeline, and its details when it is opened.

import { clock, duration, h, pretty, size } from "./dom.js";

const CLOSES = { 1000: "normal", 1001: "going away", 1002: "protocol error", 1003: "binary frame", 1005: "no code", 1006: "lost", 1009: "too large" };

/** `{label, tone, what, meta, bad}` of an event; `label` says what it is, `what` what is special about it. */
export function describe(event, names) {
  return kinds[event.kind](event, names);
}

const tag = (text) => h("span", { class: "tag" }, text);
const badge = (text, bad) => h("span", { class: bad ? "badge bad" : "badge" }, text);
const oneLine = (text) => text.slice(0, 400).replace(/\s+/g, " ");

const kinds = {
  handshake(event) {
    const bad = event.status !== 101;
    const query = event.query.map(([name, value]) => `${name}=${value}`).join("&");
    const what = [badge(String(event.status), bad), h("span", { class: "mono" }, query ? `${event.path}?${query}` : event.path)];
    return { label: bad ? "refused" : "connect", tone: bad ? "bad" : "connect", what, meta: event.durationMs ? duration(event.durationMs) : "" };
  },
  frame(event) {
    const what = [event.route ? tag(event.route) : null, event.error ? badge("error", true) : null, h("span", { class: "mono" }, oneLine(event.body.text))];
    return { label: event.direction, tone: event.error ? "bad" : event.direction, what, meta: size(event.body.bytes) };
  },
  invocation(event, names) {
    const { outcome } = event;
    const bad = outcome && outcome.status !== "ok";
    const what = [h("b", {}, names(event.function)), tag(event.route && event.route !== event.event ? `${event.event} ${event.route}` : event.event)];
    if (bad) what.push(badge(outcome.status, true), h("span", { class: "mono" }, oneLine(outcome.answer.text)));
    return { label: "invoke", tone: bad ? "bad" : "invoke", what, meta: outcome ? duration(outcome.durationMs) : "running" };
  },
  push(event) {
    const bad = event.status >= 400;
    const what = [tag(event.method), badge(String(event.status), bad), h("span", { class: "mono" }, oneLine(event.body?.text ?? ""))];
    return { label: "push", tone: bad ? "bad" : "push", what, meta: event.body ? size(event.body.bytes) : "" };
  },
  bus(event) {
    const what = [h("b", {}, event.detailType), tag(event.source), event.rules.length ? event.rules.join(", ") : "matches no rule"];
    return { label: "event", tone: "bus", what, meta: size(event.body.bytes) };
  },
  topic(event) {
    const what = [h("b", {}, event.topic), badge(event.subscribers.length ? `${event.subscribers.length} ${event.subscribers.length === 1 ? "subscriber" : "subscribers"}` : "nobody", event.subscribers.length === 0), h("span", { class: "mono" }, oneLine(event.subject ?? event.body.text))];
    return { label: "sns", tone: "topic", what, meta: size(event.body.bytes) };
  },
  close(event) {
    const bad = ![1000, 1001, 1005].includes(event.code);
    const reason = event.reason.text || CLOSES[event.code] || "";
    return { label: "close", tone: bad ? "bad" : "close", what: [badge(String(event.code), bad), `${reason} · by the ${event.by}`], meta: "" };
  },
};

/** The opened event: facts, texts and log lines. */
export function details(event, names) {
  const facts = [["Connection", event.connection], ["At", `${new Date(event.at).toLocaleDateString()} ${clock(event.at)}`]];
  const parts = [];
  if (event.kind === "handshake") {
    facts.push(["Address", event.sourceIp], ["Offered", event.offered.join(", ")], ["Chosen", event.subprotocol]);
    facts.push(...event.query.map(([name, value]) => [`?${name}`, value]), ...event.headers);
  }
  if (event.kind === "frame") facts.push(["Route", event.route ?? "none fits"]);
  if (event.kind === "push") facts.push(["Answer", String(event.status)]);
  if (event.kind === "bus") facts.push(["Bus", event.bus], ["Source", event.source], ["Rules", event.rules.join(", ") || "none matches"]);
  if (event.kind === "topic") facts.push(["Topic", event.topic], ["Subject", event.subject], ["Delivery", event.subscribers.join(", ") || "reaches nobody"], ["Filtered", event.filtered ? `kept from ${event.filtered}` : ""]);
  if (event.kind === "close") facts.push(["Code", String(event.code)], ["Reason", event.reason.text], ["Closed by", event.by]);
  if (event.body) parts.push(text(event.body));
  if (event.kind === "invocation") {
    const { outcome } = event;
    facts.push(["Function", `${names(event.function)} (${event.function})`], ["Event", size(event.bytes)]);
    if (outcome) {
      facts.push(["Request", outcome.requestId]);
      parts.push(h("h3", {}, "Log"), log(outcome.log.text));
      if (outcome.answer.text) parts.push(h("h3", {}, outcome.status === "ok" ? "Answer" : "Error"), text(outcome.answer));
    }
  }
  const list = facts.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", { class: "mono" }, value)]);
  return [h("dl", { class: "facts" }, ...list.flat()), ...parts];
}

function text(body) {
  const shown = h("pre", { tabIndex: 0 }, body.cut ? body.text : pretty(body.text));
  return body.cut ? h("div", {}, shown, h("p", { class: "hint" }, `The beginning of ${size(body.bytes)}.`)) : shown;
}

/** Log lines; of structured ones the level, the message and the fields. */
function log(lines) {
  const own = lines.split("\n").filter((line) => line && !/^(START|END|REPORT) RequestId: /.test(line));
  if (own.length === 0) return h("p", { class: "hint" }, "It wrote nothing.");
  return h("ol", { class: "log" }, ...own.map(line));
}

function line(text) {
  let object;
  try {
    object = JSON.parse(text);
  } catch {
    return h("li", {}, text);
  }
  const fields = { ...object, ...object?.fields };
  const message = fields.message ?? fields.msg;
  if (message === undefined) return h("li", {}, text);
  const hidden = ["fields", "message", "msg", "level", "timestamp", "time", "target", "span", "spans", "threadId"];
  const rest = Object.entries(fields).filter(([name]) => !hidden.includes(name));
  const value = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const level = String(fields.level ?? "").toUpperCase();
  return h("li", {}, h("span", { class: /ERROR|WARN/.test(level) ? "level bad" : "level" }, level), h("span", {}, String(message)), h("span", { class: "soft" }, rest.map(([name, of]) => `${name}=${value(of)}`).join(" ")));
}
