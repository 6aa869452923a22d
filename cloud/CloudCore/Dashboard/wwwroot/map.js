// The fleet as cells on a canvas, in groups: thousands of nodes stay one drawing.
import { el, count, HEALTH } from "./dom.js";

const WORST = { offline: 0, notReady: 1, ready: 2 };

export class FleetMap {
  constructor({ open }) {
    this.open = open;
    this.cells = [];
    this.at = -1;
    this.canvas = el("canvas", { class: "map", tabindex: "0", role: "application", "aria-roledescription": "map of nodes", "aria-label": "Fleet map. Arrow keys move between nodes, Enter opens one. The node list has the same nodes as a table." });
    this.tip = el("div", { class: "map-tip", hidden: true });
    this.spoken = el("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    this.element = el("div", { class: "map-wrap" }, this.canvas, this.tip, this.spoken);
    this.canvas.addEventListener("pointermove", event => this.select(this.find(event), false));
    this.canvas.addEventListener("pointerleave", () => this.select(-1, false));
    this.canvas.addEventListener("click", event => { const at = this.find(event); if (at >= 0) this.open(this.cells[at].node.n); });
    this.canvas.addEventListener("blur", () => this.select(-1, false));
    this.canvas.addEventListener("keydown", event => this.key(event));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.element);
    this.schemes = matchMedia("(prefers-color-scheme: dark)");
    this.repaint = () => this.draw();
    this.schemes.addEventListener("change", this.repaint);
    document.addEventListener("edge-theme", this.repaint);
  }

  close() {
    this.resized.disconnect();
    this.schemes.removeEventListener("change", this.repaint);
    document.removeEventListener("edge-theme", this.repaint);
  }

  /** groups: [[name, nodes]]; a node has n and h. */
  set(groups) {
    this.groups = groups.map(([name, nodes]) => [name, [...nodes].sort((a, b) => (WORST[a.h] - WORST[b.h]) || (a.n < b.n ? -1 : 1))]);
    this.draw();
  }

  // Cells shrink until the whole fleet fits about one screen. Groups stand in columns of one width, as many as make the drawing lowest.
  layout(width) {
    const total = this.groups.reduce((sum, group) => sum + group[1].length, 0);
    const sizes = [30, 24, 20, 16, 13, 11, 9, 7];
    for (const size of sizes) {
      const gap = size > 12 ? 4 : size > 8 ? 2 : 1;
      let best = null;
      for (let across = 1; across <= Math.min(this.groups.length, Math.max(1, Math.floor((width + 28) / 170))); across++) {
        const placed = this.place(width, size, gap, across);
        if (best === null || placed.height < best.height) best = placed;
      }
      if (best.height <= (total > 3000 ? 620 : 420) || size === sizes.at(-1)) return { ...best, size, gap };
    }
  }

  place(width, size, gap, across) {
    const step = size + gap;
    const head = 26;
    const room = (width - (across - 1) * 28) / across;
    const columns = Math.max(1, Math.floor((room + gap) / step));
    const blocks = [];
    let y = 0, tall = 0;
    this.groups.forEach(([name, nodes], index) => {
      if (index > 0 && index % across === 0) { y += tall + 22; tall = 0; }
      blocks.push({ name, nodes, x: (index % across) * (room + 28), y, columns });
      tall = Math.max(tall, head + Math.ceil(nodes.length / columns) * step - gap);
    });
    return { blocks, height: y + tall, head };
  }

  draw() {
    if (!this.groups) return;
    const width = this.element.clientWidth;
    if (width < 20) return;
    const { blocks, height, head, size, gap } = this.layout(width);
    const ratio = Math.min(3, devicePixelRatio || 1);
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    this.size = size;
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    this.colours = { ready: colour("--ready"), notReady: colour("--not-ready"), offline: colour("--offline"), text: colour("--text"), dim: colour("--dim"), panel: colour("--panel"), soft: colour("--ready-soft") };
    const kept = this.at >= 0 ? this.cells[this.at]?.node.n : null;
    this.cells = [];
    context.textBaseline = "middle";
    for (const block of blocks) {
      context.font = `550 13px ${style.getPropertyValue("--font")}`;
      context.fillStyle = this.colours.text;
      context.fillText(block.name, block.x, block.y + 9);
      const nameWidth = context.measureText(block.name).width;
      context.font = `13px ${style.getPropertyValue("--font")}`;
      context.fillStyle = this.colours.dim;
      context.fillText(count(block.nodes.length), block.x + nameWidth + 8, block.y + 9);
      block.nodes.forEach((node, index) => {
        const cell = { node, x: block.x + (index % block.columns) * (size + gap), y: block.y + head + Math.floor(index / block.columns) * (size + gap), columns: block.columns };
        this.cells.push(cell);
        this.paint(context, cell, size);
      });
    }
    this.at = kept === null ? -1 : this.cells.findIndex(cell => cell.node.n === kept);
    if (this.at >= 0) this.ring();
  }

  // Health shows as colour and as form: full, a notch, a cross.
  paint(context, { node, x, y }, size) {
    context.fillStyle = this.colours[node.h] ?? this.colours.dim;
    const radius = size > 12 ? 4 : size > 8 ? 2 : 0;
    context.beginPath();
    if (radius) context.roundRect(x, y, size, size, radius); else context.rect(x, y, size, size);
    context.fill();
    if (node.h === "ready" || size < 7) return;
    context.strokeStyle = this.colours.panel;
    context.lineWidth = Math.max(1.3, size / 9);
    context.lineCap = "round";
    const inset = size * .3;
    context.beginPath();
    if (node.h === "offline") {
      context.moveTo(x + inset, y + inset); context.lineTo(x + size - inset, y + size - inset);
      context.moveTo(x + size - inset, y + inset); context.lineTo(x + inset, y + size - inset);
    } else {
      context.moveTo(x + size / 2, y + inset * .8); context.lineTo(x + size / 2, y + size * .56);
      context.moveTo(x + size / 2, y + size * .76); context.lineTo(x + size / 2, y + size * .77);
    }
    context.stroke();
  }

  ring() {
    const { x, y } = this.cells[this.at];
    const context = this.canvas.getContext("2d");
    context.strokeStyle = this.colours.text;
    context.lineWidth = 2;
    context.strokeRect(x - 1, y - 1, this.size + 2, this.size + 2);
  }

  find(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    return this.cells.findIndex(cell => x >= cell.x && x < cell.x + this.size + 2 && y >= cell.y && y < cell.y + this.size + 2);
  }

  select(at, speak) {
    if (at === this.at) return;
    this.at = at;
    this.draw();
    this.tip.hidden = this.at < 0;
    if (this.at < 0) return;
    const { node, x, y } = this.cells[this.at];
    const detail = `${HEALTH[node.h]}${node.r ? `, ${node.r}` : ""} · ${count(node.p)} pods`;
    this.tip.replaceChildren(el("b", {}, node.n), detail);
    const width = this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(x - width / 2 + this.size / 2, this.element.clientWidth - width))}px`;
    this.tip.style.top = `${y > 60 ? y - this.tip.offsetHeight - 8 : y + this.size + 8}px`;
    if (speak) this.spoken.textContent = `${node.n}: ${detail}`;
  }

  key(event) {
    const columns = this.cells[Math.max(0, this.at)]?.columns ?? 1;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -Infinity, End: Infinity }[event.key];
    if (by !== undefined && this.cells.length > 0) {
      event.preventDefault();
      this.select(this.at < 0 ? 0 : Math.max(0, Math.min(this.cells.length - 1, this.at + by)), true);
    } else if (event.key === "Enter" && this.at >= 0) {
      this.open(this.cells[this.at].node.n);
    } else if (event.key === "Escape") {
      this.select(-1, false);
    }
  }
}
