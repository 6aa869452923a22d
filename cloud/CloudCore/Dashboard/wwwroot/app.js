// The frame: which view, the theme, whether we hear from cloudcore.
import { el, set, tick, empty } from "./dom.js";
import { listen } from "./stream.js";
import { overview } from "./overview.js";
import { nodes } from "./nodes.js";
import { node } from "./node.js";
import { devices } from "./devices.js";
import { device } from "./device.js";
import { services } from "./services.js";
import { events } from "./events.js";

const main = document.getElementById("main");
const live = document.getElementById("live");
const routes = [
  [/^\/$/, "overview", "Overview", overview], [/^\/nodes$/, "nodes", "Nodes", nodes], [/^\/nodes\/([^/]+)$/, "nodes", "Node", node],
  [/^\/devices$/, "devices", "Devices", devices], [/^\/devices\/([^/]+)\/([^/]+)$/, "devices", "Device", device],
  [/^\/services$/, "services", "Services", services], [/^\/events$/, "events", "Events", events],
];

let leave = null;
let turn = 0;

function state(name) {
  live.dataset.state = name;
  const text = { live: "live", lost: "connection lost", connecting: "connecting" }[name];
  const label = live.querySelector(".live-text");
  if (label.textContent !== text) label.textContent = text;
}

async function show() {
  leave?.();
  leave = null;
  const mine = ++turn;
  const path = location.hash.slice(1) || "/";
  const [match, view, title, make] = routes.map(([pattern, ...rest]) => [pattern.exec(path), ...rest]).find(route => route[0]) ?? [[], "", "Nothing here", () => ({ element: empty("There is no such page", "Choose one of the views above.") })];
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  const parts = match.slice(1).map(decodeURIComponent);
  document.title = `${parts.at(-1) ?? title} · Edge`;
  let made;
  const abort = new AbortController();
  leave = () => abort.abort();
  try {
    made = await make({ parts, signal: abort.signal });
  } catch (error) {
    if (abort.signal.aborted) return;
    state("lost");
    set(main, el("div", { class: "notice", role: "alert" }, `cloudcore does not answer (${error.message}). This page tries again in 5 s.`));
    const timer = setTimeout(show, 5000);
    leave = () => clearTimeout(timer);
    return;
  }
  if (mine !== turn) { made.close?.(); return; }
  set(main, made.element);
  main.dataset.shown = path;
  made.shown?.();
  const stop = made.topics ? listen(made.topics, made.on, state) : null;
  const timer = setInterval(() => tick(main), 1000);
  leave = () => { stop?.(); clearInterval(timer); made.close?.(); };
}

addEventListener("hashchange", async () => { await show(); main.focus({ preventScroll: true }); scrollTo(0, 0); });

document.querySelector(".skip").addEventListener("click", event => { event.preventDefault(); main.focus(); });

const dark = matchMedia("(prefers-color-scheme: dark)");
const button = document.getElementById("theme");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
const label = () => button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
button.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("edge-theme", document.documentElement.dataset.theme); } catch { /* kept for this page only */ }
  label();
  document.dispatchEvent(new Event("edge-theme"));
});
dark.addEventListener("change", label);
label();
show();
