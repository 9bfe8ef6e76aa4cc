// What a rewriter made of the words: what was typed, and what was asked instead.

import { make } from "./dom.js";

// root: where it is said. answer: of /search.
export function showRewrite(root, answer) {
  const { original = "", rewritten = null, fallback = null } = answer.query ?? {};
  root.hidden = !fallback && (!rewritten || rewritten === original);
  if (root.hidden) return root.replaceChildren();
  if (fallback) return root.replaceChildren(make("span.quiet", {}, "asked as typed: "), `the rewriter's answer could not be used (${fallback})`);
  const known = new Set(wordsIn(original));
  const said = rewritten.split(/(\s+)/).map((piece) => (wordsIn(piece).every((word) => known.has(word)) ? piece : make("ins", {}, piece)));
  const lost = wordsIn(original).some((word) => !wordsIn(rewritten).includes(word));
  root.replaceChildren(make("span.quiet", {}, "asked as "), lost ? make("del", {}, original) : "", lost ? " " : "", ...said);
}

const wordsIn = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
