"use strict";
// Facets and filters: values to click on, with their counts over all matching documents, and a chip for each active filter.

const MOST_FACETS = 8, MOST_CHIPS = 6, COUNTED = 200, RANGES = 4, MOST_ATTRIBUTES = 6;
const counted = new Intl.NumberFormat("en");

/** Filters that were chosen: labels, all of which a document needs, and one condition an attribute. */
const chosen = { labels: new Set(), attributes: new Map() };
const filtered = () => chosen.labels.size + chosen.attributes.size > 0;

function dropFilters() {
  chosen.labels.clear();
  chosen.attributes.clear();
}

/** The filter of a request; null without any. */
function filterOf() {
  const parts = [...chosen.labels].map(label => ({ labels: [label] }));
  for (const [name, condition] of chosen.attributes) parts.push({ attributes: { [name]: condition } });
  return parts.length < 2 ? parts[0] || null : { all: parts };
}

/** The facets of a request: labels and the first attributes of the index. */
function facetsOf(attributes) {
  const facets = { labels: { limit: COUNTED } };
  for (const [name, type] of Object.entries(attributes || {}).slice(0, MOST_FACETS)) {
    facets[name] = type === "number" || type === "date" ? { ranges: RANGES } : { limit: COUNTED };
  }
  return facets;
}

// ---- the address ------------------------------------------------------------------------------------------------
function rememberFilters(parameters) {
  for (const label of chosen.labels) parameters.append("label", label);
  for (const [name, condition] of chosen.attributes) parameters.append("where", JSON.stringify({ [name]: condition }));
}

function recallFilters(parameters) {
  dropFilters();
  parameters.getAll("label").forEach(label => chosen.labels.add(label));
  for (const text of parameters.getAll("where")) {
    try {
      for (const [name, condition] of Object.entries(JSON.parse(text))) if (condition && typeof condition === "object") chosen.attributes.set(name, condition);
    } catch {
      continue;  // an address that was cut off has no such filter
    }
  }
}

// ---- words for values and conditions ----------------------------------------------------------------------------
function valueText(value) {
  if (value && typeof value === "object") return String(value.date).replace(/T(\d\d:\d\d)(:00)?Z$/, " $1");
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

const numberText = value => (typeof value === "number" ? String(Number(value.toPrecision(6))) : valueText(value));

/** A range, the second of two dates of one year without the year. */
function rangeText({ gte, lt, lte }) {
  const low = gte == null ? null : numberText(gte), end = lt ?? lte, high = end == null ? null : numberText(end);
  if (low == null) return `below ${high}`;
  if (high == null) return `from ${low}`;
  const year = /^\d{4}-(?=\d\d-)/.exec(low)?.[0];
  return low === high ? low : `${low} – ${year && high.startsWith(year) ? high.slice(year.length) : high}`;
}

/** A condition; the page makes values and ranges, an address may name any other. */
function conditionText(condition) {
  if ("eq" in condition) return valueText(condition.eq);
  return ["gte", "lt", "lte"].some(bound => bound in condition) ? rangeText(condition) : JSON.stringify(condition);
}
const plainName = name => name.replaceAll("_", " ");

// ---- showing ----------------------------------------------------------------------------------------------------
/** A chip for each active filter, which removes it. */
function showFilters(changed) {
  const chips = [
    ...[...chosen.labels].map(label => [`label ${label}`, label, () => chosen.labels.delete(label)]),
    ...[...chosen.attributes].map(([name, condition]) => [`${plainName(name)}: ${conditionText(condition)}`, null, () => chosen.attributes.delete(name)]),
  ].map(([text, label, drop]) => make(
    "button", { type: "button", class: "chip active", "aria-label": `Remove the filter ${text}`, title: text, on: { click: () => { drop(); changed(); } } },
    make("span", {}, label ?? text), make("span", { class: "cross", "aria-hidden": "true" }, "×")));
  if (chips.length > 1) chips.push(make("button", { type: "button", class: "plain", on: { click: () => { dropFilters(); changed(); } } }, "Remove all"));
  $("active").hidden = !chips.length;
  $("active-chips").replaceChildren(...chips);
}

/** Facets of an answer: the values of its hits first, then those of the most documents. */
function showFacets(facets, hits, changed) {
  const groups = Object.entries(facets?.counts || {}).map(([name, facet]) => group(name, facet, hits, changed)).filter(Boolean);
  const had = document.activeElement?.dataset.facet;
  $("facets").hidden = !groups.length;
  $("facets-count").textContent = facets ? `${counted.format(facets.documents)} ${facets.documents === 1 ? "document" : "documents"}` : "";
  $("facet-groups").replaceChildren(...groups);
  if (had) [...$("facet-groups").querySelectorAll("button")].find(chip => chip.dataset.facet === had)?.focus();
}

function group(name, facet, hits, changed) {
  const chips = facet.ranges ? rangeChips(name, facet, changed) : valueChips(name, facet, hits, changed);
  if (!chips.length) return null;
  const id = `facet-${name}`;
  return make("div", { class: "facet" }, make("span", { class: "name", id }, name === "labels" ? "Labels" : plainName(name)),
    make("div", { class: "chips", role: "group", "aria-labelledby": id }, ...chips));
}

function facetChip(key, text, count, act) {
  return make("button", { type: "button", class: "chip", "data-facet": key, title: text, on: { click: act } }, make("span", {}, text), make("small", {}, counted.format(count)));
}

function valueChips(name, facet, hits, changed) {
  if (chosen.attributes.has(name)) return [];
  const found = new Map();
  for (const { document: own } of hits) {
    for (const value of name === "labels" ? own.labels || [] : [own.attributes?.[name]]) found.set(value, (found.get(value) || 0) + 1);
  }
  const open = facet.values.filter(({ value }) => name !== "labels" || !chosen.labels.has(value));
  const shown = open.filter(({ count }) => count < facet.documents || facet.missing || open.length > 1);
  const ordered = [...shown].sort((a, b) => (found.get(b.value) || 0) - (found.get(a.value) || 0)).slice(0, MOST_CHIPS);
  const chips = ordered.map(({ value, count }) => facetChip(`${name} ${valueText(value)}`, valueText(value), count, () => {
    name === "labels" ? chosen.labels.add(value) : chosen.attributes.set(name, { eq: value });
    changed();
  }));
  const more = facet.distinct - chosen.labels.size * (name === "labels") - ordered.length;
  return chips.length && more > 0 ? [...chips, make("span", { class: "rest" }, `and ${counted.format(more)} more`)] : chips;
}

function rangeChips(name, facet, changed) {
  const ranges = facet.ranges.filter(({ count }) => count);
  if (ranges.length < 2) return [];
  return ranges.map(({ range, count }) => facetChip(`${name} ${JSON.stringify(range)}`, rangeText(range), count, () => { chosen.attributes.set(name, range); changed(); }));
}

/** The attributes of a hit, each of which filters by its value. */
function attributeChips(attributes, narrow) {
  return Object.entries(attributes || {}).slice(0, MOST_ATTRIBUTES).map(([name, value]) => make(
    "button", { class: "label attribute", type: "button", title: `Show only ${plainName(name)} ${valueText(value)}`, on: { click: () => narrow(name, { eq: value }) } },
    make("small", {}, plainName(name)), ` ${valueText(value)}`));
}
