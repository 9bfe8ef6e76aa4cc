// The page: what is asked, and what is shown for it.

import { Refused, ask, debounced, latestOnly } from "./api.js";
import { Compare } from "./compare.js";
import { $, calm, counted, make, wordsOf } from "./dom.js";
import { askNot, makeFilters, readPicture, showChips, takePictures } from "./parts.js";
import { bodyOf, emptyQuery, fromParameters, hasParts, toParameters } from "./query.js";
import { showRewrite } from "./rewrite.js";
import { makeSliders } from "./sliders.js";
import { Viewer } from "./viewer.js";
import { Wall } from "./wall.js";
import { Why } from "./why.js";

const PAGE = 48; // pictures at once; the next ones come as the end is neared
const TYPING_MS = 140, SLOW_TYPING_MS = 1000; // the second where a language model is asked: not for half a word
const QUICK_REWRITERS = ["none", "template"];
const IDEAS = ["sunset over the water", "portrait of a woman", "trees in autumn", "a city at night"]; // the first one is the example

let query = fromParameters(new URLSearchParams(location.search));
let info = { indexes: [] };
let results = [], ended = true, loading = false, example = false;

const status = $("#status"), words = $("#words"), chips = $("#chips"), list = $("#pictures");
const narrow = () => innerWidth < 640;
const wall = new Wall(list, {
  open: (all, at) => viewer.open(all, at),
  similar,
  rowHeight: (width) => (narrow() ? Math.min(190, width * 0.46) : Math.max(220, Math.min(340, innerHeight * 0.36))),
  gap: () => (narrow() ? 8 : 14),
  foot: () => (document.body.classList.contains("details") ? 54 : 0),
});
const why = new Why({ critic: () => info.critic ?? null, keeps: (name) => Boolean(info.indexes.find((one) => one.name === name)?.critiques?.length) });
const viewer = new Viewer($("#viewer"), { similar, add: addLike, why, closed: (at) => wall.focus(at) });
const compare = new Compare($("#taste"), { info: () => info, query: () => query, index: () => index().name, viewer, setWords });

const most = () => info.limits?.max_k ?? 1000; // results that the service gives for one query
const index = () => info.indexes.find(({ name }) => name === query.index) ?? info.indexes[0] ?? { name: "", count: 0, scorers: [], columns: [] };

// ---- asking

const asked = latestOnly(async ({ body, more }, signal) => {
  loading = true;
  document.body.classList.add("asking");
  try {
    const answer = await ask("/search", body, signal);
    results = more ? [...results, ...answer.results] : answer.results;
    ended = answer.results.length < body.config.k || results.length >= most();
    wall.show(results, { more });
    said(answer, more);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    failed(error);
  } finally {
    loading = false;
    document.body.classList.remove("asking");
    nearEnd();
  }
});

function search() {
  remember();
  if (compare.on) return compare.refresh();
  example = !hasParts(query);
  const body = example ? { ...bodyOf({ ...query, words: IDEAS[0] }, PAGE) } : bodyOf(query, PAGE);
  asked({ body, more: false });
}
const searchSoon = debounced(search, () => (QUICK_REWRITERS.includes(query.rewrite) ? TYPING_MS : SLOW_TYPING_MS));

function searchMore() {
  if (ended || loading || compare.on) return;
  asked({ body: bodyOf(example ? { ...query, words: IDEAS[0] } : query, Math.min(PAGE, most() - results.length), results.length), more: true });
}

function nearEnd() {
  const end = $("#more").getBoundingClientRect();
  if (results.length && end.top < innerHeight * 2) searchMore();
}

// ---- saying what was found

function said(answer, more) {
  status.classList.remove("error");
  const spent = Object.values(answer.seconds ?? {}).reduce((sum, seconds) => sum + (typeof seconds === "number" ? seconds : 0), 0);
  const of = `${results.length.toLocaleString("en")} of ${counted(index().count, "picture")}`;
  const time = spent && !more ? ` · ${Math.max(1, Math.round(spent * 1000))} ms` : "";
  if (example) status.replaceChildren("For example: ", make("em", {}, IDEAS[0]));
  else if (answer.good_match === false) status.replaceChildren("No good match", ...(query.words.trim() ? [" for ", make("em", {}, query.words.trim())] : []), ". ", nearest());
  else if (!results.length) status.textContent = query.where.length ? "No picture is left by this filter." : "No picture was found.";
  else status.replaceChildren(of, make("span.time", {}, time), `${(answer.notes ?? []).map((note) => ` · ${note}`).join("")}`);
  showRewrite($("#rewritten"), answer.query?.rewrites);
  if (!more && scrollY > 40 && !document.activeElement?.closest?.("#tune")) scrollTo({ top: 0, behavior: calm() ? "auto" : "smooth" });
}

function nearest() {
  const anyway = () => {
    query.good = $("#good").checked = false;
    search();
  };
  return make("button.plain.inline", { type: "button", onclick: anyway }, "Show the nearest anyway");
}

function failed(error) {
  if (error instanceof Refused && error.status === 401) return location.assign("/"); // which asks for the token
  status.classList.add("error");
  status.textContent = error.message;
  if (!(error instanceof Refused)) throw error;
}

// ---- changing what is asked

function remember() {
  const parameters = toParameters(query).toString();
  const address = parameters ? `?${parameters}` : location.pathname;
  // Each settled query is a step of the browser's history; each letter on the way to it is not.
  history.replaceState(null, "", address);
  document.title = query.words.trim() ? `${query.words.trim()} · Beholder` : "Beholder";
}

function settle() {
  history.pushState(null, "", location.href);
}

const showParts = () => showChips(chips, query, changed, (id) => `/thumbnails/${id}?${new URLSearchParams({ index: index().name })}`);

function changed() {
  showParts();
  search();
}

function setWords(text) {
  query.words = words.value = text;
  search();
}

function similar(result) {
  settle();
  query = { ...emptyQuery(), index: query.index, beauty: query.beauty, likes: [like(result)] };
  words.value = "";
  changed();
  status.textContent = `Pictures like ${wordsOf(result)}`;
  list.focus({ preventScroll: true });
}

function addLike(result) {
  settle();
  if (!query.likes.some(({ id }) => id === result.id)) query.likes.push(like(result));
  changed();
}

const like = (result) => ({ id: result.id, weight: 1, thumbnail: result.thumbnail, name: wordsOf(result) });

async function takePicture(file) {
  try {
    query.pictures.push(await readPicture(file));
    changed();
  } catch (error) {
    failed(new Refused(error.message, 0));
  }
}

// ---- the controls

function choose(select, names, value, taken) {
  select.replaceChildren(...names.map(([name, label]) => make("option", { value: name }, label)));
  select.value = names.some(([name]) => name === value) ? value : names[0]?.[0];
  select.onchange = () => taken(select.value);
}

function showControls() {
  const here = index();
  words.value = query.words;
  showParts();
  const lean = (beauty) => {
    query.beauty = beauty;
    search();
  };
  makeSliders($("#sliders"), here.beauty === false ? [] : here.scorers, query.beauty, lean, { first: narrow() ? 2 : 7 });
  makeFilters($("#filter"), here.columns, (text) => {
    if (!query.where.includes(text)) query.where.push(text);
    changed();
  });
  $("#index-pick").hidden = info.indexes.length < 2;
  choose($("#index"), info.indexes.map(({ name, count }) => [name, `${name} (${count.toLocaleString("en")})`]), here.name, (name) => {
    query = { ...query, index: name, likes: [], beauty: {} };
    showControls();
    search();
  });
  const rewriters = here.rewriters.filter((name) => name !== "none"), rerankers = here.rerankers;
  $("#rewrite-pick").hidden = !rewriters.length;
  choose($("#rewrite"), [["none", "as typed"], ...rewriters.map((name) => [name, name])], query.rewrite, (name) => {
    query.rewrite = name;
    search();
  });
  $("#rerank-pick").hidden = !rerankers.length;
  choose($("#rerank"), [["", "not"], ...rerankers.map((name) => [name, name])], query.rerank, (name) => {
    query.rerank = name;
    search();
  });
  $("#good-pick").hidden = here.calibrated === false;
  $("#good").checked = query.good;
  $("#distinct").checked = query.distinct;
}

function showIdeas() {
  const idea = (text) => make("button.idea", { type: "button", onclick: () => setWords(text) }, text);
  $("#ideas").replaceChildren(...IDEAS.slice(1).map(idea));
}

const THEMES = ["", "light", "dark"];
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
}

function listen() {
  words.addEventListener("input", () => {
    query.words = words.value;
    searchSoon();
  });
  words.addEventListener("change", settle);
  words.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || !results.length) return;
    event.preventDefault();
    wall.focus(0);
  });
  $("#search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
    if (matchMedia("(pointer: coarse)").matches) words.blur(); // the keyboard of a phone covers the pictures
  });
  $("#add-not").addEventListener("click", () => askNot(chips, (text) => {
    query.nots.push(text);
    changed();
  }));
  $("#add-filter").addEventListener("click", (event) => {
    const panel = $("#filter");
    panel.hidden = !panel.hidden;
    event.currentTarget.setAttribute("aria-expanded", String(!panel.hidden));
  });
  takePictures($("#add-picture"), $("#file"), $("#drop"), takePicture);
  for (const name of ["good", "distinct"]) {
    $(`#${name}`).addEventListener("change", (event) => {
      query[name] = event.target.checked;
      search();
    });
  }
  $("#details").addEventListener("click", (event) => {
    const on = document.body.classList.toggle("details");
    event.currentTarget.setAttribute("aria-pressed", String(on));
    wall.lay(false);
  });
  $("#compare").addEventListener("click", (event) => {
    const on = !compare.on;
    event.currentTarget.setAttribute("aria-pressed", String(on));
    document.body.classList.toggle("comparing", on);
    compare.toggle(on);
    if (!on) search();
  });
  $("#theme").addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches, now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
    setTheme(now === "dark" ? "light" : "dark");
  });
  new IntersectionObserver((seen) => seen.some(({ isIntersecting }) => isIntersecting) && searchMore(), { rootMargin: "150%" }).observe($("#more"));
  addEventListener("popstate", () => {
    query = { ...fromParameters(new URLSearchParams(location.search)), pictures: query.pictures };
    showControls();
    search();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, dialog");
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      scrollTo({ top: 0 });
      words.focus();
      words.select();
    } else if (event.key === "Escape" && event.target.closest?.("#pictures")) words.focus();
  });
}

// /info in the form that the page uses, whatever is left out of it.
function readInfo(given) {
  const listed = (columns) => (Array.isArray(columns) ? columns : Object.entries(columns ?? {}).map(([name, type]) => ({ name, type })));
  const named = (names) => (names ?? []).map((one) => one.name ?? one);
  const indexes = (given.indexes ?? []).map((one) => ({
    ...one,
    scorers: one.scorers ?? [],
    columns: listed(one.columns),
    rewriters: named(one.rewriters ?? given.rewriters),
    rerankers: named(one.rerankers ?? given.rerankers),
  }));
  return { ...given, indexes };
}

async function start() {
  if (THEMES.includes(localStorage.getItem("theme"))) setTheme(localStorage.getItem("theme"));
  listen();
  showIdeas();
  try {
    info = readInfo(await ask("/info"));
  } catch (error) {
    return failed(error);
  }
  $("#why-key").hidden = !info.critic && !info.indexes.some(({ critiques }) => critiques?.length);
  showControls();
  search();
  if (!("ontouchstart" in window)) words.focus({ preventScroll: true });
}

start();
