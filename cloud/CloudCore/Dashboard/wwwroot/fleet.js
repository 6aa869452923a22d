// The nodes of the fleet, kept current by changes.
import { get } from "./dom.js";

export class Fleet {
  constructor() { this.nodes = new Map(); }

  async load(signal) {
    const { order, nodes } = await get("nodes", signal);
    this.order = order;
    this.nodes = new Map(nodes.map(node => [node.n, node]));
  }

  async apply(change, signal) {
    if (change.reset) { await this.load(signal); return; }
    for (const node of change.nodes) this.nodes.set(node.n, node);
    for (const name of change.gone) this.nodes.delete(name);
  }

  get list() { return [...this.nodes.values()]; }

  /** Labels by which nodes differ enough to be grouped, and not so much that each is alone. */
  groupings() {
    const values = new Map();
    for (const node of this.nodes.values()) {
      for (const [key, value] of Object.entries(node.a)) {
        if (!values.has(key)) values.set(key, new Set());
        values.get(key).add(value);
      }
    }
    return [...values].filter(([key, set]) => set.size > 1 && set.size <= Math.max(2, Math.min(200, this.nodes.size / 2)) && key !== "apps.kubeedge.io/belonging-to").map(pair => pair[0]).sort();
  }

  groups(by) {
    const found = new Map();
    for (const node of this.nodes.values()) {
      const name = by === "" ? "All nodes" : (by === "group" ? node.g : by === "health" ? { ready: "Ready", notReady: "Not ready", offline: "Offline" }[node.h] : node.a[by]) || (by === "group" ? "In no group" : "Without label");
      if (!found.has(name)) found.set(name, []);
      found.get(name).push(node);
    }
    return [...found].sort((a, b) => a[0].localeCompare(b[0], "en", { numeric: true }));
  }
}
