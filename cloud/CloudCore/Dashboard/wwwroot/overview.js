import { el, svg, set, count, bytes, age, shape, panel, empty, get, HEALTH } from "./dom.js";
import { Fleet } from "./fleet.js";
import { FleetMap } from "./map.js";
import { drawSpark } from "./chart.js";

const sum = counts => Object.values(counts).reduce((a, b) => a + b, 0);

function tile(label, parts, href) {
  const total = parts.reduce((all, part) => all + part[2], 0);
  return el("a", { class: "panel tile", href, style: { color: "inherit" } },
    el("div", { class: "label" }, label), el("div", { class: "value" }, count(total)),
    el("div", { class: "bar", "aria-hidden": "true" }, parts.filter(part => part[2] > 0).map(part => el("i", { class: part[0], style: { flex: String(part[2]) } }))),
    el("div", { class: "legend" }, total === 0 ? el("span", {}, "none yet") : parts.filter(part => part[2] > 0).map(part => el("span", { class: part[0] }, shape(part[0]), el("b", {}, count(part[2])), part[1]))));
}

export async function overview({ signal }) {
  const fleet = new Fleet();
  const [first] = await Promise.all([get("overview", signal), fleet.load(signal)]);
  const tiles = el("div", { class: "tiles" });
  const queues = el("div", { class: "queues" });
  const facts = el("p", { class: "dim small" });
  const map = new FleetMap({ open: name => { location.hash = `/nodes/${encodeURIComponent(name)}`; } });
  const choice = el("select", { "aria-label": "Group nodes by" });
  const mapBody = el("div", { class: "body" });
  const legend = el("div", { class: "legend", style: { margin: "0" } }, Object.entries(HEALTH).map(([kind, text]) => el("span", { class: kind }, shape(kind), text)));

  const rates = [["acks", "Objects confirmed"], ["upstream", "Messages from edges"], ["reports", "Device reports"]].map(([key, label]) => ({
    key, values: [], spark: svg("svg", { class: "spark chart" }), value: el("div", { class: "value" }, "0"), label,
  }));
  let before = null;

  function figures(data) {
    const { nodes, pods, devices, hub, totals, process } = data;
    const others = sum(devices) - (devices.ok ?? 0) - (devices.online ?? 0) - (devices.offline ?? 0) - (devices.unhealthy ?? 0);
    set(tiles,
      tile("Nodes", [["ready", "ready", nodes.ready ?? 0], ["notReady", "not ready", nodes.notReady ?? 0], ["offline", "offline", nodes.offline ?? 0]], "#/nodes"),
      tile("Pods", [["ready", "running", pods.Running ?? 0], ["notReady", "pending", pods.Pending ?? 0], ["offline", "failed", pods.Failed ?? 0], ["idle", "other", (pods.Succeeded ?? 0) + (pods.Unknown ?? 0)]], "#/nodes"),
      tile("Devices", [["ready", "online", (devices.ok ?? 0) + (devices.online ?? 0)], ["notReady", "unhealthy", devices.unhealthy ?? 0], ["offline", "offline", devices.offline ?? 0], ["idle", "not reported", others]], "#/devices"),
      el("div", { class: "panel tile" }, el("div", { class: "label" }, "Connected here"), el("div", { class: "value" }, count(hub.sessions), el("small", {}, hub.sessions === 1 ? "session" : "sessions")),
        el("div", { class: "bar", "aria-hidden": "true" }, el("i", { class: hub.inFlight > 0 ? "notReady" : "ready", style: { flex: "1" } })),
        el("div", { class: "legend" }, el("span", {}, el("b", {}, count(hub.inFlight)), "in flight"), el("span", {}, el("b", {}, count(hub.objects)), "queued"))));
    set(queues, [["In flight", hub.inFlight], ["Objects queued", hub.objects], ["Messages queued", hub.messages], ["Requests of edges", hub.upstream], ["Handshakes waiting", hub.admissions], ["Open streams", hub.streams], ["Sent again", totals.resends], ["Refused by edges", totals.refusals], ["Lost to full queues", totals.drops]]
      .map(([label, value]) => el("div", {}, el("div", { class: "value" }, count(value)), el("div", { class: "label" }, label))));
    facts.textContent = `cloudcore ${process.version} · up ${age(Date.now() - process.startedMs)} · ${bytes(process.memory)} of memory`;
    const now = performance.now();
    for (const rate of rates) {
      if (before) {
        const perSecond = Math.max(0, (totals[rate.key] - before.totals[rate.key]) / Math.max(.2, (now - before.at) / 1000));
        rate.values.push(perSecond);
        if (rate.values.length > 120) rate.values.shift();
        rate.value.textContent = `${perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond))} /s`;
      }
      drawSpark(rate.spark, rate.values.length > 1 ? rate.values : [0, 0]);
    }
    before = { totals, at: now };
  }

  function draw() {
    const options = [["group", "NodeGroup"], ["health", "health"], ["", ""], ...fleet.groupings().map(key => [key, key])];
    if (choice.options.length !== options.length) {
      const kept = choice.value || (fleet.list.some(node => node.g) ? "group" : "");
      set(choice, options.map(([value, text]) => el("option", { value }, text ? `by ${text}` : "ungrouped")));
      choice.value = choice.options.length && options.some(option => option[0] === kept) ? kept : "";
    }
    if (fleet.nodes.size === 0) {
      set(mapBody, empty("No edge node has joined yet", "A node appears here as soon as it has enrolled. Get a token, and on the node run:", "edgectl join --cloudcore-ipport=HOST:10000 --token=TOKEN"));
      return;
    }
    if (!map.element.isConnected) set(mapBody, map.element);
    map.set(fleet.groups(choice.value));
  }

  choice.addEventListener("change", () => { choice.dataset.chosen = "1"; draw(); });
  figures(first);
  const element = el("div", { class: "stack" },
    el("div", { class: "page-head", style: { marginBottom: "0" } }, el("h1", { class: "grow" }, "Overview"), facts), tiles,
    panel("Fleet map", mapBody, legend, choice),
    el("div", { class: "columns" },
      panel("Traffic", el("div", { class: "body rates" }, rates.map(rate => el("div", {}, el("div", { class: "label" }, rate.label), rate.value, rate.spark)))),
      panel("Queues and losses", el("div", { class: "body" }, queues))));
  draw();
  let due = 0;
  return {
    element, shown: draw, topics: { nodes: fleet.order },
    on: {
      overview: figures,
      nodes: async change => {
        await fleet.apply(change, signal);
        // A storm of changes is drawn four times a second.
        due ||= setTimeout(() => { due = 0; draw(); }, 250);
      },
    },
    close: () => { clearTimeout(due); map.close(); },
  };
}
