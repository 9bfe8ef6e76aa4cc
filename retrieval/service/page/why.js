// "Why?": what a critic, a model that looks, says of the picture in the viewer. Its words stand apart from what was
// measured, under its name; where it says nothing that can be used, that is said, and no words stand in for it.

import { Refused, ask } from "./api.js";
import { calm, make } from "./dom.js";

const LABELS = { critique: "In short", formal: "Form", emotion: "Feeling" };
const COUNTS_FROM_S = 3; // a longer wait is counted, so that it is seen to go on

export class Why {
  // critic(): {name, kinds} of the service, or null. keeps(index): whether an index keeps texts of critics.
  constructor({ critic, keeps }) {
    Object.assign(this, { critic, keeps });
    this.known = new Map(); // picture -> {open, shown, told: Map(what was asked -> entry)}; for as long as the page lives
    setInterval(() => this.count(), 1000);
  }

  // The button and the section of a picture; what is known of it is shown at once.
  of(result) {
    const index = new URL(result.image, location.href).searchParams.get("index") ?? "";
    const name = `${index} ${result.sha256}`;
    if (!this.known.has(name)) this.known.set(name, { open: false, shown: "", looked: false, told: new Map(), index, id: result.id });
    this.now = this.known.get(name);
    this.button = make("button.plain", { type: "button", "aria-controls": "why", title: "What a critic says (w)", onclick: () => this.toggle() }, "Why?");
    this.kinds = make("div.kinds", { role: "group", "aria-label": "What the critic is asked" });
    this.words = make("div.said", { "aria-live": "polite" });
    this.section = make("section.why", { id: "why", "aria-label": "In the words of a critic" }, this.kinds, this.words);
    this.draw();
    if (!this.now.looked && this.keeps(index)) this.look(this.now);
    return { button: this.button, section: this.section };
  }

  toggle() {
    const now = this.now, kinds = this.critic()?.kinds ?? [];
    if (!kinds.length && !now.told.size) return;
    now.open = !now.open;
    now.shown ||= now.told.keys().next().value ?? kinds[0];
    if (now.open && !now.told.has(now.shown)) this.ask(now.shown);
    this.draw(true);
  }

  // The texts that the index keeps: they cost nothing, so they are shown without being asked for.
  async look(now) {
    now.looked = true;
    try {
      const { said } = await ask(`/critique/${now.id}?${new URLSearchParams({ index: now.index })}`);
      for (const { asked, critic, text } of said) if (!now.told.has(asked)) now.told.set(asked, { state: "said", critic, text });
      if (said.length && !now.shown) Object.assign(now, { open: true, shown: said[0].asked });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      now.looked = false; // the next time it is tried again
    }
    if (now === this.now) this.draw();
  }

  async ask(asked) {
    const now = this.now, critic = this.critic().name;
    now.shown = asked;
    now.told.set(asked, { state: "asked", critic, since: performance.now() });
    this.draw();
    try {
      const { answer } = await ask(`/critique/${now.id}?${new URLSearchParams({ index: now.index, kind: asked })}`);
      const { text, fallback: reason } = answer;
      now.told.set(asked, text ? { state: "said", critic: answer.critic, text } : { state: "none", critic: answer.critic, reason });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      now.told.set(asked, { state: "none", critic, reason: error.message });
    }
    if (now === this.now) this.draw(true);
  }

  // ---- what is seen of it

  draw(reveal = false) {
    const { now, button, section } = this, critic = this.critic(), before = document.activeElement, inside = section.contains(before);
    const names = [...new Set([...(critic?.kinds ?? []), ...now.told.keys()])];
    button.hidden = !names.length;
    button.setAttribute("aria-expanded", String(now.open));
    section.hidden = !now.open || !names.length;
    if (section.hidden) return inside ? button.focus() : undefined;
    this.kinds.hidden = names.length < 2;
    this.kinds.replaceChildren(...names.map((asked) => this.kind(asked)));
    this.words.replaceChildren(...this.entry(now.told.get(now.shown)));
    // What had the focus is drawn anew: the same button has it again, or, where that is gone, the one that opened this.
    if (inside) (this.kinds.querySelector(`[data-asked="${CSS.escape(before.dataset.asked ?? "")}"]`) ?? button).focus({ preventScroll: true });
    this.count();
    if (reveal) section.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
  }

  kind(asked) {
    const choose = () => {
      this.now.shown = asked;
      if (this.now.told.has(asked)) this.draw();
      else this.ask(asked);
    };
    return make("button.plain", { type: "button", "aria-pressed": String(asked === this.now.shown), dataset: { asked }, onclick: choose }, LABELS[asked] ?? asked);
  }

  entry(entry) {
    const again = (label) => make("button.plain.again", { type: "button", onclick: () => this.ask(this.now.shown) }, label);
    const mine = this.critic(), asks = mine?.kinds.includes(this.now.shown);
    if (entry.state === "asked") return [make("p.looking", {}, `${entry.critic} is looking`, make("span.seconds", { "aria-hidden": "true" }))];
    if (entry.state === "none") return [make("p.none", {}, `${entry.critic} has no words for this: ${entry.reason}.`), asks ? again("Ask again") : ""].filter(Boolean);
    const by = make("p.by", {}, make("b", {}, entry.critic), " · a model’s words, not a measurement");
    return [make("blockquote", {}, entry.text), by, asks && mine.name !== entry.critic ? again(`Ask ${mine.name}`) : ""].filter(Boolean);
  }

  count() {
    const entry = this.now?.told.get(this.now.shown), seconds = this.words?.querySelector(".seconds");
    if (!seconds || entry?.state !== "asked") return;
    const spent = Math.floor((performance.now() - entry.since) / 1000);
    seconds.textContent = spent >= COUNTS_FROM_S ? ` · ${spent} s` : "";
  }
}
