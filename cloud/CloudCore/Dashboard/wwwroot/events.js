import { el, set, count, clock, badge, empty } from "./dom.js";

const MOST = 500;

export function events() {
  const all = new Map();
  let text = "";
  let onlyWarnings = false;
  let isFirst = true;
  const list = el("div", { role: "log", "aria-label": "Events", "aria-live": "off" });
  const caption = el("span", { class: "dim small", role: "status" });
  const link = one => one.kind === "Node" ? `#/nodes/${encodeURIComponent(one.name)}` : one.kind === "Device" ? `#/devices/${encodeURIComponent(one.namespace)}/${encodeURIComponent(one.name)}` : null;

  function draw(fresh = new Set()) {
    const found = [...all.values()].filter(one => (!onlyWarnings || one.type === "Warning") && text.split(/\s+/).every(word => `${one.reason} ${one.kind} ${one.namespace}/${one.name} ${one.message} ${one.source}`.toLowerCase().includes(word)))
      .sort((a, b) => a.time < b.time ? 1 : -1);
    caption.textContent = `${count(found.length)} events, newest first`;
    set(list, found.length === 0 ? empty(all.size === 0 ? "No events" : "No event matches", all.size === 0 ? "Kubernetes Events appear here as they happen." : "No event has this text.") : found.slice(0, 300).map(one => {
      const about = [el("span", { class: "dim" }, `${one.kind} `), one.namespace && one.kind !== "Node" ? `${one.namespace}/${one.name}` : one.name];
      return el("div", { class: `event${fresh.has(one.uid) ? " fresh" : ""}` }, el("time", { class: "dim num" }, clock(one.time)), badge(one.type === "Warning" ? "notReady" : "idle", one.type),
        el("div", { class: "what" }, el("b", {}, one.reason), " ", link(one) ? el("a", { href: link(one) }, about) : about, one.count > 1 ? el("span", { class: "dim num" }, ` ×${count(one.count)}`) : null), el("p", {}, one.message));
    }));
  }

  const search = el("input", { type: "search", placeholder: "Search events", "aria-label": "Search events", oninput: event => { text = event.target.value.trim().toLowerCase(); draw(); } });
  const warnings = el("button", { type: "button", class: "chip notReady", "aria-pressed": "false", onclick: () => { onlyWarnings = !onlyWarnings; warnings.setAttribute("aria-pressed", String(onlyWarnings)); draw(); } }, el("i", { class: "shape notReady", "aria-hidden": "true" }), "Warnings only");
  draw();
  return {
    element: el("div", {}, el("div", { class: "page-head" }, el("div", { class: "grow" }, el("h1", {}, "Events"), caption), el("div", { class: "filters" }, search, warnings)), el("section", { class: "panel", "aria-label": "Event stream" }, list)),
    topics: { events: true },
    on: {
      events: batch => {
        for (const one of batch) all.set(one.uid, one);
        if (all.size > MOST) for (const [uid] of [...all].sort((a, b) => a[1].time < b[1].time ? -1 : 1).slice(0, all.size - MOST)) all.delete(uid);
        draw(isFirst ? new Set() : new Set(batch.map(one => one.uid)));
        isFirst = false;
      },
    },
  };
}
