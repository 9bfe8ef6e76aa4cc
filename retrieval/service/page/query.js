// What is asked: one plain object, its form in the address bar and its form for the service. Nothing here touches the page.

export const emptyQuery = () => ({
  words: "",
  nots: [], // texts
  pictures: [], // {name, data (base64), preview (address), weight}: too large for the address bar
  likes: [], // {id, weight, thumbnail}
  where: [], // conditions, all of which hold
  beauty: {}, // scorer -> b, without those at 0
  rewrite: "none",
  rerank: "",
  good: false, // good matches only
  distinct: false, // of pictures that are (nearly) the same only the best placed
  index: "",
});

const NEAR = 0.97; // cosine from which pictures count as the same, as `search --dedup` has it

export const hasParts = (query) => Boolean(query.words.trim() || query.pictures.length || query.likes.length);

export function toParameters(query) {
  const parameters = new URLSearchParams();
  if (query.words.trim()) parameters.set("q", query.words);
  query.nots.forEach((text) => parameters.append("not", text));
  query.likes.forEach(({ id, weight }) => parameters.append("like", weight === 1 ? id : `${id}:${weight}`));
  query.where.forEach((condition) => parameters.append("where", condition));
  Object.entries(query.beauty).forEach(([scorer, b]) => parameters.append("beauty", `${scorer}:${b}`));
  if (query.rewrite !== "none") parameters.set("rewrite", query.rewrite);
  if (query.rerank) parameters.set("rerank", query.rerank);
  if (query.good) parameters.set("good", "1");
  if (query.distinct) parameters.set("distinct", "1");
  if (query.index) parameters.set("index", query.index);
  return parameters;
}

export function fromParameters(parameters) {
  const query = emptyQuery();
  query.words = parameters.get("q") ?? "";
  query.nots = parameters.getAll("not").filter(Boolean);
  query.likes = parameters.getAll("like").flatMap((given) => {
    const [id, weight = "1"] = given.split(":");
    return /^\d+$/.test(id) && Number(weight) ? [{ id: Number(id), weight: Number(weight) }] : [];
  });
  query.where = parameters.getAll("where").filter(Boolean);
  parameters.getAll("beauty").forEach((given) => {
    const at = given.lastIndexOf(":"), b = Number(given.slice(at + 1));
    if (at > 0 && Number.isFinite(b) && b) query.beauty[given.slice(0, at)] = b;
  });
  query.rewrite = parameters.get("rewrite") || "none";
  query.rerank = parameters.get("rerank") ?? "";
  query.good = parameters.get("good") === "1";
  query.distinct = parameters.get("distinct") === "1";
  query.index = parameters.get("index") ?? "";
  return query;
}

// The parts of the body of /search: what is looked for, without how.
export function queryOf(query) {
  const parts = {};
  if (query.words.trim()) parts.text = [{ text: query.words.trim(), weight: 1 }];
  if (query.nots.length) parts.not = [...query.nots];
  if (query.pictures.length) parts.image = query.pictures.map(({ data, weight }) => ({ data, weight }));
  if (query.likes.length) parts.like = query.likes.map(({ id, weight }) => ({ id, weight }));
  return parts;
}

export function configOf(query, k) {
  const config = { k };
  if (query.where.length) config.where = joined(query.where);
  if (Object.keys(query.beauty).length) config.beauty = { ...query.beauty };
  if (query.rewrite !== "none") config.rewrite = query.rewrite;
  if (query.rerank) config.rerank = [query.rerank];
  if (query.good) config.min_relevance = "auto";
  if (query.distinct) config.near = NEAR;
  return config;
}

export const joined = (conditions) => (conditions.length === 1 ? conditions[0] : conditions.map((one) => `(${one})`).join(" AND "));

export function bodyOf(query, k, offset = 0) {
  const body = { query: queryOf(query), config: configOf(query, k) };
  if (query.index) body.index = query.index;
  if (offset) body.offset = offset;
  return body;
}

// A comparison over a column as an SQL condition; "" where the value does not fit the column.
export function condition(column, comparison, value) {
  const name = /^[a-z_][a-z0-9_]*$/i.test(column.name) ? column.name : `"${column.name.replaceAll('"', '""')}"`;
  const text = value.trim();
  if (!text) return "";
  if (comparison === "contains") return `${name} ILIKE '%${text.replaceAll("'", "''")}%'`;
  if (isNumber(column)) return Number.isFinite(Number(text)) ? `${name} ${comparison} ${Number(text)}` : "";
  return `${name} ${comparison} '${text.replaceAll("'", "''")}'`;
}

export const isNumber = (column) => /int|float|double|decimal|number/i.test(column.type ?? "");
