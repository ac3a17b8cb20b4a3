// The timeline: bars on a canvas. What is drawn comes from the server for a window three times as wide as the view, so panning
// and zooming answer at once; when the view settles, the server is asked for the bars of the new window.
const LANE = 22, GAP = 3, TITLE = 26, AXIS = 24, MINI = 22, SETTLE_MS = 180, MIN_SPAN_NS = 200;
const stores = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  let timeline = stores.get(parentElement);
  if (!timeline) {
    timeline = new Timeline(parentElement);
    stores.set(parentElement, timeline);
  }
  timeline.update(data, setStateValue);
  return () => { timeline.close(); stores.delete(parentElement); };
}

class Timeline {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.tip = root.querySelector(".tip");
    this.pen = this.canvas.getContext("2d");
    this.stops = new AbortController();
    const listen = (target, name, act, options = {}) => target.addEventListener(name, act, { signal: this.stops.signal, ...options });
    listen(this.canvas, "wheel", (e) => this.wheel(e), { passive: false });
    listen(this.canvas, "pointerdown", (e) => this.press(e));
    listen(this.canvas, "pointermove", (e) => this.move(e));
    listen(this.canvas, "pointerup", (e) => this.release(e));
    listen(this.canvas, "pointercancel", () => { this.drag = null; this.draw(); });
    listen(this.canvas, "pointerleave", () => { this.tip.hidden = true; });
    listen(this.canvas, "dblclick", (e) => { const bar = this.at(e); if (bar) this.fit(bar); });
    listen(this.canvas, "keydown", (e) => this.key(e));
    for (const button of root.querySelectorAll("button")) listen(button, "click", () => this.act(button.dataset.do));
    listen(window.matchMedia("(prefers-color-scheme: dark)"), "change", () => this.draw());
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.canvas);
  }

  close() {
    this.stops.abort();
    this.watcher.disconnect();
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
  }

  update(data, send) {
    const fresh = !this.data || this.data.part !== data.part;
    this.data = { ...data, sides: data.sides.map((side) => ({ ...side })) };
    this.send = send;
    if (fresh) this.view = [...data.view];
    this.canvas.setAttribute("aria-label", data.label);
    this.root.querySelector("[data-do=chosen]").disabled = !data.picked;
    this.index();
    this.legend();
    this.draw();
  }

  /** Per lane the bars in order of their start, for finding the one under the pointer. */
  index() {
    for (const side of this.data.sides) {
      side.byLane = side.lanes.map(() => []);
      side.bars.lane.forEach((lane, i) => side.byLane[lane].push(i));
      side.marked = new Set(side.marked);
    }
  }

  legend() {
    const place = this.root.querySelector(".legend");
    place.replaceChildren(...this.data.legend.map(([name, colour]) => {
      const item = document.createElement("span"), box = document.createElement("i");
      if (colour) box.style.background = colour; else box.className = "hatched";
      item.append(box, name);
      return item;
    }));
  }

  get left() { return this.width < 600 ? 84 : 132; }
  // As large as the page's type (16 px unless the reader makes it larger): all lengths here are of type at 16 px.
  get scale() { return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16 || 1; }
  get width() { return this.canvas.clientWidth / this.scale; }
  across(event) { return event.offsetX / this.scale; }
  down(event) { return event.offsetY / this.scale; }
  get plot() { return Math.max(this.width - this.left - 8, 50); }
  x(time) { return this.left + ((time - this.view[0]) / (this.view[1] - this.view[0])) * this.plot; }
  time(x) { return this.view[0] + ((x - this.left) / this.plot) * (this.view[1] - this.view[0]); }

  // -- moving ----------------------------------------------------------------------------------------------

  show(low, high) {
    const length = this.data.length;
    let span = Math.min(Math.max(high - low, MIN_SPAN_NS), length);
    low = Math.min(Math.max(low, 0), length - span);
    this.view = [low, low + span];
    this.tip.hidden = true;
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const view = { part: this.data.part, low: Math.round(this.view[0]), high: Math.round(this.view[1]), width: Math.round(this.plot) };
      this.send("view", view);
    }, SETTLE_MS);
  }

  zoom(factor, around = (this.view[0] + this.view[1]) / 2) {
    this.show(around - (around - this.view[0]) * factor, around + (this.view[1] - around) * factor);
  }

  pan(share) {
    const by = (this.view[1] - this.view[0]) * share;
    this.show(this.view[0] + by, this.view[1] + by);
  }

  fit(bar) {
    const { side, i } = bar, start = side.bars.start[i], end = side.bars.end[i];
    const room = Math.max((end - start) * 0.5, MIN_SPAN_NS);
    this.show(start - room, end + room);
  }

  act(what) {
    if (what === "in") this.zoom(0.5);
    else if (what === "out") this.zoom(2);
    else if (what === "left") this.pan(-0.4);
    else if (what === "right") this.pan(0.4);
    else if (what === "all") this.show(0, this.data.length);
    else if (what === "chosen") { const bar = this.chosen(); if (bar) this.fit(bar); }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      w: "in", "+": "in", "=": "in", s: "out", "-": "out", a: "left", ArrowLeft: "left", d: "right", ArrowRight: "right",
      0: "all", Home: "all", f: "chosen",
    };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (keys[key]) this.act(keys[key]);
    else if (key === "." || key === ",") this.step(key === "." ? 1 : -1);
    else if (key === "Escape") this.pick(null);
    else return;
    event.preventDefault();
  }

  wheel(event) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 120)) * 0.35), this.time(this.across(event)));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this.pan((event.deltaX || event.deltaY) / this.plot);
    }
  }

  press(event) {
    if (event.button !== 0) return;
    const mini = this.miniAt(this.down(event));
    this.drag = { x: this.across(event), view: [...this.view], mini, select: event.shiftKey && !mini, moved: false };
    this.canvas.setPointerCapture(event.pointerId);
    if (mini) this.miniTo(this.across(event));
  }

  move(event) {
    if (!this.drag) { this.hover(event); return; }
    const by = this.across(event) - this.drag.x;
    if (Math.abs(by) > 3) this.drag.moved = true;
    if (!this.drag.moved) return;
    this.canvas.classList.add("drags");
    if (this.drag.mini) this.miniTo(this.across(event));
    else if (this.drag.select) { this.drag.to = this.across(event); this.draw(); }
    else {
      const shift = (by / this.plot) * (this.drag.view[1] - this.drag.view[0]);
      this.show(this.drag.view[0] - shift, this.drag.view[1] - shift);
    }
  }

  release(event) {
    const drag = this.drag;
    this.drag = null;
    this.canvas.classList.remove("drags");
    if (!drag) return;
    if (drag.select && drag.moved) {
      const times = [this.time(drag.x), this.time(this.across(event))].sort((a, b) => a - b);
      this.show(times[0], times[1]);
    } else if (!drag.moved && !drag.mini) {
      this.pick(this.at(event));
    }
  }

  miniAt(y) { return y < MINI; }

  miniTo(x) {
    const span = this.view[1] - this.view[0], middle = ((x - this.left) / this.plot) * this.data.length;
    this.show(middle - span / 2, middle + span / 2);
  }

  // -- choosing --------------------------------------------------------------------------------------------

  at(event) {
    const time = this.time(this.across(event)), slack = (2 / this.plot) * (this.view[1] - this.view[0]);
    if (this.across(event) < this.left) return null;
    for (const side of this.data.sides) {
      const lane = Math.floor((this.down(event) - side.top) / LANE);
      if (this.down(event) < side.top || lane < 0 || lane >= side.lanes.length) continue;
      const row = side.byLane[lane], { start, end } = side.bars;
      let low = 0, high = row.length;
      while (low < high) { const mid = (low + high) >> 1; if (start[row[mid]] <= time + slack) low = mid + 1; else high = mid; }
      let best = null;
      for (let k = low - 1; k >= Math.max(0, low - 200); k--) {
        const i = row[k], far = Math.max(start[i] - time, time - end[i], 0);
        if (far <= slack && (!best || far < best.far)) best = { side, i, far };
        if (best && best.far === 0) break;
      }
      return best;
    }
    return null;
  }

  chosen() {
    const picked = this.data.picked;
    if (!picked) return null;
    const side = this.data.sides.find((s) => s.name === picked.side);
    const i = side ? side.bars.row.findIndex((row, k) => row === picked.row && side.bars.kind[k] === picked.kind) : -1;
    return i < 0 ? null : { side, i };
  }

  pick(bar) {
    const picked = bar ? { part: this.data.part, side: bar.side.name, kind: bar.side.bars.kind[bar.i], row: bar.side.bars.row[bar.i] } : null;
    this.data.picked = picked;
    for (const side of this.data.sides) side.marked = new Set();
    this.draw();
    this.send("picked", picked);
  }

  /** The bar before or after the chosen one in its lane; without one the first of the last lane in view. */
  step(by) {
    const now = this.chosen();
    if (!now) {
      const side = this.data.sides[0], row = side ? side.byLane[side.lanes.length - 1] : [];
      const i = row.find((k) => side.bars.end[k] > this.view[0]);
      if (i !== undefined) this.pick({ side, i });
      return;
    }
    const row = now.side.byLane[now.side.bars.lane[now.i]], next = row[row.indexOf(now.i) + by];
    if (next === undefined) return;
    this.pick({ side: now.side, i: next });
    const start = now.side.bars.start[next], end = now.side.bars.end[next];
    if (start < this.view[0] || end > this.view[1]) {
      const span = this.view[1] - this.view[0], middle = (start + end) / 2;
      this.show(middle - span / 2, middle + span / 2);
    }
  }

  hover(event) {
    const bar = this.at(event);
    this.tip.hidden = !bar;
    if (!bar) return;
    const { side, i } = bar, { start, end, busy, count } = side.bars;
    const lines = [this.text(side, i), `${format(count[i] > 1 ? busy[i] : end[i] - start[i])}, from ${format(start[i])}`, side.notes[side.bars.note[i]]];
    this.tip.textContent = lines.filter(Boolean).join("\n");
    const left = Math.min(event.offsetX + 14, Math.max(0, this.canvas.clientWidth - this.tip.offsetWidth - 8));
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${event.offsetY + 16}px`;
  }

  text(side, i) { return side.texts[side.bars.text[i]]; }

  // -- drawing ---------------------------------------------------------------------------------------------

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    if (!this.data || !this.width) return;
    const begun = performance.now();
    const style = getComputedStyle(this.canvas), read = (name, other) => style.getPropertyValue(name).trim() || other;
    const text = read("--st-text-color", "#1b2430"), ground = read("--st-background-color", "#ffffff");
    const line = read("--st-border-color", "#d5dbe3"), accent = read("--st-primary-color", "#1f6fc5");
    this.type = read("--st-font", "sans-serif");
    let height = MINI + AXIS;
    for (const side of this.data.sides) {
      side.top = height + TITLE;
      height = side.top + side.lanes.length * LANE + 10;
    }
    const ratio = (window.devicePixelRatio || 1) * this.scale;
    if (this.canvas.height !== Math.round(height * ratio) || this.canvas.width !== Math.round(this.width * ratio)) {
      this.canvas.style.height = `${height * this.scale}px`;
      this.canvas.width = Math.round(this.width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const pen = this.pen;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = ground;
    pen.fillRect(0, 0, this.width, height);
    pen.textBaseline = "middle";
    this.paintMini(pen, text, accent);
    this.paintAxis(pen, text, line, height);
    for (const side of this.data.sides) this.paintSide(pen, side, text, line);
    if (this.drag && this.drag.select && this.drag.to !== undefined) {
      pen.fillStyle = accent;
      pen.globalAlpha = 0.25;
      pen.fillRect(Math.min(this.drag.x, this.drag.to), MINI, Math.abs(this.drag.to - this.drag.x), height - MINI);
      pen.globalAlpha = 1;
    }
    this.root.querySelector(".range").textContent =
      `${format(this.view[0])} to ${format(this.view[1])} of ${format(this.data.length)}`;
    this.canvas.dataset.view = this.view.map(Math.round).join(":");
    this.canvas.dataset.paintMs = (performance.now() - begun).toFixed(1);
  }

  paintMini(pen, text, accent) {
    const room = (MINI - 6) / Math.max(this.data.sides.length, 1);
    pen.font = `11px ${this.type}`;
    pen.fillStyle = text;
    pen.fillText("GPU work, overview", 4, MINI / 2, this.left - 8);
    this.data.sides.forEach((side, n) => {
      pen.fillStyle = side.colour;
      const bin = this.plot / side.activity.length;
      side.activity.forEach((share, k) => {
        if (share > 0) {
          const tall = Math.max(share * room, 1);
          pen.fillRect(this.left + k * bin, 2 + (n + 1) * room - tall, Math.max(bin, 1), tall);
        }
      });
    });
    const a = this.left + (this.view[0] / this.data.length) * this.plot, b = this.left + (this.view[1] / this.data.length) * this.plot;
    pen.strokeStyle = accent;
    pen.lineWidth = 2;
    pen.strokeRect(a, 1, Math.max(b - a, 3), MINI - 3);
  }

  paintAxis(pen, text, line, height) {
    const span = this.view[1] - this.view[0], step = nice(span / Math.max(this.plot / 100, 3));
    pen.font = `11px ${this.type}`;
    pen.lineWidth = 1;
    for (let time = Math.ceil(this.view[0] / step) * step; time <= this.view[1]; time += step) {
      const x = Math.round(this.x(time)) + 0.5;
      pen.strokeStyle = line;
      pen.beginPath();
      pen.moveTo(x, MINI + AXIS - 6);
      pen.lineTo(x, height);
      pen.stroke();
      pen.fillStyle = text;
      pen.textAlign = "center";
      if (x > this.left + 10 && x < this.width - 30) pen.fillText(format(time, step), x, MINI + AXIS / 2 - 1);
    }
    pen.textAlign = "left";
  }

  paintSide(pen, side, text, line) {
    pen.fillStyle = side.colour;
    pen.fillRect(4, side.top - TITLE + 8, 10, 10);
    pen.fillStyle = text;
    pen.font = `600 13px ${this.type}`;
    pen.fillText(side.title, 20, side.top - TITLE / 2, this.width - 30);
    pen.font = `12px ${this.type}`;
    side.lanes.forEach((name, lane) => {
      const y = side.top + lane * LANE;
      pen.fillStyle = text;
      pen.fillText(name, 8, y + LANE / 2, this.left - 14);
      pen.strokeStyle = line;
      pen.beginPath();
      pen.moveTo(this.left, y + LANE + 0.5);
      pen.lineTo(this.width - 8, y + LANE + 0.5);
      pen.stroke();
    });
    pen.save();
    pen.beginPath();
    pen.rect(this.left, side.top - 2, this.plot, side.lanes.length * LANE + 4);
    pen.clip();
    pen.font = `11px ${this.type}`;
    const hatch = this.hatch(pen), { start, end, lane, colour, hatched, row, kind } = side.bars, picked = this.data.picked;
    const outlined = [];
    for (let i = 0; i < start.length; i++) {
      if (end[i] < this.view[0] || start[i] > this.view[1]) continue;
      const a = Math.max(this.x(start[i]), this.left - 2), b = Math.min(this.x(end[i]), this.left + this.plot + 2);
      const wide = Math.max(b - a, 1), y = side.top + lane[i] * LANE + GAP, tall = LANE - 2 * GAP;
      pen.fillStyle = this.data.colours[colour[i]];
      pen.fillRect(a, y, wide > 3 ? wide - 0.6 : wide, tall);
      if (hatched[i] && wide > 2) {
        pen.fillStyle = hatch;
        pen.fillRect(a, y, wide > 3 ? wide - 0.6 : wide, tall);
      }
      if (wide > 34) this.label(pen, this.data.inks[colour[i]], this.text(side, i), Math.max(a, this.left) + 4, y + tall / 2, b - Math.max(a, this.left) - 8);
      const own = picked && picked.side === side.name && picked.row === row[i] && picked.kind === kind[i];
      if (own || side.marked.has(`${kind[i]}:${row[i]}`)) outlined.push([a, y, wide, tall, own]);
    }
    for (const [a, y, wide, tall, own] of outlined) {
      pen.strokeStyle = text;
      pen.lineWidth = own ? 3 : 2;
      pen.setLineDash(own ? [] : [4, 2]);
      pen.strokeRect(a - 1, y - 1, Math.max(wide, 3) + 2, tall + 2);
    }
    pen.setLineDash([]);
    pen.lineWidth = 1;
    pen.restore();
  }

  label(pen, ink, text, x, y, room) {
    const most = Math.floor(room / 5.6);
    if (most < 3) return;
    pen.fillStyle = ink;
    pen.fillText(text.length > most ? `${text.slice(0, most - 1)}…` : text, x, y, room);
  }

  hatch(pen) {
    if (!this.pattern) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = 6;
      const small = tile.getContext("2d");
      small.strokeStyle = "rgba(255,255,255,0.55)";
      small.lineWidth = 1.4;
      small.beginPath();
      small.moveTo(-1, 7); small.lineTo(7, -1);
      small.moveTo(-1, 1); small.lineTo(1, -1);
      small.moveTo(5, 7); small.lineTo(7, 5);
      small.stroke();
      this.pattern = pen.createPattern(tile, "repeat");
    }
    return this.pattern;
  }
}

/** A step of 1, 2 or 5 × a power of ten that is not less than the one asked for. */
function nice(step) {
  const ten = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].map((k) => k * ten).find((k) => k >= step);
}

/** Nanoseconds in the unit that reads best; ``step`` says how fine the neighbours are. */
function format(time, step = Math.abs(time) / 1000) {
  const size = Math.max(Math.abs(time), step);
  const [factor, unit] = size < 1e3 ? [1, "ns"] : size < 1e6 ? [1e3, "µs"] : size < 1e9 ? [1e6, "ms"] : [1e9, "s"];
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step / factor) - 1e-9)));
  return `${(time / factor).toLocaleString("en", { minimumFractionDigits: 0, maximumFractionDigits: digits })} ${unit}`;
}
