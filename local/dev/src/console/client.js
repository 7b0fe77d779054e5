// A client to try things with: one WebSocket, like those of an application.

import { $, clock, h, setText } from "./dom.js";

/** API Gateway closes a connection that is silent for ten minutes. */
const KEEP_ALIVE = 300000;
/** Messages that are shown. */
const SHOWN = 200;

export class Client {
  constructor(state) {
    this.state = state;
    this.socket = null;
    this.ours = state.registry;
    this.count = 0;
    for (const element of document.querySelectorAll("#client .ours")) element.classList.toggle("absent", !this.ours);
    if (!this.ours) $("client-frame").value = "";
    this.offerPlaces();
    const on = (id, type, run) => $(id).addEventListener(type, (event) => {
      event.preventDefault();
      run();
    });
    on("client-form", "submit", () => this.connect());
    on("client-close", "click", () => this.socket?.close(1000));
    on("client-subscriptions", "submit", () => this.command("subscribe"));
    on("client-unsubscribe", "click", () => this.command("unsubscribe"));
    on("client-frame-form", "submit", () => this.send($("client-frame").value));
    setInterval(() => this.ours && this.isOpen() && this.socket.send('{"action":"ping"}'), KEEP_ALIVE);
  }

  /** Where there are several APIs or stages, one is chosen. */
  offerPlaces() {
    const first = new URL(this.state.addresses.websocket).pathname;
    const several = this.state.apis.length > 1;
    const places = this.state.apis.flatMap((api) => api.stages.map((stage) => [several ? `${api.id}, ${stage}` : stage, `/${api.apiId}/${stage}`]));
    if (places.length < 2) places.splice(0, places.length, [first, first]);
    $("client-where").replaceChildren(...places.map(([text, value]) => h("option", { value }, text)));
    $("client-where-row").classList.toggle("absent", places.length < 2);
  }

  url() {
    // The page may be open under another name of this machine than the one in the ready line.
    const url = new URL($("client-where").value, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.search = $("client-query").value.replace(/^\?/, "");
    if (this.ours) {
      if ($("client-user").value.trim()) url.searchParams.append("user", $("client-user").value.trim());
      for (const topic of $("client-topics").value.split(/\s+/).filter(Boolean)) url.searchParams.append("topic", topic);
    }
    if ($("client-token").value) url.searchParams.append("access_token", $("client-token").value);
    return url;
  }

  connect() {
    if (this.socket) return;
    const protocol = this.ours ? $("client-protocol").value.trim() : "";
    let mine;
    try {
      mine = new WebSocket(this.url(), protocol ? [protocol] : []);
    } catch (error) {
      return this.log("bad", "cannot connect", error.message);
    }
    this.socket = mine;
    this.show("connecting", "wait");
    mine.addEventListener("open", () => {
      this.show($("client-user").value && this.ours ? `connected as ${$("client-user").value.trim()}` : "connected", "on");
      this.log("note", "connected", mine.protocol);
    });
    mine.addEventListener("message", (event) => this.log("received", "received", event.data));
    mine.addEventListener("close", (event) => {
      const opened = $("client-state").dataset.tone === "on";
      this.socket = null;
      this.show("not connected", "off");
      if (opened) this.log("note", `closed ${event.code}`, event.reason);
      else this.log("bad", "refused", "The timeline shows the answer's status and what the functions said.");
    });
  }

  isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  show(text, tone) {
    setText($("client-state"), text);
    $("client-state").dataset.tone = tone;
    const open = tone === "on";
    $("client-fields").hidden = tone !== "off";
    $("client-connect").hidden = tone !== "off";
    $("client-close").hidden = tone === "off";
    $("client-subscriptions").hidden = !open;
    $("client-frame-form").hidden = !open;
  }

  command(action) {
    const topic = $("client-topic").value.trim();
    if (topic) this.send(JSON.stringify({ action, topic, id: ++this.count }));
    else $("client-topic").focus();
  }

  send(text) {
    if (!this.isOpen()) return;
    this.socket.send(text);
    this.log("sent", "sent", text);
  }

  log(tone, label, text) {
    const list = $("client-log");
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
    list.append(h("li", { class: tone, title: clock(Date.now()) }, h("span", { class: "kind" }, label), h("span", { class: "mono" }, text)));
    while (list.childElementCount > SHOWN) list.firstElementChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}
