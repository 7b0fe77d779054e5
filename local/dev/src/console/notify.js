// The form that sends a notification, and the notifier's answer.

import { $, announce, duration, h } from "./dom.js";

const KINDS = ["topic", "user", "connection", "everyone"];

export class Notify {
  constructor(state) {
    $("notify-form").hidden = !state.notifier;
    $("notify-none").hidden = Boolean(state.notifier);
    this.add("topic", "orders/42");
    $("notify-add").addEventListener("click", () => this.add("topic", "").querySelector("input").focus());
    $("notify-data").addEventListener("input", () => this.check());
    $("notify-kind").addEventListener("change", () => this.check());
    $("notify-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  /** Puts one target in place of all others. */
  aim(kind, name) {
    $("notify-targets").replaceChildren();
    this.add(kind, name);
    $("notify-data").focus();
  }

  add(kind, name) {
    const choice = h("select", { "aria-label": "Kind of target" }, ...KINDS.map((value) => h("option", { value }, value)));
    const input = h("input", { class: "mono", value: name, autocomplete: "off", spellcheck: false });
    const remove = h("button", { type: "button", class: "quiet", "aria-label": "Remove this target", title: "Remove" }, "×");
    const row = h("div", { class: "target" }, choice, input, remove);
    const adapt = () => {
      input.disabled = choice.value === "everyone";
      input.placeholder = { topic: "orders/42", user: "alice", connection: "id", everyone: "" }[choice.value];
      input.setAttribute("aria-label", input.disabled ? "Everyone" : `Name of the ${choice.value}`);
      if (input.disabled) input.value = "";
      else input.setAttribute("list", `known-${choice.value}s`);
    };
    choice.value = kind;
    adapt();
    choice.addEventListener("change", adapt);
    input.addEventListener("input", () => input.removeAttribute("aria-invalid"));
    remove.addEventListener("click", () => {
      if ($("notify-targets").childElementCount > 1) row.remove();
    });
    $("notify-targets").append(row);
    return row;
  }

  targets() {
    return [...$("notify-targets").children].map((row) => {
      const [kind, input] = row.querySelectorAll("select, input");
      if (kind.value === "everyone") return "everyone";
      if (!input.value.trim()) {
        input.setAttribute("aria-invalid", "true");
        input.focus();
        throw new Error(`Name the ${kind.value}.`);
      }
      return { [kind.value]: input.value.trim() };
    });
  }

  data() {
    const text = $("notify-data").value;
    const kind = $("notify-kind").value;
    if (kind !== "json") return { data: text, dataType: kind };
    try {
      return { data: JSON.parse(text) };
    } catch (error) {
      throw new Error(text.trim() ? `The data is not JSON: ${place(error.message, text)}` : "Give any JSON, or null.");
    }
  }

  /** Checks the data while it is written. */
  check() {
    try {
      this.data();
      this.complain("");
      return true;
    } catch (error) {
      this.complain(error.message);
      return false;
    }
  }

  complain(text, inData = true) {
    $("notify-error").hidden = !text;
    $("notify-error").textContent = text;
    if (text && inData) $("notify-data").setAttribute("aria-invalid", "true");
    else $("notify-data").removeAttribute("aria-invalid");
  }

  async send() {
    let notification;
    try {
      if (!this.check()) return $("notify-data").focus();
      const targets = this.targets();
      const type = $("notify-type").value.trim();
      notification = { to: targets.length === 1 ? targets[0] : targets, ...(type && { type }), ...this.data() };
    } catch (error) {
      return this.complain(error.message, false);
    }
    $("notify-send").disabled = true;
    try {
      const answer = await fetch("/_tidings/notify", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(notification),
      });
      this.show(answer.ok, await answer.json());
    } catch {
      this.show(false, { message: "tidings dev does not answer; is it running?" });
    } finally {
      $("notify-send").disabled = false;
    }
  }

  show(ok, reply) {
    const failed = !ok || reply.failed;
    const answer = ok ? reply.answer : reply.message;
    const headline = failed ? (answer?.errorMessage ?? (typeof answer === "string" ? answer : "The notifier failed.")) : summary(answer);
    const box = $("notify-reply");
    box.className = failed ? "bad" : "good";
    box.replaceChildren(h("p", { class: "headline" }, headline, reply.durationMs ? h("span", { class: "soft" }, ` in ${duration(reply.durationMs)}`) : null));
    if (ok) box.append(h("details", {}, h("summary", {}, "The notifier's answer"), h("pre", { tabIndex: 0 }, JSON.stringify(answer, null, 2))));
    announce(headline);
  }
}

/** What our notifier reports, in one sentence; anything else is only named. */
function summary(report) {
  if (typeof report?.audience !== "number") return "The notifier answered";
  const rest = ["gone", "pending", "slow", "failed", "throttled", "expired"].filter((name) => report[name] > 0);
  const more = rest.map((name) => `, ${report[name]} ${name}`).join("");
  return report.audience === 0 ? "Nobody is in this audience" : `Delivered to ${report.delivered} of ${report.audience}${more}`;
}

/** Where the parser stopped, as a line and a column where the browser tells. */
function place(message, text) {
  const position = /position (\d+)/.exec(message);
  if (!position) return message;
  const before = text.slice(0, Number(position[1])).split("\n");
  return `look at line ${before.length}, column ${before.at(-1).length + 1}.`;
}
