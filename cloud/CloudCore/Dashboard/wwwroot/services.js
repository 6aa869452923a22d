import { el, set, count, badge, panel, empty, get } from "./dom.js";

const KIND = { Up: "ready", Unknown: "idle", Down: "offline", NodeGone: "offline", Drained: "idle", NotReady: "notReady" };

export async function services({ signal }) {
  const element = el("div", {});
  function draw(data) {
    const clients = new Map();
    for (const one of data.clients) {
      if (!clients.has(one.service)) clients.set(one.service, []);
      clients.get(one.service).push(one);
    }
    set(element, el("div", { class: "page-head" }, el("div", { class: "grow" }, el("h1", {}, "Services"), el("span", { class: "dim small" }, data.served ? "Names answered by this cloudcore's DNS, and where its clients are sent" : "modules.gslb is off in this cloudcore: it answers no DNS"))),
      data.services.length === 0
        ? el("div", { class: "panel" }, empty("No GlobalServices yet", "A GlobalService gives a name that is answered with the endpoints that suit the client.", "kubectl apply -f docs/examples/gslb/"))
        : el("div", { class: "stack" }, data.services.map(service => {
          const seen = clients.get(`${service.namespace}/${service.name}`) ?? [];
          const byLocation = new Map();
          for (const one of seen) {
            if (!byLocation.has(one.location)) byLocation.set(one.location, []);
            byLocation.get(one.location).push(one);
          }
          const flows = [...byLocation].map(([location, list]) => [location, list.sort((a, b) => b.answers - a.answers), list.reduce((sum, one) => sum + one.answers, 0)]).sort((a, b) => b[2] - a[2]).slice(0, 40);
          const columns = "minmax(90px, 1fr) minmax(104px, .9fr) minmax(100px, 1.5fr)";
          return panel(`${service.namespace}/${service.name}`, el("div", { class: "body" },
            el("dl", { class: "facts", style: { marginBottom: "16px" } }, el("dt", {}, "Names"), el("dd", {}, service.hosts.map(host => el("div", { class: "mono" }, host))), el("dt", {}, "Policy"), el("dd", {}, service.policy || "–"), service.message ? [el("dt", {}, "Status"), el("dd", {}, service.message)] : null),
            el("div", { class: "columns" },
              el("div", {}, el("h3", { class: "small dim", style: { marginBottom: "6px" } }, "Endpoints"),
                el("div", { class: "table", role: "table", "aria-label": "Endpoints", style: { margin: "0 0 0 -18px" } }, service.endpoints.map(one => {
                  const row = el("div", { class: "row", role: "row" }, el("div", { role: "cell" }, el("b", {}, one.name)), el("div", { role: "cell" }, badge(KIND[one.state] ?? "idle", one.state || "not checked")), el("div", { role: "cell", class: "dim small", title: one.reason }, one.reason || [one.location, one.addresses].filter(Boolean).join(" · ")));
                  row.style.gridTemplateColumns = columns;
                  return row;
                }))),
              el("div", {}, el("h3", { class: "small dim", style: { marginBottom: "10px" } }, "Where clients go"),
                flows.length === 0 ? el("p", { class: "dim" }, data.served ? "Nobody has asked for it yet." : "Ask the cloudcore that answers DNS.")
                  : el("div", { class: "flows" }, flows.map(([location, list, total]) => el("div", { class: "flow" }, el("span", { title: location }, location),
                    el("div", { class: "track", role: "img", "aria-label": list.map(one => `${one.endpoint} ${Math.round(one.answers / total * 100)}%`).join(", ") }, list.map((one, at) => el("i", { title: `${one.endpoint}: ${count(one.answers)}`, style: { flex: String(one.answers), opacity: String(Math.max(.45, 1 - at * .2)) } }, one.endpoint))),
                    el("span", { class: "right num dim" }, count(total)))))))),
            badge(service.ready === "True" ? "ready" : service.ready === "False" ? "offline" : "idle", service.ready === "True" ? "Answered" : service.ready === "False" ? "Not answered" : "Not checked"));
        })));
  }
  draw(await get("services", signal));
  return { element, topics: { services: true }, on: { services: draw } };
}
