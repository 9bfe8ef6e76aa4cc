// One picture, large, with what is known of it; arrows go through the results.

import { calm, fileName, icon, make, ordinal, wordsOf } from "./dom.js";

export class Viewer {
  // similar(result), add(result): what the two buttons do. why: what critics say. closed(at): where the focus goes back to.
  constructor(dialog, { similar, add, why, closed }) {
    Object.assign(this, { dialog, similar, add, why, closed });
    this.results = [];
    this.at = -1;
    this.image = make("img", { alt: "" });
    this.stage = make("div.stage", {}, this.image);
    this.about = make("div.about");
    const step = (by, name, label) => make(`button.step.${name}`, { type: "button", "aria-label": label, onclick: () => this.show(this.at + by) }, icon(name));
    this.before = step(-1, "before", "The one before");
    this.after = step(1, "after", "The next one");
    const close = make("button.close", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"));
    dialog.replaceChildren(this.stage, this.about, this.before, this.after, close);
    this.stage.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.closed(this.at));
    dialog.addEventListener("keydown", (event) => this.key(event));
    let touch = null;
    this.stage.addEventListener("touchstart", (event) => (touch = event.touches.length === 1 ? event.touches[0].clientX : null), { passive: true });
    this.stage.addEventListener("touchend", (event) => {
      const by = touch === null ? 0 : event.changedTouches[0].clientX - touch;
      if (Math.abs(by) > 50) this.show(this.at + (by < 0 ? 1 : -1));
    });
  }

  open(results, at) {
    this.results = results;
    this.show(at);
    if (!this.dialog.open) this.dialog.showModal();
    this.after.focus({ preventScroll: true });
  }

  show(at) {
    const result = this.results[at];
    if (!result) return;
    this.at = at;
    this.image.src = result.image;
    this.image.alt = wordsOf(result);
    this.image.width = result.width;
    this.image.height = result.height;
    if (!calm()) this.image.animate([{ opacity: 0.35 }, { opacity: 1 }], { duration: 260, easing: "ease-out" });
    this.before.disabled = at === 0;
    this.after.disabled = at === this.results.length - 1;
    for (const near of [at + 1, at - 1]) if (this.results[near]) new Image().src = this.results[near].image;
    const asked = document.activeElement === this.why.button;
    this.about.replaceChildren(...this.described(result));
    // Keys are heard by what has the focus: it must not stay on what is gone, or is disabled.
    const now = document.activeElement, held = this.dialog.contains(now) && !now.disabled;
    if (this.dialog.open && !held) [asked ? this.why.button : null, this.after, this.before].find((one) => one && !one.disabled && !one.hidden)?.focus({ preventScroll: true });
  }

  described(result) {
    const done = (work) => () => {
      this.dialog.close();
      work(result);
    };
    const facts = [`${result.width} × ${result.height}`];
    if (result.relevance !== undefined) facts.unshift(`relevance ${result.relevance.toFixed(3)}`);
    if (result.rank) facts.unshift(`no. ${result.rank}`);
    const scores = Object.entries(result.scores ?? {});
    const bars = make("dl.scores", { "aria-label": "Percentile in this index" });
    for (const [name, share] of scores) {
      const bar = make("span.bar", { "aria-hidden": "true" });
      bar.style.setProperty("--share", `${100 * share}%`);
      bars.append(make("div", {}, make("dt", {}, name), make("dd", {}, bar, make("span", {}, ordinal(share)))));
    }
    const why = this.why.of(result);
    const copies = result.copies?.length ? make("p.quiet", {}, `stands for ${result.copies.length} more, nearly the same`) : "";
    return [
      make("h2", {}, wordsOf(result)),
      make("p.facts", {}, facts.join(" · ")),
      result.caption ? make("p.file", {}, fileName(result)) : "",
      copies,
      scores.length ? make("p.of", {}, "measured: percentile in this index") : "",
      scores.length ? bars : "",
      make(
        "div.doing",
        {},
        make("button.main", { type: "button", onclick: done(this.similar) }, "More like this"),
        why.button,
        make("button.plain", { type: "button", onclick: done(this.add) }, "Add to the query"),
        make("a.plain", { href: result.image, target: "_blank", rel: "noopener" }, "Open the file"),
      ),
      why.section,
    ];
  }

  key(event) {
    const result = this.results[this.at];
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowRight" || event.key === "ArrowDown") this.show(this.at + 1);
    else if (event.key === "ArrowLeft" || event.key === "ArrowUp") this.show(this.at - 1);
    else if (event.key === "w" || event.key === "?") this.why.toggle();
    else if (event.key === "m" && result) {
      this.dialog.close();
      this.similar(result);
    } else return;
    event.preventDefault();
  }
}
