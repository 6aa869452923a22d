// A table of any number of rows: only those in sight are in the document.
import { el, set, count } from "./dom.js";

const ROW = 42;

/** columns: [{ key, title, width, value(row), cell(row), class, sort }]; href(row) makes rows links; height: the most it takes. */
export class VirtualTable {
  constructor({ columns, label, href, empty, height, sort }) {
    this.columns = columns;
    this.href = href;
    this.emptyState = empty;
    this.rows = [];
    this.sort = sort ?? columns[0].key;
    this.down = false;
    this.shown = new Map();
    this.head = el("div", { class: "head", role: "row" });
    this.spacer = el("div", { class: "spacer", role: "rowgroup" });
    this.scroll = el("div", { class: "scroll", tabindex: "-1" }, el("div", { role: "rowgroup" }, this.head), this.spacer);
    this.element = el("div", { class: "table", role: "table", "aria-label": label }, this.scroll);
    this.maxHeight = height ?? "max(320px, calc(100vh - 190px))";
    this.scroll.style.maxHeight = this.maxHeight;
    this.scroll.style.minHeight = "0";
    this.scroll.addEventListener("scroll", () => this.draw(), { passive: true });
    this.scroll.addEventListener("keydown", event => this.key(event));
    this.resized = new ResizeObserver(() => this.layout());
    this.resized.observe(this.scroll);
    this.layout();
  }

  layout() {
    const narrow = matchMedia("(max-width: 640px)").matches;
    this.visible = this.columns.filter(column => !narrow || !column.narrowHide);
    this.element.style.setProperty("--cols", this.visible.map(column => column.width).join(" "));
    const focused = document.activeElement?.dataset?.sort;
    set(this.head, this.visible.map(column => el("div", { role: "columnheader", class: column.class, "aria-sort": this.sort === column.key ? (this.down ? "descending" : "ascending") : null },
      column.value ? el("button", { type: "button", "data-sort": column.key, onclick: () => this.sortBy(column.key) }, column.title, this.sort === column.key ? el("span", { "aria-hidden": "true" }, this.down ? "↓" : "↑") : null) : column.title)));
    if (focused && this.head.contains(document.activeElement) === false) this.head.querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
    this.redraw();
  }

  sortBy(key) {
    this.down = this.sort === key ? !this.down : false;
    this.sort = key;
    this.set(this.rows);
    this.layout();
  }

  set(rows) {
    const column = this.columns.find(one => one.key === this.sort);
    const sign = this.down ? -1 : 1;
    const collator = VirtualTable.collator ??= new Intl.Collator("en", { numeric: true });
    this.rows = [...rows].map(row => [column.value(row), row]).sort((a, b) => sign * (typeof a[0] === "number" && typeof b[0] === "number" ? a[0] - b[0] : collator.compare(String(a[0]), String(b[0])))).map(pair => pair[1]);
    this.element.setAttribute("aria-rowcount", this.rows.length + 1);
    this.redraw();
  }

  redraw() {
    // The row that has the keyboard keeps it, wherever it is now.
    const focused = document.activeElement?.closest?.(".row");
    const href = focused && this.spacer.contains(focused) ? focused.querySelector("a")?.getAttribute("href") : null;
    this.shown.clear();
    this.spacer.replaceChildren();
    this.spacer.style.height = `${this.rows.length * ROW}px`;
    if (this.rows.length === 0 && this.emptyState) {
      this.spacer.style.height = "auto";
      this.spacer.append(this.emptyState());
      return;
    }
    this.draw();
    if (href) this.spacer.querySelector(`a[href="${CSS.escape(href)}"]`)?.focus({ preventScroll: true });
  }

  draw() {
    if (this.rows.length === 0) return;
    const top = this.scroll.scrollTop;
    const first = Math.max(0, Math.floor(top / ROW) - 8);
    const last = Math.min(this.rows.length, first + Math.ceil((this.scroll.clientHeight || 600) / ROW) + 18);
    const focused = document.activeElement?.closest?.(".row")?.dataset.index;
    for (const [index, element] of this.shown) {
      if (index < first || index >= last) { element.remove(); this.shown.delete(index); }
    }
    for (let index = first; index < last; index++) {
      if (this.shown.has(index)) continue;
      const row = this.rows[index];
      const href = this.href?.(row);
      const element = el("div", { class: `row${href ? " link" : ""}`, role: "row", "aria-rowindex": index + 2, "data-index": index, style: { top: `${index * ROW}px` }, onclick: href ? event => { if (event.target.tagName !== "A") location.hash = href; } : null },
        this.visible.map((column, at) => {
          const cell = column.cell ? column.cell(row) : column.value(row);
          return el("div", { role: "cell", class: column.class }, at === 0 && href ? el("a", { href: `#${href}` }, cell) : cell);
        }));
      this.shown.set(index, element);
      this.spacer.append(element);
    }
    if (focused !== undefined && !document.activeElement?.closest?.(".row")) this.shown.get(Number(focused))?.querySelector("a")?.focus({ preventScroll: true });
  }

  key(event) {
    const row = event.target.closest?.(".row");
    if (!row || !["ArrowDown", "ArrowUp", "Home", "End", "PageDown", "PageUp"].includes(event.key)) return;
    event.preventDefault();
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 2);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    const to = Math.max(0, Math.min(this.rows.length - 1, Number(row.dataset.index) + by));
    const head = this.head.offsetHeight;
    if (to * ROW < this.scroll.scrollTop) this.scroll.scrollTop = to * ROW;
    else if ((to + 1) * ROW + head > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = (to + 1) * ROW + head - this.scroll.clientHeight;
    this.draw();
    this.shown.get(to)?.querySelector("a")?.focus({ preventScroll: true });
  }

  close() { this.resized.disconnect(); }

  get caption() { return count(this.rows.length); }
}
