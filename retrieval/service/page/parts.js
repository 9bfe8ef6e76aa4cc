// The parts of a query beside its words: pictures dropped, pasted or chosen, pictures of the index, negatives, filters.

import { $, icon, make } from "./dom.js";
import { condition, isNumber } from "./query.js";

const MOST_BYTES = 3e6; // a file above this is made smaller here: encoders look at 224 to 448 pixels
const MOST_SIDE = 1024;

// A picture's file for the service: as it is where small, else as JPEG of at most MOST_SIDE pixels.
export async function readPicture(file) {
  if (!file.type.startsWith("image/")) throw new Error(`${file.name || "that"} is not a picture`);
  let blob = file;
  if (file.size > MOST_BYTES) {
    const bitmap = await createImageBitmap(file).catch(() => null);
    if (!bitmap) throw new Error(`${file.name} cannot be read as a picture`);
    const share = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = make("canvas", { width: Math.round(bitmap.width * share), height: Math.round(bitmap.height * share) });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  }
  const address = await new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.addEventListener("error", () => failed(new Error(`${file.name} cannot be read`)));
    reader.readAsDataURL(blob);
  });
  return { name: file.name || "pasted picture", data: address.slice(address.indexOf(",") + 1), preview: address, weight: 1 };
}

// The chips; `changed()` is called when one is changed or removed; `thumbnail(id)` is the address of a picture's.
export function showChips(list, query, changed, thumbnail) {
  const without = (key, at) => {
    query[key].splice(at, 1);
    changed();
    ($("button, input", list) ?? $("#words")).focus();
  };
  const remove = (key, at, name) => make("button.remove", { type: "button", "aria-label": `Remove ${name}`, onclick: () => without(key, at) }, icon("close"));
  const weight = (part, name) => {
    const input = make("input.weight", { type: "number", step: 0.25, min: -4, max: 4, value: part.weight, "aria-label": `Weight of ${name}`, title: "Weight; negative: unlike it" });
    input.addEventListener("change", () => {
      const given = Number(input.value);
      part.weight = Number.isFinite(given) && given ? Math.max(-4, Math.min(4, given)) : 1;
      input.value = part.weight;
      changed();
    });
    return make("span.times", {}, "×", input);
  };
  const picture = (key) => (part, at) => {
    const name = part.name ?? `picture ${part.id}`;
    return make("li.chip.picture", {}, make("img", { src: part.preview ?? part.thumbnail ?? thumbnail(part.id), alt: "" }), make("span", {}, name), weight(part, name), remove(key, at, name));
  };
  list.replaceChildren(
    ...query.pictures.map(picture("pictures")),
    ...query.likes.map(picture("likes")),
    ...query.nots.map((text, at) => make("li.chip.not", {}, make("span", {}, "without ", make("em", {}, text)), remove("nots", at, `without ${text}`))),
    ...query.where.map((text, at) => make("li.chip.where", {}, make("span", {}, text), remove("where", at, `the filter ${text}`))),
  );
}

// The button "Without" becomes a field; Enter or leaving it takes the words, Esc forgets them.
export function askNot(list, taken) {
  const open = $("input.new-not", list);
  if (open) return open.focus();
  const input = make("input.new-not", { type: "text", placeholder: "people, text, …", "aria-label": "Without", maxlength: 200 });
  const item = make("li.chip.not", {}, make("span", {}, "without"), input);
  const end = () => {
    const text = input.value.trim();
    input.value = "";
    item.remove();
    if (text) taken(text);
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") input.value = "";
    if (event.key === "Enter" || event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      input.blur();
      $("#add-not").focus();
    }
  });
  input.addEventListener("blur", end);
  list.append(item);
  input.focus();
}

// Drop anywhere, paste anywhere, or the file button.
export function takePictures(button, file, veil, taken) {
  const take = async (files) => {
    for (const one of files) await taken(one);
  };
  button.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    take([...file.files]);
    file.value = "";
  });
  let inside = 0; // dragenter and dragleave come for every element on the way
  const files = (event) => event.dataTransfer?.types?.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (files(event)) veil.hidden = ++inside === 0;
  });
  document.addEventListener("dragleave", (event) => {
    if (files(event)) veil.hidden = --inside <= 0;
  });
  document.addEventListener("dragover", (event) => {
    if (files(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    inside = 0;
    veil.hidden = true;
    if (!files(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const pictures = [...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/"));
    if (!pictures.length) return;
    event.preventDefault();
    take(pictures);
  });
}

// The panel of filters: shapes, a comparison over a column, or a condition as it is. `add(text)` takes a condition.
export function makeFilters(panel, columns, add) {
  const column = $("#column", panel), comparison = $("#comparison", panel), value = $("#value", panel), raw = $("#raw", panel);
  const known = columns.filter(({ name }) => !["id", "sha256", "bytes"].includes(name));
  known.sort((one, other) => Number(other.name === "caption") - Number(one.name === "caption")); // what people filter by first
  column.replaceChildren(...known.map(({ name }) => make("option", { value: name }, name)));
  const chosen = () => known.find(({ name }) => name === column.value) ?? { name: "width", type: "int" };
  const compare = () => {
    const ways = isNumber(chosen()) ? [[">=", "at least"], ["<=", "at most"], ["=", "is"]] : [["contains", "contains"], ["=", "is"], ["<>", "is not"]];
    comparison.replaceChildren(...ways.map(([sign, words]) => make("option", { value: sign }, words)));
    value.inputMode = isNumber(chosen()) ? "decimal" : "text";
  };
  const take = () => {
    const text = condition(chosen(), comparison.value, value.value);
    value.classList.toggle("wrong", !text);
    if (!text) return value.focus();
    value.value = "";
    add(text);
  };
  column.onchange = compare;
  $("#add-condition", panel).onclick = take;
  const onEnter = (input, work) =>
    (input.onkeydown = (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      work();
    });
  onEnter(value, take);
  onEnter(raw, () => {
    if (!raw.value.trim()) return;
    add(raw.value.trim());
    raw.value = "";
  });
  panel.querySelectorAll("[data-where]").forEach((button) => (button.onclick = () => add(button.dataset.where)));
  compare();
}
