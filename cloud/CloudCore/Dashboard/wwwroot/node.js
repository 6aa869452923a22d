import { el, set, count, ageOf, clock, badge, healthBadge, shape, podKind, deviceKind, panel, empty, get, HEALTH } from "./dom.js";

const REASONS = {
  PeerClosed: "the node closed the link", LinkBroke: "the link broke", Silent: "nothing was heard in time", Replaced: "the node connected again", QueueFull: "too many objects waited",
  Stopping: "cloudcore stopped", Failed: "cloudcore met a defect", Moved: "the node went to another cloudcore", NodeDeleted: "the node was deleted",
};

const fact = (name, value) => value && value.length !== 0 ? [el("dt", {}, name), el("dd", {}, value)] : null;
const isGood = one => (one.type === "Ready") === (one.status === "True");

function rows(columns, items, cells, label) {
  return el("div", { class: "table", role: "table", "aria-label": label, style: { "--cols": "" } },
    el("div", { class: "head", role: "row" }, columns.map(([title, , hide]) => el("div", { role: "columnheader", class: hide }, title))),
    items.map(item => el("div", { class: "row", role: "row" }, cells(item).map((cell, at) => el("div", { role: "cell", class: columns[at][2] }, cell)))));
}

function widths(element, columns) {
  const narrow = matchMedia("(max-width: 640px)").matches;
  element.style.setProperty("--cols", columns.filter(column => !narrow || !column[2]?.includes("narrow-hide")).map(column => column[1]).join(" "));
  return element;
}

export async function node({ parts: [name], signal }) {
  const element = el("div", {});
  function draw(data) {
    if (!data) {
      set(element, el("div", { class: "panel" }, empty("There is no such node", `The cluster has no edge node called ${name}.`)));
      return;
    }
    const kept = scrollY;
    const { session } = data;
    const podColumns = [["Name", "minmax(120px, 2fr)"], ["Phase", "minmax(104px, 1fr)"], ["Ready", "52px", "end num"], ["Restarts", "64px", "end num narrow-hide"], ["IP", "minmax(90px, 1fr)", "narrow-hide"], ["Age", "60px", "end narrow-hide"]];
    const deviceColumns = [["Device", "minmax(120px, 1.5fr)"], ["State", "minmax(104px, 1fr)"], ["Values", "minmax(100px, 2fr)", "narrow-hide"]];
    set(element,
      el("div", { class: "page-head" }, el("div", { class: "grow" }, el("a", { class: "crumb", href: "#/nodes" }, "← Nodes"), el("h1", {}, data.name)),
        el("div", { class: "filters" }, data.cordoned ? badge("idle", "Cordoned") : null, healthBadge(data.health))),
      el("div", { class: "stack" },
        el("div", { class: "columns" },
          panel("Node", el("div", { class: "body" }, el("dl", { class: "facts" }, fact("Reason", data.health !== "ready" ? data.reason : ""), fact("NodeGroup", data.group), fact("Address", data.address), fact("Version", data.version), fact("Runtime", data.runtime),
            fact("Platform", data.platform), fact("Capacity", [data.cpu ? `${data.cpu} CPU` : "", data.memory].filter(Boolean).join(" · ")), fact("Joined", data.created ? ageOf(data.created, " ago") : ""),
            fact("Labels", Object.entries(data.labels).map(([key, value]) => el("div", { class: "mono small" }, `${key}=${value}`)))))),
          panel("Session", session
            ? el("div", {}, el("div", { class: "body" }, el("dl", { class: "facts" }, fact("Link", ["connected for ", ageOf(session.since)]), fact("Wire", session.wire === "Edge" ? "Edge" : "KubeEdge (stock)"), fact("In flight", count(session.inFlight)), fact("Queue", `${count(session.objects)} objects, ${count(session.messages)} messages`))),
              session.queue.length ? widths(rows([["Object", "minmax(120px, 3fr)"], ["Does", "70px"], ["Sent", "52px", "end num"]], session.queue, one => [el("span", { class: "mono" }, one.resource), one.operation, one.attempts ? `${one.attempts}×` : "–"], "Queue"), [["", "minmax(120px, 3fr)"], ["", "70px"], ["", "52px"]]) : null)
            : empty("Not connected to this cloudcore", data.health === "ready" ? "The node may be connected to another cloudcore of this cluster." : "What is meant for it is sent when it comes back; its pods go on meanwhile."))),
        panel("Pods", data.pods.length ? widths(rows(podColumns, data.pods, pod => [el("span", { title: `${pod.namespace}/${pod.name}` }, el("span", { class: "dim" }, `${pod.namespace}/`), pod.name), badge(podKind(pod.phase), pod.reason || pod.phase), pod.ready, count(pod.restarts), el("span", { class: "mono" }, pod.ip), ageOf(pod.created)], "Pods"), podColumns) : empty("No pods", "No pod is bound to this node."), el("span", { class: "dim small" }, count(data.pods.length))),
        el("div", { class: "columns" },
          panel("Conditions", data.conditions.length ? el("ul", { class: "timeline" }, data.conditions.map(one => el("li", {}, shape(isGood(one) ? "ready" : one.status === "Unknown" ? "offline" : "notReady"),
            el("div", {}, el("b", {}, one.type), ` ${one.status}`, el("div", { class: "dim small" }, [one.reason, one.message].filter(Boolean).join(": "))), el("span", { class: "dim small" }, ageOf(one.since))))) : empty("No conditions", "The node has not reported its status yet.")),
          panel("Link history", data.links.length ? el("ul", { class: "timeline" }, data.links.map(one => el("li", {}, shape(one.connect ? "ready" : "offline"),
            el("div", {}, el("b", {}, one.connect ? "Connected" : "Disconnected"), el("span", { class: "dim" }, ` ${one.connect ? one.detail : REASONS[one.detail] ?? one.detail}`)), el("time", { class: "dim small num" }, clock(one.at))))) : empty("No link seen", "Since this cloudcore started the node has not connected here."))),
        panel("Devices", data.devices.length ? widths(rows(deviceColumns, data.devices, one => [el("a", { href: `#/devices/${encodeURIComponent(one.s)}/${encodeURIComponent(one.n)}` }, one.n), badge(deviceKind(one.t), one.t || "not reported"), el("span", { class: "dim" }, one.v.join(" · "))], "Devices"), deviceColumns) : empty("No devices", "No device names this node."), el("span", { class: "dim small" }, count(data.devices.length)))));
    scrollTo(0, kept);
  }
  draw(await get(`nodes/${encodeURIComponent(name)}`, signal));
  return { element, topics: { node: name }, on: { node: draw } };
}
