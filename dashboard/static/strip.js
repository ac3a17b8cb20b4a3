// The network as strips: a tick per kernel, as wide as it takes long, and bands from each block of the model before to the same after.
// The block under the pointer is lit on both sides; a click, or Enter on a block chosen with the arrow keys, asks for it.
const SVG = "http://www.w3.org/2000/svg", TICK = 64, BAND = 72;
const strips = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  let drawn = strips.get(parentElement);
  if (drawn && drawn.root !== parentElement.querySelector(".strips")) { // the page has put in the elements anew
    drawn.stops.abort();
    drawn = null;
  }
  if (!drawn) {
    drawn = new Strips(parentElement);
    strips.set(parentElement, drawn);
  }
  drawn.update(data, (block) => setTriggerValue("chosen", block));
  return () => { drawn.stops.abort(); strips.delete(parentElement); };
}

class Strips {
  constructor(root) {
    this.root = root.querySelector(".strips");
    this.picture = root.querySelector(".picture");
    this.svg = root.querySelector("svg");
    this.said = root.querySelector(".said");
    this.button = root.querySelector("button");
    this.stops = new AbortController();
    const listen = (target, name, act) => target.addEventListener(name, act, { signal: this.stops.signal });
    listen(this.svg, "pointermove", (e) => this.point(e.target));
    listen(this.svg, "pointerleave", () => this.light(-1));
    listen(this.svg, "click", (e) => this.choose(Number(e.target.dataset.block ?? -1)));
    listen(this.picture, "keydown", (e) => this.key(e));
    listen(this.picture, "blur", () => this.light(-1));
    listen(this.button, "click", () => { this.stretched = !this.stretched; this.draw(); });
  }

  update(data, send) {
    if (this.data && JSON.stringify(this.data) === JSON.stringify(data)) return;
    this.data = data;
    this.send = send;
    this.draw();
  }

  draw() {
    const { sides, blocks, legend, colours, label, links } = this.data;
    const totals = sides.map((side) => side.duration.reduce((sum, ns) => sum + ns, 0)), longest = Math.max(...totals);
    const factors = totals.map((total) => this.stretched ? longest / total : 1);
    this.button.hidden = sides.length < 2 || longest < 2 * Math.min(...totals);
    this.button.setAttribute("aria-pressed", String(Boolean(this.stretched)));
    this.root.classList.toggle("one", sides.length < 2);
    this.picture.classList.toggle("links", links);
    sides.forEach((side, k) => { this.root.querySelector(`[data-heading="${k}"]`).textContent = side.heading; });
    const height = sides.length > 1 ? 2 * TICK + BAND : TICK;
    this.svg.setAttribute("viewBox", `0 0 ${longest} ${height}`);
    const bands = sides.length > 1 ? blocks.flatMap((block, k) => this.band(k, factors)) : [];
    const ticks = sides.flatMap((side, k) => this.ticks(side, k * (TICK + BAND), factors[k], colours));
    const group = make("g"), upper = make("g");
    group.append(...bands);
    upper.append(...ticks);
    this.svg.replaceChildren(group, upper);
    this.describe(blocks, label, links);
    this.root.querySelector(".legend").replaceChildren(...legend.map(([name, colour]) => {
      const item = document.createElement("span"), box = document.createElement("i");
      box.style.background = colour;
      item.append(box, name);
      return item;
    }));
    this.light(-1);
  }

  /** What a screen reader finds: a list of blocks where there are any, else a picture with its text. */
  describe(blocks, label, links) {
    const list = blocks.length > 0 && links;
    this.picture.setAttribute("role", list ? "listbox" : "img");
    this.picture.setAttribute("aria-label", label);
    this.svg.setAttribute(list ? "role" : "aria-hidden", list ? "none" : "true");
    if (!list) return;
    const options = blocks.map((block, k) => {
      const option = make("g", { role: "option", id: `block-${k}`, "aria-label": block.text, "aria-selected": "false" });
      return option;
    });
    this.svg.append(...options);
  }

  ticks(side, top, factor, colours) {
    let at = 0;
    return side.duration.map((ns, k) => {
      const tick = make("rect", { x: at * factor, y: top, width: Math.max(ns, 1) * factor, height: TICK, fill: colours[side.colour[k]] });
      at += ns;
      if (side.block[k] >= 0) tick.dataset.block = side.block[k];
      tick.dataset.said = `${side.side}: ${side.unit[k] ? `${side.unit[k]}, ` : ""}${side.time[k]}, ${this.data.names[side.name[k]]}`;
      return tick;
    });
  }

  band(block, factors) {
    const [above, below] = this.data.sides.map((side, k) => side.extents[block]?.map((ns) => ns * factors[k]));
    if (!above || !below) return [];
    const shape = `M${above[0]} ${TICK}H${above[1]}L${below[1]} ${TICK + BAND}H${below[0]}Z`;
    const band = make("path", { d: shape });
    band.dataset.block = block;
    return [band];
  }

  point(target) {
    const block = Number(target.dataset.block ?? -1);
    this.light(block, target.dataset.said);
  }

  light(block, kernel) {
    if (block !== this.lit) {
      this.lit = block;
      this.svg.classList.toggle("lit", block >= 0);
      for (const part of this.svg.querySelectorAll(".on")) part.classList.remove("on");
      for (const part of this.svg.querySelectorAll(`[data-block="${block}"]`)) part.classList.add("on");
    }
    const lines = [block >= 0 ? this.data.blocks[block].text : null, kernel].filter(Boolean);
    this.said.replaceChildren(...(lines.length ? lines : [this.data.hint]).map((text) => {
      const line = document.createElement("span");
      line.textContent = text;
      return line;
    }));
  }

  choose(block) {
    if (block >= 0 && this.data.links) this.send(block);
  }

  key(event) {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const count = this.data.blocks.length;
    if (event.key in steps && count) {
      const from = this.lit < 0 ? (steps[event.key] > 0 ? -1 : 0) : this.lit;
      this.light((from + steps[event.key] + count) % count);
      for (const option of this.svg.querySelectorAll("[role=option]")) option.setAttribute("aria-selected", String(option.id === `block-${this.lit}`));
      this.picture.setAttribute("aria-activedescendant", `block-${this.lit}`);
    } else if (event.key === "Enter") {
      this.choose(this.lit);
    } else return;
    event.preventDefault();
  }
}

function make(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
