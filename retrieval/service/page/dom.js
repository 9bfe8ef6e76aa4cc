// Elements made by hand: text only ever goes in as text, so that a caption or a query cannot be markup.

export const $ = (selector, root = document) => root.querySelector(selector);

// make("button.plain", { type: "button", onclick: … }, "words", child, …)
export function make(kind, given = {}, ...children) {
  const [name, ...classes] = kind.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const fileName = (result) => (result.uri ?? "").split(/[\\/]/).at(-1) || `picture ${result.id}`;
export const wordsOf = (result) => result.caption || fileName(result);
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
export const ordinal = (share) => `${Math.round(share * 100)}`;
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
