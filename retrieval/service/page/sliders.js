// A slider per scorer, by the scorer's own name: how far results lean to its high or its low values.

import { make } from "./dom.js";

export const LIMIT = 2; // b = 2: two sigmas of relevance for one of the scorer; beyond it the words hardly count
const STEP = 0.1;

// scorers: [{name, default, in_index, card}]. changed(beauty) is called with {scorer: b}, without zeros, as one is moved.
export function makeSliders(root, scorers, beauty, changed, { first = 5 } = {}) {
  const values = { ...beauty };
  const usable = scorers.filter((scorer) => scorer.in_index !== false);
  usable.sort((one, other) => Number(other.default ?? false) - Number(one.default ?? false));
  const rows = usable.map((scorer) => slider(scorer, values, () => changed(Object.fromEntries(Object.entries(values).filter(([, b]) => b)))));
  root.replaceChildren(...rows.map((row) => row.element));
  root.hidden = !rows.length;
  if (rows.length > first) {
    const rest = rows.slice(first);
    const fold = (hidden) => rest.forEach((row) => (row.element.hidden = hidden && !row.value()));
    const button = make("button.plain.fold", { type: "button", "aria-expanded": "false" }, `${rest.length} more`);
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") !== "true";
      button.setAttribute("aria-expanded", String(open));
      button.textContent = open ? "Fewer" : `${rest.length} more`;
      fold(!open);
    });
    fold(true);
    root.append(button);
  }
  return {
    set(beautyNow) {
      rows.forEach((row) => row.set(beautyNow[row.name] ?? 0));
    },
  };
}

function slider(scorer, values, changed) {
  const { name } = scorer;
  const output = make("output");
  const input = make("input", { type: "range", min: -LIMIT, max: LIMIT, step: STEP, "aria-label": name, title: about(scorer) });
  const show = () => {
    const b = Number(input.value), share = 50 + (50 * b) / LIMIT;
    // The bar runs from the middle, where the scorer does not count, to the knob.
    input.style.setProperty("--from", `${Math.min(50, share)}%`);
    input.style.setProperty("--to", `${Math.max(50, share)}%`);
    output.textContent = b ? `${b > 0 ? "+" : "−"}${Math.abs(b).toFixed(1)}` : "";
    input.setAttribute("aria-valuetext", b ? `${b.toFixed(1)}` : "0, not counted");
  };
  const set = (b) => {
    values[name] = Math.max(-LIMIT, Math.min(LIMIT, b));
    input.value = String(values[name]);
    show();
  };
  const move = (b) => {
    set(Math.abs(b) < STEP * 0.75 ? 0 : b);
    changed();
  };
  input.addEventListener("input", () => move(Number(input.value)));
  input.addEventListener("dblclick", () => move(0));
  input.addEventListener("keydown", (event) => {
    if (event.key === "0" || event.key === "Delete") move(0);
  });
  set(values[name] ?? 0);
  const element = make("label.slider", {}, make("span.name", { title: about(scorer) }, name), output, input);
  return { name, element, set, value: () => Number(input.value) };
}

function about({ card = {} }) {
  return [card.model, card.unit, "double click or 0: not counted"].filter(Boolean).join(" · ");
}
