"use strict";
// A hit: its title and text with the words of the query marked, why it was found, and behind that how.

const CELL = 7, GAP = 1.5, BYTE_GAP = 3, READ = 20_000, MOST_WORDS = 6;
const narrow = matchMedia("(max-width: 34rem)");

// ---- codes: hexadecimal to bits, and the picture of where two codes agree --------------------------------------
const bitsOf = hex => [...hex].flatMap(digit => [8, 4, 2, 1].map(bit => (parseInt(digit, 16) & bit ? 1 : 0)));

function picture(code, other, label) {
  const a = bitsOf(code), b = other == null ? a : bitsOf(other), paths = { same1: "", same0: "", differ: "" };
  const perRow = narrow.matches ? 32 : 64, rows = Math.ceil(a.length / perRow), columns = Math.min(a.length, perRow);
  a.forEach((bit, place) => {
    const column = place % perRow, x = column * (CELL + GAP) + Math.floor(column / 8) * BYTE_GAP;
    const y = Math.floor(place / perRow) * (CELL + GAP + 1);
    paths[bit !== b[place] ? "differ" : bit ? "same1" : "same0"] += `M${x} ${y}h${CELL}v${CELL}h-${CELL}z`;
  });
  const width = columns * (CELL + GAP) - GAP + (Math.ceil(columns / 8) - 1) * BYTE_GAP, height = rows * (CELL + GAP + 1) - GAP - 1;
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg");
  for (const [name, value] of Object.entries({ class: "bits", role: "img", "aria-label": label, width, height, viewBox: `0 0 ${width} ${height}` })) svg.setAttribute(name, value);
  for (const [name, d] of Object.entries(paths)) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("class", name); path.setAttribute("d", d); svg.append(path);
  }
  return svg;
}

// ---- why it was found, in words, and how, in figures -----------------------------------------------------------
/** The sides that found a hit. */
const sidesOf = (hit, mode) => ({
  meaning: mode === "semantic" || Boolean(hit.semantic),
  words: mode === "keyword" || Boolean(hit.keyword),
});

/** Words of a hit, each once whatever its case, the longest forms of one place only. */
const distinct = words => [...new Map(words.map(word => [word.toLowerCase(), word])).values()];

function why(hit, mode) {
  const { meaning, words } = sidesOf(hit, mode), by = [...(words ? ["words"] : []), ...(meaning ? ["meaning"] : [])].join(" and ");
  const shown = words ? distinct(hit.matches || []) : [];
  const listed = shown.slice(0, MOST_WORDS).flatMap((word, place) => [place ? ", " : ": ", make("mark", {}, word)]);
  return make("p", { class: "why" }, `Found by ${by}`, ...listed, shown.length > MOST_WORDS ? ", …" : null);
}

const ranked = (name, rank, text) => make("p", {}, make("b", {}, name), rank ? ` rank ${rank}; ` : " ", text);

function how(hit, { mode, code, bits }, place) {
  const { meaning, words } = sidesOf(hit, mode), lines = [];
  if (hit.distance != null) {
    const score = meaning && (hit.semantic ? hit.semantic.score : hit.score), rank = hit.semantic ? hit.semantic.rank : meaning ? place + 1 : 0;
    const far = make("span", { class: "far" }, make("b", {}, String(hit.distance)), ` of ${bits} bits differ`, score == null || score === false ? "" : ` · score ${score.toFixed(2)}`);
    lines.push(ranked("Meaning:", rank, far));
  }
  if (hit.code && code && hit.distance != null) lines.push(picture(hit.code, code, `${bits - hit.distance} of ${bits} bits match the query`));
  if (words) {
    const score = hit.keyword ? hit.keyword.score : hit.score;
    lines.push(ranked("Words:", hit.keyword ? hit.keyword.rank : place + 1, `BM25 score ${score.toFixed(2)}`));
  }
  if (mode === "hybrid") lines.push(ranked("Both:", 0, `both together give the score ${hit.score.toFixed(3)}`));
  return make("details", { class: "how" }, make("summary", {}, "How it was found"), make("div", {}, ...lines));
}

// ---- the card ---------------------------------------------------------------------------------------------------
/**
 * A hit as an item of the list.
 *
 * @param hit Hit of the answer.
 * @param answer Its mode, the query's code and the number of bits.
 * @param place Place in the list, from 0.
 * @param act What its buttons do: like(hit), label(label), attribute(name, condition).
 */
function card(hit, answer, place, act) {
  const { title, text, labels, attributes } = hit.document, words = new Set(hit.matches || []);
  const first = (text || "").split("\n")[0], name = title || (first.length > 120 ? `${first.slice(0, 120)} …` : first) || hit.id;
  const heading = name + (title ? "\n" : "\n\n");  // a line of a paragraph is no heading
  const rest = !text || text === name ? "" : text.startsWith(heading) ? text.slice(heading.length) : text;
  const blocks = rest ? blocksOf(rest.length > READ ? `${rest.slice(0, READ)} …` : rest) : [];
  const body = blocks.length ? make("div", { class: "text" }, make("p", { dir: "auto" }, ...snippet(blocks, words))) : null;
  const node = make("li", { class: "hit", tabindex: "-1", "data-place": place },
    make("h2", { dir: "auto" }, make("span", { class: "rank", "aria-hidden": "true" }, String(place + 1)), make("span", { class: "title" }, ...marked(name, words))),
    body,
    why(hit, answer.mode),
    make("div", { class: "under" },
      labels?.length || Object.keys(attributes || {}).length ? make("span", { class: "labels" },
        ...(labels || []).map(label => make("button", { class: "label", type: "button", title: `Show only ${label}`, on: { click: () => act.label(label) } }, label)),
        ...attributeChips(attributes, act.attribute)) : null,
      body ? make("button", { type: "button", "aria-expanded": "false", class: "unfold", "aria-label": `Read ${name}`, on: { click: () => unfold(node) } }, "Read") : null,
      make("button", { type: "button", class: "like", "aria-label": `More like ${name}`, on: { click: () => act.like(hit) } }, "More like this"),
      how(hit, answer, place)));
  if (body) node.fold = open => body.replaceChildren(...(open ? rendered(blocks, words) : [make("p", { dir: "auto" }, ...snippet(blocks, words))]));
  return node;
}

function unfold(node) {
  const button = node.querySelector(".unfold");
  if (!button) return;
  const open = node.classList.toggle("open");
  node.fold(open);
  button.setAttribute("aria-expanded", String(open));
  button.textContent = open ? "Fold" : "Read";
}
