"use strict";
// The search: what is asked, kept in the address, sent, shown; the keyboard; what the service says of itself.

const DEBOUNCE_MS = 140, PAGE = 10, DEPTH = 100, BUSY_MS = 250, PATIENCE = 3, AGAIN_MS = 3000;
const PLACEHOLDER = "Describe what you are looking for";
const $ = id => document.getElementById(id);
const state = { query: null, facets: null, hits: [], answer: null, waiting: null, timer: 0, info: null };
const modes = [...document.querySelectorAll("[name=mode]")];
const chosenMode = () => modes.find(mode => mode.checked).value;
const choose = name => modes.forEach(mode => { mode.checked = mode.value === name; });

// ---- the key, where the service asks for one: kept for this tab only -------------------------------------------
const KEY = "texthash-key";
const keyed = headers => sessionStorage.getItem(KEY) ? { ...headers, authorization: `Bearer ${sessionStorage.getItem(KEY)}` } : headers;

function askForKey() {
  const input = make("input", { type: "password", id: "key", autocomplete: "off", required: true });
  return make("form", { id: "key-form", on: { submit: event => {
    event.preventDefault();
    sessionStorage.setItem(KEY, input.value.trim());
    $("problem").replaceChildren();
    about();
    if (state.query) ask(0);
  } } }, make("label", { for: "key" }, "Key "), input, " ", make("button", { class: "chip" }, "Use it"));
}

// ---- asking -----------------------------------------------------------------------------------------------------
/** Mode of the next search; null leaves it to the service. Only texts have words. */
function modeOf() {
  if (state.query.id || (state.info && !state.info.index.keywords)) return null;
  return chosenMode() === "hybrid" ? null : chosenMode();
}

function oversample() {
  const { max_oversample: most, max_window: window } = state.info.limits;
  return Math.max(1, Math.min(20, most, Math.floor(window / (modeOf() === null && !state.query.id ? DEPTH : PAGE))));
}

const finer = () => $("finer").checked && state.info && chosenMode() !== "keyword" && !state.query.id;

function bodyOf(offset) {
  const fields = ["title", "text", "labels", ...(Object.keys(state.info?.index.attributes || {}).length ? ["attributes"] : [])];
  const body = { queries: [state.query], limit: PAGE, offset, fields, include_code: true, highlight: true };
  if (modeOf()) body.mode = modeOf();
  if (filtered()) body.filter = filterOf();
  if (finer()) body.rescore = { kind: "asymmetric", oversample: oversample() };
  return body;
}

async function search(body, signal) {
  const start = performance.now();
  const reply = await fetch("v1/search", { method: "POST", headers: keyed({ "content-type": "application/json" }), body: JSON.stringify(body), signal });
  const found = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(found.detail || found.title || reply.statusText), { problem: found, wait: Number(reply.headers.get("retry-after")) });
  return { found, times: timing(reply.headers.get("server-timing"), performance.now() - start) };
}

const pause = (ms, signal) => new Promise((done, stop) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); stop(signal.reason); });
});

async function ask(offset) {
  state.waiting?.abort();
  showFilters(refine);
  const { signal } = state.waiting = new AbortController();
  const slow = setTimeout(() => document.querySelector("main").setAttribute("aria-busy", "true"), BUSY_MS);
  try {
    await informed;  // what the index has no words for is not asked, and its attributes are counted
    if (signal.aborted) return;
    const body = bodyOf(offset);
    if (!offset) body.facets = facetsOf(state.info?.index.attributes);
    for (let attempt = 1; ; attempt++) {
      try {
        const { found, times } = await search(body, signal);
        show(found, offset, times);
        break;
      } catch (error) {  // a part that is being restarted, or a full queue: both are over soon
        if (!error.wait || attempt > PATIENCE) throw error;
        $("said").textContent = `${error.problem.title}; trying again`;
        await pause(1000 * error.wait, signal);
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) document.querySelector("main").removeAttribute("aria-busy");
  }
}

function timing(header, elapsed) {
  const times = { elapsed };
  for (const [, name, value] of (header || "").matchAll(/(\w+);dur=([\d.]+)/g)) times[name] = Number(value);
  return times;
}

function soon() {
  clearTimeout(state.timer);
  state.timer = setTimeout(now, DEBOUNCE_MS);
}

function now() {
  clearTimeout(state.timer);
  const text = $("q").value.trim();
  if (!text && !state.query?.id) return rest();
  if (text) state.query = { text };
  remember(false);
  ask(0);
}

// ---- the address ------------------------------------------------------------------------------------------------
/** Puts the search into the address; a step of its own where one may want to come back from. */
function remember(step) {
  const parameters = new URLSearchParams();
  if (state.query?.text) parameters.set("q", state.query.text);
  if (state.query?.id) parameters.set("like", state.query.id);
  if (chosenMode() !== "hybrid") parameters.set("mode", chosenMode());
  rememberFilters(parameters);
  if ($("finer").checked && state.query) parameters.set("order", "finer");
  history[step ? "pushState" : "replaceState"](null, "", parameters.size ? `?${parameters}` : location.pathname);
}

/** The search that the address names. */
function recall() {
  const given = new URLSearchParams(location.search), text = given.get("q") || "", id = given.get("like");
  clear();
  $("q").value = text;
  choose(modes.some(mode => mode.value === given.get("mode")) ? given.get("mode") : "hybrid");
  $("finer").checked = given.get("order") === "finer";
  recallFilters(given);
  if (id) likeId(id, id);
  $("clear").hidden = !text && !id;
  if (text || id) now(); else rest();
}

// ---- showing ----------------------------------------------------------------------------------------------------
function show(found, offset, times) {
  const [result] = found.results;
  state.answer = { mode: found.mode, code: result.code, bits: found.bits };
  $("problem").replaceChildren();
  if (offset === 0) { $("hits").replaceChildren(); state.hits = []; state.facets = result.facets; }
  state.hits.push(...result.hits);
  $("hits").append(...result.hits.map((hit, place) => card(hit, state.answer, offset + place, acts)));
  const limits = state.info?.limits, window = !limits ? Infinity : finer() ? PAGE * oversample() : limits.max_window;
  $("more").hidden = result.hits.length < PAGE || offset + 2 * PAGE > window;
  $("detail").hidden = !state.hits.length;
  $("curl").textContent = asCommand(bodyOf(0));
  const count = state.hits.length, kept = filtered() ? " with these filters" : "";
  const missing = found.partial ? " of the shards that answer" : "";
  $("said").textContent = count ? `The ${count} ${found.mode === "semantic" ? "nearest" : "best"} documents${kept}${missing}` : "No hits";
  showTimes(times);
  showQueryCode();
  showSettings();
  showFacets(state.facets, state.hits, refine);
  showFarOff();
  $("note").replaceChildren(...(count ? [] : nothing(result, found.mode)));
}

function showHits() {
  $("hits").replaceChildren(...state.hits.map((hit, place) => card(hit, state.answer, place, acts)));
}

function button(text, act) {
  return make("button", { type: "button", class: "chip", on: { click: act } }, text);
}

function nothing(result, mode) {
  if (filtered()) return [make("strong", {}, "No document with these filters was found."), withoutFilters()];
  if (mode === "keyword") return [make("strong", {}, "No document contains these words."), button("Search by meaning", () => { choose("semantic"); now(); })];
  if (!result.known_words) return [make("strong", {}, "The model knows none of these words."), mode === "hybrid" ? "No document contains them either: try others, or more of them." : "It has learned the words of its own corpus only: try others, or more of them."];
  return [make("strong", {}, "No document was found.")];
}

/** Says so where the nearest hit is farther than chance brings a document to a text of random words, and none has its words. */
function showFarOff() {
  const chance = state.info?.index.chance_distance, { mode, bits } = state.answer || {};
  const nearest = Math.min(...state.hits.filter(hit => hit.distance != null).map(hit => hit.distance));
  const byWords = state.hits.some(hit => hit.keyword);
  const far = chance != null && mode && mode !== "keyword" && !byWords && state.query?.text && Number.isFinite(nearest) && nearest > chance;
  $("far-off").hidden = !far;
  if (!far) return $("far-off").replaceChildren();
  $("far-off").replaceChildren(make("strong", {}, "Nothing close in meaning."),
    " These are the nearest documents, but they may have nothing to do with your text.",
    make("details", {}, make("summary", {}, "How that is known"), make("p", {}, `The nearest differs from your text in ${nearest} of ${bits} bits. Most texts of random words have a document that differs in at most ${chance}.`)));
}

function showQueryCode() {
  const { code, bits } = state.answer;
  $("legend").hidden = !code;
  if (!code) return $("query-code").replaceChildren();
  const of = state.query.id ? `Code of ${state.query.id}` : "Code of your text";
  $("query-code").replaceChildren(make("span", {}, of), picture(code, null, `The query's code, ${bits} bits: ${code}`));
}

function showTimes(times) {
  if (times.encode == null) return $("split").replaceChildren();
  const names = ["encode", "search", "merge"], sum = Math.max(times.encode + times.search + times.merge, 1e-6);
  const bar = make("span", { class: "bar", "aria-hidden": "true" }), keys = [];
  for (const name of names) {
    bar.append(make("i", { class: name, style: `width:${100 * times[name] / sum}%` }));
    keys.push(make("span", { class: "key" }, make("i", { class: name, "aria-hidden": "true" }), `${name} ${times[name].toFixed(1)}${name === "merge" ? " ms" : ""}`));
  }
  $("split").replaceChildren(bar, ...keys, make("span", { class: "key", title: "from the request to the whole answer, in this browser" }, `round trip ${times.elapsed.toFixed(0)} ms`));
}

/** Shows the settings that the query and the index leave open. */
function showSettings() {
  const words = state.info?.index.keywords, like = Boolean(state.query?.id), { index } = state.info || {};
  $("modes").hidden = !words || like;
  $("mode-hint").hidden = !state.info || Boolean(words);
  $("mode-hint").textContent = words ? "" : "This index was built without the words of its documents: it is searched by meaning only.";
  const done = state.answer?.mode === "hybrid" && index?.search_defaults?.rescoring === "asymmetric";
  $("finer-label").hidden = !state.hits.length || like || done || state.answer?.mode === "keyword";
}

/** Searches again after the filters have changed; a step to come back from. */
function refine() {
  remember(true);
  if (state.query) ask(0);
}

const withoutFilters = () => button("Search without filters", () => { dropFilters(); refine(); });

function like(hit) {
  likeId(hit.id, hit.document.title || hit.id);
  remember(true);
  ask(0);
  scrollTo({ top: 0 });
  $("q").focus({ preventScroll: true });
}

const acts = {
  like,
  label: label => { chosen.labels.add(label); refine(); },
  attribute: (name, condition) => { chosen.attributes.set(name, condition); refine(); },
};

function likeId(id, name) {
  state.query = { id };
  $("q").value = "";
  $("q").placeholder = `More like ${name}`;
  $("clear").hidden = false;
}

function asCommand(body) {
  const key = sessionStorage.getItem(KEY) ? ` -H "authorization: Bearer $TEXTHASH_API_KEY"` : "";
  return `curl -s '${new URL("v1/search", location.href).href.replaceAll("'", "%27")}' -H 'content-type: application/json'${key} \\\n  -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
}

function fail(error) {
  const { problem } = error, parts = [make("strong", {}, problem ? problem.title[0].toUpperCase() + problem.title.slice(1) : "The service does not answer"), ": ", make("bdi", {}, error.message), " "];
  if (problem) parts.push(make("a", { href: problem.type }, "What this means"));
  if (problem?.status === 401) parts.push(askForKey());
  else if (state.query) parts.push(make("div", { class: "again" }, button("Try again", () => ask(0)), filtered() ? withoutFilters() : null));
  $("problem").replaceChildren(make("div", { class: "error" }, ...parts));
  $("said").textContent = "";
}

function clear() {
  state.waiting?.abort();
  document.querySelector("main").removeAttribute("aria-busy");
  state.query = null; state.hits = []; state.answer = null; state.facets = null; dropFilters();
  for (const id of ["hits", "active-chips", "facet-groups", "problem", "split", "query-code", "note", "far-off"]) $(id).replaceChildren();
  for (const id of ["more", "clear", "detail", "active", "facets", "far-off"]) $(id).hidden = true;
  $("said").textContent = "";
  $("q").placeholder = PLACEHOLDER;
  showSettings();
}

function rest() {
  clear();
  remember(false);
  $("note").replaceChildren(make("strong", {}, "Search in your own words."), "Say what you are looking for, or type a name.");
  suggest();
}

/** Some documents to start from: those next to a code by chance. */
async function suggest() {
  if (!state.info) return;
  const bytes = crypto.getRandomValues(new Uint8Array(state.info.model.bits / 8));
  const code = [...bytes].map(byte => byte.toString(16).padStart(2, "0")).join("");
  const { signal } = state.waiting = new AbortController();
  try {
    const { found } = await search({ queries: [{ code }], limit: 4, fields: ["title"] }, signal);
    const hits = found.results[0].hits;
    if (state.query || !hits.length) return;
    $("note").append(make("p", {}, "Or start from a document:"), make("ul", {}, ...hits.map(hit => make("li", {},
      make("button", { type: "button", class: "start", on: { click: () => like(hit) } }, hit.document.title || hit.id)))));
  } catch {
    return;  // what is wrong is told when something is asked for
  }
}

// ---- keyboard ---------------------------------------------------------------------------------------------------
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || $("about").open) return;
  const cards = [...document.querySelectorAll(".hit")], here = document.activeElement, on = cards.findIndex(node => node === here);
  if (event.key === "/" && !here.matches("input:not([type=radio], [type=checkbox])")) { event.preventDefault(); $("q").select(); $("q").focus(); }
  else if (event.key === "Escape") { $("q").value = ""; rest(); $("q").focus(); }
  else if (event.key === "ArrowDown" && (here === $("q") || on >= 0) && cards.length) { event.preventDefault(); cards[Math.min(on + 1, cards.length - 1)].focus(); }
  else if (event.key === "ArrowUp" && on >= 0) { event.preventDefault(); (on ? cards[on - 1] : $("q")).focus(); }
  else if (event.key === "Enter" && on >= 0) { event.preventDefault(); unfold(here); }
});
$("q").addEventListener("input", () => { $("clear").hidden = !$("q").value; state.waiting?.abort(); state.query = null; soon(); });
$("form").addEventListener("submit", event => { event.preventDefault(); now(); });
$("clear").addEventListener("click", () => { $("q").value = ""; rest(); $("q").focus(); });
$("more").addEventListener("click", () => ask(state.hits.length));
for (const setting of [...modes, $("finer")]) setting.addEventListener("change", () => { remember(false); if (state.query) ask(0); });
narrow.addEventListener("change", () => { if (state.hits.length) { showHits(); showQueryCode(); } });
$("about-button").addEventListener("click", () => $("about").showModal());

// ---- what the service says of itself ---------------------------------------------------------------------------
function factsOf({ index, model, release, limits, version }) {
  return {
    Documents: `${counted.format(index.documents)} of ${model.corpus}, in ${index.shards} ${index.shards === 1 ? "shard" : "shards"}`,
    Meaning: `codes of ${model.bits} bits by ${model.method}, model ${model.name}${model.version ? ` version ${model.version}` : ""}`,
    Words: index.keywords ? { english: "BM25; English words in any form", plain: "BM25; words as they are written" }[index.keywords] : "not stored",
    Vectors: index.vectors ? `${index.vectors.kind}, ${index.vectors.width} numbers each` : null,
    "By chance": index.chance_distance == null ? null : `a text of random words is ${index.chance_distance} bits from its nearest document`,
    Release: `${release.name} of ${new Date(release.created).toLocaleString()}`,
    Limits: `${counted.format(limits.max_window)} hits deep, ${counted.format(limits.max_text_bytes)} bytes of text`,
    texthash: `version ${version}`,
  };
}

async function about(again = 3) {
  try {
    const reply = await fetch("v1/info", { headers: keyed({}) }), info = await reply.json();
    if (!reply.ok) throw Object.assign(new Error(info.detail), { problem: info });
    const first = !state.info;
    state.info = info;
    $("facts").textContent = `${counted.format(info.index.documents)} documents of ${info.model.corpus}`;
    $("about-facts").replaceChildren(...Object.entries(factsOf(info)).filter(([, text]) => text).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
    showSettings();
    if (state.query) showFarOff(); else if (first) suggest();
    if (info.index.chance_distance == null && again) setTimeout(() => about(again - 1), AGAIN_MS);  // still being measured
  } catch (error) {
    fail(error);
  }
}
$("facets").open = !narrow.matches;
const informed = about();
recall();
addEventListener("popstate", recall);
$("q").focus();
