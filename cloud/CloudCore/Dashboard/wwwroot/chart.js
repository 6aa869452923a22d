// A line of values over time, drawn as SVG.
import { svg, clock, timeOfDay } from "./dom.js";

export function niceStep(range, wanted) {
  const rough = range / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map(factor => factor * power).find(step => step >= rough);
}

/** points: [[unixMs, value]], in order. goal: a desired value, or null. */
export function drawChart(element, points, { goal = null, label, width }) {
  const height = 260, left = 54, right = 16, top = 14, bottom = 30;
  width = Math.max(260, width);
  element.setAttribute("viewBox", `0 0 ${width} ${height}`);
  element.setAttribute("role", "img");
  const last = points.at(-1);
  element.setAttribute("aria-label", last ? `${label}: ${points.length} values, now ${last[1]}` : `${label}: no values yet`);
  const values = points.map(point => point[1]);
  if (goal !== null) values.push(goal);
  let low = Math.min(...values), high = Math.max(...values);
  if (high - low < 1e-9) { const pad = Math.abs(high) * .05 || 1; low -= pad; high += pad; }
  const step = niceStep(high - low, 4);
  low = Math.floor(low / step) * step;
  high = Math.ceil(high / step) * step;
  const from = points[0]?.[0] ?? 0, to = Math.max(last?.[0] ?? 1, from + 10000);
  const x = time => left + (time - from) / (to - from) * (width - left - right);
  const y = value => top + (high - value) / (high - low) * (height - top - bottom);
  const parts = [];
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9) + (String(step / 10 ** Math.floor(Math.log10(step))).includes("2.5") ? 1 : 0)));
  for (let value = low; value <= high + step / 2; value += step) {
    parts.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      svg("text", { x: left - 10, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(digits)));
  }
  const marks = Math.max(2, Math.min(6, Math.floor(width / 150)));
  for (let i = 0; i < marks; i++) {
    const time = from + (to - from) * i / (marks - 1);
    parts.push(svg("text", { x: x(time), y: height - 8, "text-anchor": i === 0 ? "start" : i === marks - 1 ? "end" : "middle" }, to - from < 43200000 ? timeOfDay(time) : clock(time)));
  }
  if (goal !== null) parts.push(svg("line", { class: "goal", x1: left, x2: width - right, y1: y(goal), y2: y(goal) }));
  if (points.length > 1) {
    const path = points.map((point, index) => `${index ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`).join("");
    parts.push(svg("path", { class: "area", d: `${path}L${x(last[0]).toFixed(1)} ${y(low)}L${x(from).toFixed(1)} ${y(low)}Z` }), svg("path", { class: "line", d: path }));
  }
  if (last) parts.push(svg("circle", { class: "dot", cx: x(last[0]), cy: y(last[1]), r: 4.5 }));
  element.replaceChildren(...parts);
}

export function drawSpark(element, values) {
  const width = 240, height = 46;
  element.setAttribute("viewBox", `0 0 ${width} ${height}`);
  element.setAttribute("preserveAspectRatio", "none");
  element.setAttribute("aria-hidden", "true");
  const high = Math.max(1, ...values);
  const x = index => index / Math.max(1, values.length - 1) * width;
  const y = value => height - 3 - value / high * (height - 8);
  const path = values.map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  element.replaceChildren(svg("path", { class: "area", d: `${path}L${width} ${height}L0 ${height}Z` }), svg("path", { class: "line", d: path }));
}
