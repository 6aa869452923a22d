import { el, count, ageOf, healthBadge, panel, empty, HEALTH } from "./dom.js";
import { Fleet } from "./fleet.js";
import { VirtualTable } from "./table.js";

export async function nodes({ signal }) {
  const fleet = new Fleet();
  await fleet.load(signal);
  let health = "";
  let text = "";
  const caption = el("span", { class: "dim small", role: "status" });
  const order = { offline: 0, notReady: 1, ready: 2 };
  const table = new VirtualTable({
    label: "Nodes", sort: "name", href: node => `/nodes/${encodeURIComponent(node.n)}`,
    columns: [
      { key: "name", title: "Name", width: "minmax(120px, 2.2fr)", value: node => node.n },
      { key: "health", title: "Health", width: "minmax(104px, 1fr)", value: node => order[node.h], cell: node => healthBadge(node.h) },
      { key: "group", title: "NodeGroup", width: "minmax(80px, 1.2fr)", value: node => node.g ?? "", narrowHide: true },
      { key: "pods", title: "Pods", width: "60px", value: node => node.p, cell: node => count(node.p), class: "end num" },
      { key: "link", title: "Link", width: "minmax(120px, 1.1fr)", value: node => node.t ?? 0, narrowHide: true, cell: node => node.t ? el("span", { class: "dim" }, node.l ? "connected " : "away ", ageOf(node.t)) : el("span", { class: "dim" }, "elsewhere") },
      { key: "version", title: "Version", width: "minmax(90px, 1fr)", value: node => node.v, narrowHide: true, cell: node => el("span", { class: "mono dim" }, node.v) },
    ],
    empty: () => fleet.nodes.size === 0 ? empty("No edge node has joined yet", "Get a token with edgectl gettoken and join a node.", "edgectl join --cloudcore-ipport=HOST:10000 --token=TOKEN") : empty("No node matches", "No node has this text in its name, group, version or labels."),
  });

  function matches(node) {
    if (health && node.h !== health) return false;
    return text.split(/\s+/).every(word => node.n.toLowerCase().includes(word) || (node.g ?? "").toLowerCase().includes(word) || node.v.toLowerCase().includes(word)
      || (node.r ?? "").toLowerCase().includes(word) || Object.entries(node.a).some(([key, value]) => `${key}=${value}`.toLowerCase().includes(word)));
  }

  function draw() {
    const found = fleet.list.filter(matches);
    table.set(found);
    caption.textContent = found.length === fleet.nodes.size ? `${count(found.length)} nodes` : `${count(found.length)} of ${count(fleet.nodes.size)} nodes`;
    for (const chip of chips) chip.lastChild.textContent = count(fleet.list.filter(node => node.h === chip.dataset.health).length);
  }

  const chips = Object.entries(HEALTH).map(([kind, label]) => el("button", {
    type: "button", class: `chip ${kind}`, "aria-pressed": "false", "data-health": kind,
    onclick: event => {
      health = health === kind ? "" : kind;
      for (const chip of chips) chip.setAttribute("aria-pressed", String(chip.dataset.health === health));
      event.currentTarget.focus();
      draw();
    },
  }, el("i", { class: `shape ${kind}`, "aria-hidden": "true" }), label, el("b", { class: "num" }, "0")));
  const search = el("input", { type: "search", placeholder: "Search name, group, label=value", "aria-label": "Search nodes", oninput: event => { text = event.target.value.trim().toLowerCase(); table.scroll.scrollTop = 0; draw(); } });

  let due = 0;
  return {
    element: el("div", {}, el("div", { class: "page-head" }, el("div", { class: "grow" }, el("h1", {}, "Nodes"), caption), el("div", { class: "filters" }, search, chips)), el("section", { class: "panel", "aria-label": "Node list" }, table.element)),
    shown: () => { draw(); table.layout(); }, topics: { nodes: fleet.order },
    on: { nodes: async change => { await fleet.apply(change, signal); due ||= setTimeout(() => { due = 0; draw(); }, 500); } },
    close: () => { clearTimeout(due); table.close(); },
  };
}
