// The wall of pictures: justified rows, tiles that glide to their new places when the order changes, arrow keys.

import { thumbnailOf } from "./api.js";
import { calm, icon, make, wordsOf } from "./dom.js";
import { justified, neighbour } from "./layout.js";

const GLIDE = { duration: 480, easing: "cubic-bezier(.22,.8,.24,1)" };

export class Wall {
  // list: the <ul>. open(results, at), similar(result): what a picture's buttons do. rowHeight(): CSS pixels.
  // oneRow: all pictures in one row that fits the width, however low it gets.
  constructor(list, { open, similar, rowHeight, gap = () => 14, foot = () => 0, oneRow = false }) {
    Object.assign(this, { list, open, similar, rowHeight, gap, foot, oneRow });
    this.results = [];
    this.tiles = new Map(); // id -> {item, button, image}
    this.places = [];
    this.current = 0;
    this.width = 0;
    list.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => {
      if (list.clientWidth !== this.width) this.lay(false);
    }).observe(list);
  }

  // Shows results in this order. Pictures that stay glide; with `more` the first ones are those already there.
  show(results, { more = false } = {}) {
    const focused = document.activeElement?.closest?.("li")?.dataset.id;
    const before = new Map(this.results.map(({ id }, at) => [id, this.places[at]]));
    const ids = new Set(results.map(({ id }) => id));
    for (const [id, tile] of this.tiles) {
      if (ids.has(id)) continue;
      tile.item.remove();
      this.tiles.delete(id);
    }
    this.results = results;
    results.forEach((result, at) => {
      const tile = this.tiles.get(result.id) ?? this.tile(result);
      this.describe(tile, result);
      if (this.list.children[at] !== tile.item) this.list.insertBefore(tile.item, this.list.children[at] ?? null);
    });
    if (!more) this.current = 0;
    this.lay(!more, before);
    const again = results.findIndex(({ id }) => String(id) === focused);
    if (focused !== undefined && this.results.length) this.focus(Math.max(0, again), { preventScroll: true });
    else this.rove(this.current);
  }

  tile(result) {
    const image = make("img", { alt: "", loading: "lazy", decoding: "async", draggable: "true" });
    image.addEventListener("load", () => image.classList.add("there"));
    image.addEventListener("error", () => image.closest("li")?.classList.add("gone"));
    const at = () => this.results.findIndex(({ id }) => id === result.id);
    const button = make("button.open", { type: "button", tabindex: -1, onclick: () => this.open(this.results, at()) }, image);
    button.addEventListener("focus", () => this.rove(at()));
    const like = this.similar
      ? make("button.like", { type: "button", tabindex: -1, title: "More like this", "aria-label": "More like this", onclick: () => this.similar(this.results[at()]) }, icon("similar"))
      : null;
    const words = make("span.words"), facts = make("span.facts"), missing = make("span.missing");
    const item = make("li", { dataset: { id: result.id } }, button, like ?? "", make("div.foot", {}, words, facts), missing);
    const tile = { item, button, image, words, facts, missing };
    this.tiles.set(result.id, tile);
    return tile;
  }

  describe(tile, result) {
    const words = wordsOf(result);
    tile.image.alt = words;
    tile.words.textContent = words;
    tile.missing.textContent = words;
    tile.facts.textContent = result.relevance === undefined ? "" : `${result.rank} · ${result.relevance.toFixed(3)}`;
    tile.button.setAttribute("aria-label", `${result.rank ? `${result.rank}: ` : ""}${words}`);
  }

  lay(glide, before = new Map()) {
    this.width = this.list.clientWidth;
    if (!this.width) return;
    const height = this.rowHeight(this.width), gap = this.gap(), foot = this.foot();
    const ratios = this.results.map((result) => (result.width > 0 && result.height > 0 ? result.width / result.height : 1.5));
    const width = this.width;
    const layout = this.oneRow ? oneRow(ratios, width, height, gap, foot) : justified(ratios, { width, height, gap, foot });
    this.places = layout.places;
    this.list.style.height = `${layout.height}px`;
    const view = this.list.getBoundingClientRect().top;
    const seen = (place) => view + place.top < innerHeight + 200 && view + place.top + place.height > -200;
    this.results.forEach((result, at) => {
      const { item, image } = this.tiles.get(result.id), place = this.places[at], from = before.get(result.id);
      Object.assign(item.style, { width: `${place.width}px`, transform: `translate(${place.left}px, ${place.top}px)` });
      item.style.setProperty("--height", `${place.height}px`);
      const source = thumbnailOf(result, place.height);
      if (image.getAttribute("src") !== source) image.src = source;
      if (!glide || calm() || !(seen(place) || (from && seen(from)))) return;
      if (from && (from.left !== place.left || from.top !== place.top || from.width !== place.width)) {
        const start = `translate(${from.left}px, ${from.top}px) scale(${from.width / place.width})`;
        item.animate([{ transform: start, transformOrigin: "0 0" }, { transform: item.style.transform, transformOrigin: "0 0" }], GLIDE);
      } else if (!from) {
        item.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 320, easing: "ease-out" });
      }
    });
  }

  // One tile is in the tab order, as in a toolbar; arrows move between them.
  rove(at) {
    if (at < 0) return;
    this.current = at;
    this.results.forEach(({ id }, index) => (this.tiles.get(id).button.tabIndex = index === at ? 0 : -1));
  }

  focus(at, how) {
    const result = this.results[at];
    if (result) this.tiles.get(result.id).button.focus(how);
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.results.length) return;
    if (event.key.startsWith("Arrow")) this.focus(neighbour(this.places, this.current, event.key));
    else if (event.key === "Home") this.focus(0);
    else if (event.key === "End") this.focus(this.results.length - 1);
    else if (event.key === "m" && this.similar) this.similar(this.results[this.current]);
    else return;
    event.preventDefault();
  }
}

// All pictures in a single row, of the wanted height or as high as the width allows.
function oneRow(ratios, width, height, gap, foot) {
  const sum = ratios.reduce((total, ratio) => total + ratio, 0);
  const fitted = Math.min(height, (width - gap * (ratios.length - 1)) / (sum || 1));
  let left = 0;
  const places = ratios.map((ratio) => {
    const place = { left, top: 0, width: ratio * fitted, height: fitted };
    left += place.width + gap;
    return place;
  });
  return { places, height: ratios.length ? fitted + foot : 0 };
}
