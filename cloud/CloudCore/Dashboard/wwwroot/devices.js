import { el, count, badge, deviceKind, empty, get } from "./dom.js";
import { VirtualTable } from "./table.js";

export async function devices({ signal }) {
  let all = (await get("devices", signal)).devices;
  let text = "";
  const caption = el("span", { class: "dim small", role: "status" });
  const table = new VirtualTable({
    label: "Devices", sort: "name", href: one => `/devices/${encodeURIComponent(one.s)}/${encodeURIComponent(one.n)}`,
    columns: [
      { key: "name", title: "Device", width: "minmax(120px, 1.6fr)", value: one => one.n },
      { key: "state", title: "State", width: "minmax(112px, .9fr)", value: one => one.t || "~", cell: one => badge(deviceKind(one.t), one.t || "not reported") },
      { key: "node", title: "Node", width: "minmax(80px, 1fr)", value: one => one.o, narrowHide: true },
      { key: "model", title: "Model", width: "minmax(80px, 1fr)", value: one => one.m, narrowHide: true },
      { key: "protocol", title: "Protocol", width: "90px", value: one => one.p, narrowHide: true },
      { key: "values", title: "Values", width: "minmax(120px, 2.2fr)", narrowHide: true, cell: one => el("span", { class: "dim num" }, one.v.join(" · ")) },
    ],
    empty: () => all.length === 0 ? empty("No devices yet", "A device appears here when a Device object is applied.", "kubectl apply -f docs/examples/devices/") : empty("No device matches", "No device has this text in its name, node, model or state."),
  });
  function draw() {
    const found = all.filter(one => text.split(/\s+/).every(word => `${one.s}/${one.n} ${one.o} ${one.m} ${one.p} ${one.t}`.toLowerCase().includes(word)));
    table.set(found);
    caption.textContent = found.length === all.length ? `${count(found.length)} devices` : `${count(found.length)} of ${count(all.length)} devices`;
  }
  const search = el("input", { type: "search", placeholder: "Search device, node, model", "aria-label": "Search devices", oninput: event => { text = event.target.value.trim().toLowerCase(); draw(); } });
  return {
    element: el("div", {}, el("div", { class: "page-head" }, el("div", { class: "grow" }, el("h1", {}, "Devices"), caption), el("div", { class: "filters" }, search)), el("section", { class: "panel", "aria-label": "Device list" }, table.element)),
    shown: () => { draw(); table.layout(); }, topics: { devices: true }, on: { devices: data => { all = data.devices; draw(); } }, close: () => table.close(),
  };
}
