// Two settings for the same query, row against row: open, to play with them, or blind, to say which row is better.

import { Refused, ask, debounced, latestOnly } from "./api.js";
import { $, counted, icon, make } from "./dom.js";
import { configOf, hasParts, queryOf } from "./query.js";
import { makeSliders } from "./sliders.js";
import { Wall } from "./wall.js";

const OPEN_ROW = 10, BLIND_ROW = 5; // pictures; five as in the paper's judge
const SETTLED_MS = 500; // a blind comparison is for words that are finished
const QUESTIONS = [
  ["accuracy", "Which row fits the words better?"],
  ["aesthetics", "Which row is more beautiful?"],
  ["diversity", "Which row is more varied?"],
];
const CHOICES = [[0, "Upper"], [1, "Lower"], [-1, "No difference"]];
const QUERIES = ["a quiet harbour at dawn", "portrait of a woman", "a city at night", "flowers in a vase", "snow in the mountains", "two people talking", "a dog outdoors", "an old street", "trees in autumn", "a stormy sea", "fruit on a table", "a crowd"];

const kept = (name, otherwise) => {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise; // someone else's value under our name
  }
};
const keep = (name, value) => localStorage.setItem(name, JSON.stringify(value));

export class Compare {
  constructor(root, { info, query, index, viewer, setWords }) {
    Object.assign(this, { root, info, query, index, viewer, setWords });
    this.on = false;
    this.blind = kept("compare.blind", false);
    this.sides = null; // [{index, beauty, rewrite, rerank}, …]
    this.at = kept("compare.at", -1); // place in the list of queries to vote on
    this.voter = kept("compare.voter", null) ?? `guest-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    this.pair = null; // {token, voted, revealed} of the blind rows shown
    this.refreshBlindSoon = debounced(() => this.showPair(), () => SETTLED_MS);
    document.addEventListener("keydown", (event) => this.key(event));
  }

  toggle(on) {
    this.on = on;
    this.root.hidden = !on;
    if (!on) return;
    this.build();
    if (this.blind && !hasParts(this.query())) return this.next();
    this.refresh();
  }

  refresh() {
    if (!hasParts(this.query())) return this.say("Say what to look for: both rows answer it.");
    // Ids are an index's own: in another one the same number is another picture.
    if (this.query().likes.length && this.sides.some(({ index }) => index !== this.index()))
      return this.say(`The query has a picture of the index ${this.index()}, which another one may not have: drop its file instead.`, true);
    if (this.blind) this.refreshBlindSoon();
    else this.live.forEach((request, side) => request(side));
  }

  // ---- the panel

  build() {
    const { indexes } = this.info(), first = indexes[0] ?? { name: "", scorers: [], rewriters: [], rerankers: [] };
    const fitting = (side) => indexes.some(({ name }) => name === side.index);
    const plain = { index: this.index(), beauty: {}, rewrite: "none", rerank: "" };
    const lead = first.scorers.find((scorer) => scorer.default) ?? first.scorers.find((scorer) => scorer.in_index !== false);
    this.sides ??= kept("compare.sides", null);
    if (!this.sides?.every(fitting)) this.sides = [{ ...plain, beauty: { ...this.query().beauty } }, { ...plain, beauty: lead ? { [lead.name]: 1 } : {} }];
    const mode = (blind, label) => make("button.plain", { type: "button", "aria-pressed": String(this.blind === blind), onclick: () => this.setMode(blind) }, label);
    const settings = make("div.sides", {}, this.settings(0), this.settings(1));
    this.message = make("p.message", { role: "status", "aria-live": "polite" });
    this.rows = [this.row(), this.row()];
    this.questions = make("div.questions", { hidden: true });
    const ways = make("div.ways", {}, make("div.modes", { role: "group", "aria-label": "Mode" }, mode(false, "Side by side"), mode(true, "Vote blind")));
    if (this.blind) ways.append(make("details.settings", {}, make("summary", {}, "Settings of the two rows"), settings), this.message, this.voting());
    this.root.replaceChildren(ways, ...(this.blind ? [] : [settings, this.message]), ...this.rows.map(({ element }) => element), this.questions);
    if (!this.blind) this.rows.forEach(({ title }, side) => (title.textContent = this.named(side)));
    this.live = this.rows.map(({ wall }) => latestOnly((side, signal) => this.showRow(side, wall, signal)));
  }

  settings(side) {
    const { indexes } = this.info(), mine = this.sides[side];
    const here = indexes.find(({ name }) => name === mine.index) ?? indexes[0];
    const changed = () => {
      keep("compare.sides", this.sides);
      if (!this.blind) this.rows[side].title.textContent = this.named(side);
      if (this.blind) this.refresh();
      else if (hasParts(this.query())) this.live[side](side);
    };
    const pick = (label, key, names) => {
      if (names.length < 2) return "";
      const select = make("select", {}, ...names.map(([value, text]) => make("option", { value }, text)));
      select.value = mine[key];
      select.addEventListener("change", () => {
        mine[key] = select.value;
        if (key === "index") {
          mine.beauty = {};
          this.build();
          this.refresh();
        }
        changed();
      });
      return make("label.pick", {}, make("span.quiet", {}, label), " ", select);
    };
    const sliders = make("div.sliders");
    makeSliders(sliders, here?.scorers ?? [], mine.beauty, (beauty) => {
      mine.beauty = beauty;
      changed();
    }, { first: 3 });
    return make(
      "fieldset.side",
      {},
      make("legend", {}, side ? "B" : "A"),
      make(
        "div.picks",
        {},
        pick("Index", "index", indexes.map(({ name }) => [name, name])),
        pick("Rewrite", "rewrite", [["none", "as typed"], ...(here?.rewriters ?? []).filter((name) => name !== "none").map((name) => [name, name])]),
        pick("Re-rank", "rerank", [["", "not"], ...(here?.rerankers ?? []).map((name) => [name, name])]),
      ),
      sliders,
    );
  }

  voting() {
    const name = make("input", { type: "text", value: this.voter, maxlength: 64, "aria-label": "Your name with the votes" });
    name.addEventListener("change", () => keep("compare.voter", (this.voter = name.value.trim() || this.voter)));
    const queries = make("textarea", { rows: 6, spellcheck: "false", "aria-label": "Queries to vote on, one a line" });
    queries.value = this.queries().join("\n");
    queries.addEventListener("change", () => {
      keep("compare.queries", queries.value.split("\n").map((line) => line.trim()).filter(Boolean));
      keep("compare.at", (this.at = -1));
    });
    return make(
      "div.voting",
      {},
      make("label.pick", {}, make("span.quiet", {}, "Voter"), " ", name),
      make("details.list", {}, make("summary", {}, "Queries"), queries),
      make("a.plain", { href: "/votes/export", download: "hpir.jsonl" }, "Export votes"),
    );
  }

  queries() {
    const own = kept("compare.queries", []);
    return own.length ? own : QUERIES;
  }

  row() {
    const title = make("h2"), list = make("ul.pictures", { "aria-label": "Row" });
    const element = make("section.row", {}, title, list);
    const narrow = () => innerWidth < 640;
    const wall = new Wall(list, {
      open: (results, at) => {
        this.opened = wall;
        this.viewer.closed = (shown) => wall.focus(shown);
        this.viewer.open(results, at);
      },
      rowHeight: (width) => {
        if (narrow()) return width * 0.3; // in lines of two or three: who votes on a phone shall see all of them
        return this.blind ? Math.min(320, innerHeight * 0.32, this.shared(width)) : Math.max(150, innerHeight * 0.21);
      },
      gap: () => (narrow() ? 6 : 12),
      oneRow: this.blind && !narrow(),
    });
    return { element, title, list, wall };
  }

  // The height at which both rows fit: neither shall win by larger pictures.
  shared(width) {
    const fits = this.rows.map(({ wall }) => {
      const sum = wall.results.reduce((total, one) => total + (one.height > 0 ? one.width / one.height : 1.5), 0);
      return sum ? (width - 12 * (wall.results.length - 1)) / sum : Infinity;
    });
    return Math.min(...fits);
  }

  named(side) {
    const { index, beauty, rewrite, rerank } = this.sides[side];
    const said = Object.entries(beauty).map(([scorer, b]) => `${scorer} ${b > 0 ? "+" : "−"}${Math.abs(b)}`);
    if (rewrite !== "none") said.push(`rewritten by ${rewrite}`);
    if (rerank) said.push(`re-ranked by ${rerank}`);
    if (!said.length) said.push("relevance alone");
    if (this.info().indexes.length > 1) said.unshift(index);
    return `${side ? "B" : "A"} · ${said.join(", ")}`;
  }

  config(side, k) {
    const mine = this.sides[side];
    return { ...configOf({ ...this.query(), ...mine, good: false }, k), index: mine.index };
  }

  setMode(blind) {
    keep("compare.blind", (this.blind = blind));
    this.pair = null;
    this.build();
    if (blind && !hasParts(this.query())) this.next();
    else this.refresh();
  }

  say(text, error = false) {
    this.message.textContent = text;
    this.message.classList.toggle("error", error);
  }

  // ---- open

  async showRow(side, wall, signal) {
    const { index, ...config } = this.config(side, OPEN_ROW);
    try {
      const answer = await ask("/search", { query: queryOf(this.query()), config, index }, signal);
      wall.show(answer.results);
      this.say("");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.say(error.message, true);
    }
  }

  // ---- blind

  next() {
    const queries = this.queries();
    keep("compare.at", (this.at = (this.at + 1) % queries.length));
    this.setWords(queries[this.at]);
  }

  async showPair() {
    if (!this.on || !this.blind) return;
    this.pair = null;
    this.questions.hidden = true;
    try {
      const answer = await ask("/compare", { query: queryOf(this.query()), a: this.config(0, BLIND_ROW), b: this.config(1, BLIND_ROW) });
      answer.rows.forEach((row, place) => {
        this.rows[place].title.textContent = CHOICES[place][1] + " row";
        this.rows[place].wall.show(row);
      });
      this.rows[0].wall.lay(false);
      if (!answer.token) {
        this.say(answer.same ? "Both settings give the same pictures here: nothing to vote on." : "A row is empty: nothing to vote on.");
        this.questions.replaceChildren(this.nextButton());
        this.questions.hidden = false;
        return;
      }
      this.pair = { token: answer.token, voted: {}, revealed: null };
      this.say(this.place());
      this.ask();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.say(error.message, true);
    }
  }

  place() {
    const queries = this.queries();
    return queries[this.at] === this.query().words.trim() ? `${this.at + 1} of ${queries.length}` : "";
  }

  ask() {
    const { voted, revealed } = this.pair;
    const lines = QUESTIONS.map(([aspect, words]) => {
      const choice = ([row, label]) => make("button.plain", { type: "button", "aria-pressed": String(voted[aspect] === row), dataset: { aspect, row }, onclick: () => this.vote(aspect, row) }, label);
      return make("div.question", { role: "group", "aria-label": words }, make("p", {}, words), make("div.choices", {}, ...CHOICES.map(choice)));
    });
    const keys = make("p.keys", {}, make("kbd", {}, "1"), " upper ", make("kbd", {}, "2"), " lower ", make("kbd", {}, "3"), " no difference ", make("kbd", {}, "n"), " next");
    this.questions.replaceChildren(...lines, revealed ? this.revealed() : "", this.nextButton(), keys);
    this.questions.hidden = false;
  }

  nextButton() {
    return make("button.main", { type: "button", onclick: () => this.next() }, "Next words", icon("after"));
  }

  // A click is a vote: the service has it on disk before the button shows it.
  async vote(aspect, row) {
    const pair = this.pair;
    try {
      const answer = await ask("/votes", { token: pair.token, voter: this.voter, aspect, choice: row });
      if (this.pair !== pair) return;
      pair.voted[aspect] = row;
      if (answer.revealed) {
        pair.revealed = answer.revealed;
        this.rows.forEach(({ title }, place) => (title.textContent = this.named(answer.revealed.order[place] === "a" ? 0 : 1)));
      }
      const focused = document.activeElement?.dataset ?? {};
      this.ask();
      if (focused.aspect) $(`[data-aspect="${focused.aspect}"][data-row="${focused.row}"]`, this.questions)?.focus();
      this.say([this.place(), `${counted(Object.keys(pair.voted).length, "vote")} kept`].filter(Boolean).join(" · "));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.say(error.message, true);
    }
  }

  revealed() {
    const { tally } = this.pair.revealed;
    const line = ([aspect]) => {
      const { a, b, same } = tally[aspect];
      const bar = make("span.tally", { "aria-hidden": "true" });
      bar.style.setProperty("--a", a);
      bar.style.setProperty("--same", same);
      bar.style.setProperty("--b", b);
      bar.append(make("i.a"), make("i.same"), make("i.b"));
      return make("tr", {}, make("th", { scope: "row" }, aspect), make("td", {}, String(a)), make("td.bar", {}, bar), make("td", {}, String(b)), make("td.quiet", {}, same ? `${same} alike` : ""));
    };
    const head = make("tr", {}, make("td"), make("th", { scope: "col" }, "A"), make("td"), make("th", { scope: "col" }, "B"), make("td"));
    return make("table.revealed", { "aria-label": "All votes on these two settings" }, make("caption", {}, "All votes on these two settings"), head, ...QUESTIONS.map(line));
  }

  key(event) {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (!this.on || !this.blind || typing || event.altKey || event.ctrlKey || event.metaKey) return;
    const open = QUESTIONS.find(([aspect]) => this.pair && !(aspect in this.pair.voted));
    const row = { 1: 0, 2: 1, 3: -1 }[event.key];
    if (row !== undefined && open) this.vote(open[0], row);
    else if (event.key === "n") this.next();
    else return;
    event.preventDefault();
  }
}
