// Small helpers: making elements, and writing times, sizes and JSON for people.

export const $ = (id) => document.getElementById(id);

/** Makes an element. Properties are set as they are, `class`, `data-…`, `aria-…` and `role` as attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (/^(class|for|role|list|data-|aria-)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** Sets a text only if it is another, so that nothing is laid out again for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const pad = (number, width = 2) => String(number).padStart(width, "0");

/** The time of day with milliseconds. */
export function clock(at) {
  const date = new Date(at);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

/** A span of time in its two largest units. */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${pad(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} m`;
}

/** How long something took. */
export function duration(milliseconds) {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return `${(bytes / 1000).toFixed(bytes < 10000 ? 1 : 0)} kB`;
}

/** JSON with indents; any other text as it is. */
export function pretty(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}

/** Says something to those who cannot see the page. */
export function announce(text) {
  setText($("announcement"), "");
  requestAnimationFrame(() => setText($("announcement"), text));
}

/** Calls `run` soon, never twice at once, and never sooner than `pause()` milliseconds after it has ended. */
export function throttled(run, soon, pause) {
  let timer = null;
  let again = false;
  let last = -Infinity;
  const call = () => {
    again = timer !== null;
    if (again) return;
    timer = setTimeout(async () => {
      // What is asked for from here on may be missing in the answer.
      again = false;
      await run();
      last = performance.now();
      timer = null;
      if (again) call();
    }, Math.max(soon, last + pause() - performance.now()));
  };
  return call;
}

/** Makes `element` the one in `list` that is reached with Tab. */
export function tabStop(list, element) {
  for (const other of list.querySelectorAll("button[tabindex='0'], summary[tabindex='0']")) other.tabIndex = -1;
  if (element) element.tabIndex = 0;
}

/** Moves the focus from row to row with the arrow keys; only one row at a time is reached with Tab. */
export function roving(list, rows, target) {
  list.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.target.closest("input, textarea, pre")) return;
    const all = rows();
    const now = all.findIndex((row) => row.contains(event.target));
    if (now < 0) return;
    const next = all[Math.min(all.length - 1, Math.max(0, now + steps[event.key]))];
    event.preventDefault();
    target(next).focus();
  });
  list.addEventListener("focusin", (event) => {
    if (event.target.hasAttribute("tabindex")) tabStop(list, event.target);
  });
}
