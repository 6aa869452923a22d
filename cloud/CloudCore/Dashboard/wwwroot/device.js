import { el, svg, set, ageOf, badge, deviceKind, panel, empty, get } from "./dom.js";
import { drawChart } from "./chart.js";

const isNumber = text => text !== null && text !== undefined && text !== "" && Number.isFinite(Number(text));

export async function device({ parts: [namespace, name], signal }) {
  const path = `devices/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
  let data = await get(path, signal);
  const element = el("div", {});
  if (!data) {
    set(element, el("div", { class: "panel" }, empty("There is no such device", `The cluster has no Device ${namespace}/${name}.`)));
    return { element };
  }
  let property = data.twins.find(twin => isNumber(twin.reported))?.property ?? null;
  let points = [];
  const head = el("div", { class: "page-head" });
  const problems = el("div", { class: "stack" });
  const list = el("div", { role: "group", "aria-label": "Properties" });
  const chart = svg("svg", { class: "chart" });
  const chartTitle = el("h2", {}, "");
  const chartNow = el("span", { class: "num", "data-now": "" });
  const chartBody = el("div", { class: "body" }, chart);
  const chartPanel = el("section", { class: "panel", "aria-label": "Chart" }, el("header", {}, chartTitle, chartNow), chartBody);

  const draw = () => {
    if (property === null) {
      set(chartBody, empty("Nothing to draw yet", "The chart begins with the first number that a property reports."));
      chartTitle.textContent = "Chart";
      return;
    }
    if (!chart.isConnected) set(chartBody, chart);
    const twin = data.twins.find(one => one.property === property);
    chartTitle.textContent = property;
    set(chartNow, el("b", {}, twin?.reported ?? ""), twin?.desired ? el("span", { class: "dim" }, ` desired ${twin.desired}`) : null);
    drawChart(chart, points, { goal: isNumber(twin?.desired) ? Number(twin.desired) : null, label: `${property} over time`, width: chartBody.clientWidth - 36 });
  };

  async function choose(wanted) {
    property = wanted;
    points = await get(`${path}/series/${encodeURIComponent(wanted)}`, signal) ?? [];
    take();
    show();
  }

  function take() {
    const twin = data.twins.find(one => one.property === property);
    if (!twin || !isNumber(twin.reported) || twin.at === 0 || (points.length && points.at(-1)[0] >= twin.at)) return;
    points.push([twin.at, Number(twin.reported)]);
    if (points.length > 300) points.shift();
  }

  function show() {
    set(head, el("div", { class: "grow" }, el("a", { class: "crumb", href: "#/devices" }, "← Devices"), el("h1", {}, data.name),
      el("span", { class: "dim small" }, `${data.namespace} · ${[data.protocol, data.model].filter(Boolean).join(" · ")} · on `, el("a", { href: `#/nodes/${encodeURIComponent(data.node)}` }, data.node))),
      badge(deviceKind(data.state), data.state || "not reported"));
    set(problems, data.problems.map(text => el("div", { class: "notice" }, text)));
    const focused = document.activeElement?.dataset?.property;
    set(list, el("div", { class: "twin headrow", "aria-hidden": "true" }, el("div", {}, "Property"), el("div", {}, "Reported"), el("div", { class: "narrow-hide" }, "Desired"), el("div", { class: "narrow-hide" }, "Observed"), el("div", {}, "Age")),
      data.twins.length === 0 ? empty("No properties", "The Device names no properties.") : data.twins.map(twin => {
        const cells = [el("span", {}, twin.property), el("span", { class: "reported", title: twin.reported }, twin.reported ?? "–"), el("span", { class: "num narrow-hide" }, twin.desired ?? "–"),
          el("span", { class: `num narrow-hide${twin.desired && twin.observed !== twin.desired ? " dim" : ""}` }, twin.observed || (twin.desired ? "not yet" : "–")), el("span", { class: "dim small num" }, ageOf(twin.at)), twin.error ? el("span", { class: "error" }, twin.error) : null];
        return isNumber(twin.reported) ? el("button", { type: "button", class: "twin", "data-property": twin.property, "aria-pressed": String(twin.property === property), "aria-label": `${twin.property}, reported ${twin.reported}${twin.desired ? `, desired ${twin.desired}` : ""}; show its chart`, onclick: () => choose(twin.property) }, cells)
          : el("div", { class: "twin", "data-property": twin.property }, cells);
      }));
    if (focused) list.querySelector(`[data-property="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    draw();
  }

  set(element, head, el("div", { class: "stack" }, problems, chartPanel, panel("Twin", list)));
  if (property !== null) await choose(property); else show();
  const resized = new ResizeObserver(draw);
  resized.observe(chartBody);
  return {
    element, shown: show, topics: { device: `${namespace}/${name}` },
    on: {
      device: fresh => {
        data = fresh;
        if (property === null) {
          const first = data.twins.find(twin => isNumber(twin.reported));
          if (first) { choose(first.property); return; }
        }
        take();
        show();
      },
    },
    close: () => resized.disconnect(),
  };
}
