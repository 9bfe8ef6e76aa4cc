// What a rewriter made of the words: what was typed, and what was asked instead.

import { make } from "./dom.js";

// root: where it is said. rewrites: of an answer of /search, {original, text, fallback} for each text that was typed.
export function showRewrite(root, rewrites = []) {
  const told = rewrites.filter(({ original, text, fallback }) => fallback || text !== original);
  root.hidden = !told.length;
  root.replaceChildren(...told.flatMap(said));
}

function said({ original, text, fallback }) {
  if (fallback) return [make("span.quiet", {}, `asked as typed, for the rewriter's answer could not be used: ${fallback}`)];
  const known = new Set(wordsIn(original)), kept = new Set(wordsIn(text));
  const pieces = text.split(/(\s+)/).map((piece) => (wordsIn(piece).every((word) => known.has(word)) ? piece : make("ins", {}, piece)));
  const lost = [...known].some((word) => !kept.has(word));
  return [make("span.quiet", {}, "asked as "), ...(lost ? [make("del", {}, original), " "] : []), ...pieces];
}

const wordsIn = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
