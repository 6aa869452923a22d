// Elements, texts and times. Text always goes in as text: nothing here parses HTML.
const SVG = "http://www.w3.org/2000/svg";

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(element.style, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

export const set = (element, ...children) => element.replaceChildren(...children.flat(3).filter(child => child !== null && child !== undefined && child !== false));

const whole = new Intl.NumberFormat("en");
export const count = number => whole.format(number ?? 0);
export const bytes = number => number >= 1 << 30 ? `${(number / (1 << 30)).toFixed(1)} GiB` : `${Math.round(number / (1 << 20))} MiB`;

export function age(ms) {
  if (!Number.isFinite(ms)) return "";
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export const since = time => {
  const at = typeof time === "number" ? time : Date.parse(time);
  return at > 0 ? age(Date.now() - at) : "";
};

export const timeOfDay = ms => new Date(ms).toTimeString().slice(0, 8);

export function clock(time) {
  const at = new Date(typeof time === "number" ? time : Date.parse(time));
  if (Number.isNaN(at.getTime())) return "";
  const today = new Date().toDateString() === at.toDateString();
  const two = number => String(number).padStart(2, "0");
  const hours = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return today ? hours : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${hours.slice(0, 5)}`;
}

/** A text that is an age, kept right by tick(). */
export const ageOf = (time, suffix = "") => el("time", { "data-since": time || "", "data-suffix": suffix, title: time ? new Date(typeof time === "number" ? time : Date.parse(time)).toLocaleString() : null }, since(time) ? since(time) + suffix : "never");

export function tick(root) {
  for (const one of root.querySelectorAll("time[data-since]")) {
    const raw = one.dataset.since;
    const text = since(/^\d+$/.test(raw) ? Number(raw) : raw);
    const wanted = text ? text + one.dataset.suffix : "never";
    if (one.textContent !== wanted) one.textContent = wanted;
  }
}

export const HEALTH = { ready: "Ready", notReady: "Not ready", offline: "Offline" };

export const shape = kind => el("i", { class: `shape ${kind}`, "aria-hidden": "true" });

export const badge = (kind, text) => el("span", { class: `badge ${kind}` }, shape(kind), text);

export const healthBadge = health => badge(health, HEALTH[health] ?? health);

export const deviceKind = state => ({ ok: "ready", online: "ready", offline: "offline", unhealthy: "notReady" })[state] ?? "idle";

export const podKind = phase => ({ Running: "ready", Succeeded: "idle", Pending: "notReady", Failed: "offline" })[phase] ?? "idle";

export function panel(title, body, ...tools) {
  return el("section", { class: "panel", "aria-label": title }, el("header", {}, el("h2", {}, title), ...tools), body);
}

export function empty(title, text, command) {
  return el("div", { class: "empty" },
    svg("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": "1.4", "aria-hidden": "true" },
      svg("path", { d: "M12 2 21 7v10l-9 5-9-5V7z", "stroke-linejoin": "round" }), svg("path", { d: "M3 7l9 5 9-5M12 12v10", "stroke-linejoin": "round" })),
    el("h3", {}, title), el("p", {}, text), command ? el("code", {}, command) : null);
}

export async function get(path, signal) {
  const answer = await fetch(`/api/v1/${path}`, { signal, headers: { accept: "application/json" } });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`cloudcore answered ${answer.status}`);
  return answer.json();
}
