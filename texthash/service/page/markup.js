"use strict";
// Text of documents as nodes: the markup of docstrings (reStructuredText, numpydoc, Google) becomes headings, lists and
// code, and words are marked. Everything from a document ends in a text node.

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(child => child != null));
  return node;
}

// ---- words: marked as the service found them, whole or as parts of identifiers ---------------------------------
const WORD = /[\p{L}\p{N}_]+/gu, PARTS = /[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+/g, OTHER_PARTS = /\p{L}+|\p{N}+/gu;
const UNSPACED = /[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]/;

/** Places [start, end) of a text that are among some words, in order and apart. */
function placesOf(text, words) {
  const places = [];
  const add = (start, length) => {
    const last = places.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], start + length);
    else places.push([start, start + length]);
  };
  if (!words.size) return places;
  for (const { 0: word, index } of text.matchAll(WORD)) {
    if (words.has(word)) add(index, word.length);
    else if (UNSPACED.test(word)) { for (let at = 0; at + 1 < word.length; at++) if (words.has(word.slice(at, at + 2))) add(index + at, 2); }
    else for (const part of word.matchAll(/^[\x00-\x7f]*$/.test(word) ? PARTS : OTHER_PARTS)) if (words.has(part[0])) add(index + part.index, part[0].length);
  }
  return places;
}

function marked(text, words) {
  const nodes = [];
  let end = 0;
  for (const [from, to] of placesOf(text, words)) {
    nodes.push(text.slice(end, from), make("mark", {}, text.slice(from, to)));
    end = to;
  }
  return [...nodes, text.slice(end)].filter(node => node !== "");
}

// ---- markup within a line: parts {text, tag} -------------------------------------------------------------------
const INLINE = new RegExp([
  "``(?<literal>.+?)``",
  ":(?:[\\w+-]+:)?(?<role>[\\w+-]+):`(?<target>[^`]+)`",
  "`(?<title>[^`<]+?)\\s*<[^>`]+>`__?",
  "`(?<plain>[^`]+)`(?<link>__?(?!\\w))?",
  "\\*\\*(?<strong>[^*\\s](?:[^*]*[^*\\s])?)\\*\\*",
  "(?<![\\w*\\\\])\\*(?<em>[^\\s*](?:[^*]*[^\\s*])?)\\*(?![\\w*])",
  "\\\\(?<escaped>[*_`|\\\\])",
].join("|"), "gs");
const PROSE_ROLES = new Set(["ref", "doc", "term", "issue", "user", "guilabel", "abbr", "cite"]);

function roleOf(role, target) {
  const titled = target.match(/^(.+?)\s*<[^>]*>$/s);
  if (titled) return { text: titled[1], tag: PROSE_ROLES.has(role) ? null : "code" };
  if (PROSE_ROLES.has(role)) return { text: target, tag: null };
  if (role === "pep" || role === "rfc") return { text: `${role.toUpperCase()} ${target}`, tag: null };
  const name = target.startsWith("~") ? target.split(".").at(-1).replace(/^~/, "") : target.replace(/^[!.]/, "");
  return { text: name, tag: "code" };
}

function inline(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > end) parts.push({ text: text.slice(end, match.index), tag: null });
    const { literal, role, target, title, plain, link, strong, em, escaped } = match.groups;
    if (literal) parts.push({ text: literal, tag: "code" });
    else if (role) parts.push(roleOf(role, target));
    else if (title || escaped) parts.push({ text: title || escaped, tag: null });
    else if (plain) parts.push({ text: plain.replace(/^~(?:.*\.)?/, ""), tag: link ? null : "code" });
    else parts.push(strong ? { text: strong, tag: "strong" } : { text: em, tag: "em" });
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push({ text: text.slice(end), tag: null });
  return parts;
}

// ---- blocks: {kind: text | heading | code | item | entry, ...} --------------------------------------------------
const RULE = /^\s*([-=~^"'#*+])\1{2,}\s*$/, TABLE = /^\s*(?:={2,}(?:\s+={2,})+|\+[-=+]{3,}\+)\s*$/;
const SECTION = /^\s*((?:Other |Keyword )?(?:Args|Arguments|Parameters)|Returns?|Yields?|Raises|Warns|Attributes|Methods|Examples?|Notes?|References|See Also|Usage|Warnings?)\s*:$/;
const LISTS = /^(?:(?:other |keyword )?(?:args|arguments|parameters)|returns?|yields?|raises|warns|attributes|methods|see also)$/;
const FIELD = /^:(\w+)(?:\s+([^:`]+))?:(?:\s+(.*))?$/, BULLET = /^\s*(?:[-*•+]|\d{1,2}[.)]|\(\d{1,2}\))\s+(.*)$/;
const DIRECTIVE = /^\s*\.\.\s+(?:([\w-]+)::\s*(.*)|(\[[^\]]+\]\s.*)|.*)$/;
const CODE = new Set(["code-block", "code", "sourcecode", "ipython", "plot", "math", "doctest", "testcode", "parsed-literal"]);
const SAID = { versionadded: "New in version", versionchanged: "Changed in version", deprecated: "Deprecated since version" };
const indentOf = line => line.match(/^ */)[0].length;

class Blocks {
  constructor(text) {
    this.lines = text.replaceAll("\t", "    ").split(/\r?\n/).map(line => line.trimEnd());
    this.at = 0;
    this.done = [];
    this.open = null;  // block that the next line of text continues, and the least indentation for which it does
    this.list = null;  // indentation of the entries of a section that is a list; -1: not known yet
    this.literal = false;
    while (this.at < this.lines.length) this.step();
    this.close();
  }

  close() {
    const { open } = this;
    this.open = null;
    if (!open) return;
    let text = open.lines.join(" ").trim();
    if (open.kind === "text" && text.endsWith("::")) { this.literal = true; text = text.slice(0, -1).replace(/\s:$|^:$/, ""); }
    if (text || open.name) this.done.push({ ...open, parts: inline(text) });
  }

  start(kind, text, least, more = {}) {
    this.close();
    this.open = { kind, lines: text ? [text] : [], least, ...more };
  }

  heading(text, lines, asList) {
    this.close();
    this.done.push({ kind: "heading", text });
    this.at += lines;
    this.list = LISTS.test(text.toLowerCase()) ? { section: text.toLowerCase(), indent: -1, google: asList } : null;
  }

  /** Takes the lines from here on while a condition holds, and removes their common indentation. */
  code(holds) {
    this.close();
    const taken = [];
    while (this.at < this.lines.length && holds(this.lines[this.at], taken)) taken.push(this.lines[this.at++]);
    while (taken.length && !taken.at(-1)) taken.pop();
    while (taken.length && !taken[0]) taken.shift();
    const indent = Math.min(...taken.filter(Boolean).map(indentOf)), last = this.done.at(-1);
    const text = taken.map(line => line.slice(indent)).join("\n");
    if (!text) return;
    if (last?.kind === "code") last.text += `\n\n${text}`; else this.done.push({ kind: "code", text });
  }

  step() {
    const line = this.lines[this.at], next = this.lines[this.at + 1] || "", indent = indentOf(line);
    if (this.literal && line) {
      this.literal = false;
      const base = this.literalFrom || 0;
      if (indent > base) return this.code(other => !other || indentOf(other) > base);
    }
    if (!line) return this.blank();
    if (RULE.test(line) && RULE.test(this.lines[this.at + 2] || "") && next) { this.at++; return this.heading(next.trim(), 2); }
    if (RULE.test(next) && !RULE.test(line) && !BULLET.test(line) && line.length <= 80 && next.trim().length >= Math.min(4, line.trim().length)) return this.heading(line.trim(), 2);
    const section = line.match(SECTION);
    if (section && indentOf(this.lines.slice(this.at + 1).find(Boolean) || "") > indent) return this.heading(section[1], 1, true);
    if (line.trimStart().startsWith(">>>")) return this.code((other, taken) => other && (!taken.length || indentOf(other) >= indent));
    if (TABLE.test(line)) return this.code(other => other);
    if (RULE.test(line)) { this.at++; return this.close(); }
    if (/^\s*\.\.(?:\s|$)/.test(line)) return this.directive(line, indent);
    this.at++;
    this.text(line, indent);
  }

  blank() {
    this.at++;
    if (this.open?.kind === "entry" || this.open?.kind === "item") this.open.paused = true;
    else { this.literalFrom = this.open ? this.open.indent || 0 : 0; this.close(); }
  }

  directive(line, indent) {
    const [, name, argument, citation] = line.match(DIRECTIVE) || [];
    this.at++;
    if (citation) return this.start("text", citation, indent + 1);
    if (!name) return this.close();
    if (CODE.has(name)) {
      while (/^\s*:[\w-]+:/.test(this.lines[this.at] || "")) this.at++;
      return this.code(other => !other || indentOf(other) > indent);
    }
    const said = SAID[name] ? `${SAID[name]} ${argument}` : argument;
    this.close();
    if (/^(?:note|warning|tip|important|caution|hint|danger|attention|seealso|admonition)$/.test(name)) this.done.push({ kind: "heading", text: name === "seealso" ? "See also" : name[0].toUpperCase() + name.slice(1) });
    this.start("text", said, indent + 1);
  }

  text(line, indent) {
    const field = line.trim().match(FIELD), bullet = line.match(BULLET);
    if (field) return this.field(field, indent);
    if (this.list && this.list.indent < 0) this.list.indent = indent;
    if (this.list && indent < this.list.indent) this.list = null;
    if (this.list && indent === this.list.indent && !bullet) return this.entry(line.trim());
    if (bullet && (!this.open || this.open.kind !== "text" || !this.open.lines.length || indent > 0 || /^[-*•]/.test(line.trim()))) return this.start("item", bullet[1], indent + 1);
    if (this.open && (this.open.kind === "text" ? !this.open.least || indent >= this.open.least : indent >= this.open.least)) {
      this.open.lines.push(line.trim());
      return;
    }
    this.start("text", line.trim(), 0, { indent });
  }

  field([, role, name, text], indent) {
    if (/^r?type$/.test(role)) return this.start("text", "", indent + 1);  // of what the field before it names
    const known = { param: "", parameter: "", arg: "", ivar: "", var: "", returns: "Returns", return: "Returns", yields: "Yields", raises: "Raises" };
    const label = (name || "").trim().split(/\s+/).at(-1);
    this.start("entry", text || "", indent + 1, { name: label || known[role] || role, prose: !label });
  }

  /** An entry of a list: "name : type" with its text below, or "name (type): text". */
  entry(line) {
    const { section, google } = this.list, described = /^(?:see also|raises|warns|methods)$/.test(section);
    const split = line.match(google || described ? /^([^:]+?)(?:\s*\(([^)]*)\))?\s*:(?:\s+|$)(.*)$/ : /^(.+?)\s*:(?:\s+|$)(.*)$/);
    const prose = /\s\w+\s\w+\s/.test(split ? split[1] : line);
    if (prose || (!split && google)) {
      if (this.open?.kind === "text") this.open.lines.push(line); else this.start("text", line, 0);
      return;
    }
    if (!split) return this.start("entry", "", this.list.indent + 1, { name: line });
    if (google || described) return this.start("entry", (split.length > 3 ? split[3] : split[2]) || "", this.list.indent + 1, { name: split[1], type: split.length > 3 ? split[2] : "" });
    this.start("entry", "", this.list.indent + 1, { name: split[1], type: split[2] });
  }
}

const blocksOf = text => new Blocks(text).done;

// ---- nodes ------------------------------------------------------------------------------------------------------
const nodesOf = (parts, words) => parts.flatMap(({ text, tag }) => (tag ? [make(tag, {}, ...marked(text, words))] : marked(text, words)));

function rendered(blocks, words) {
  return blocks.map(block => {
    if (block.kind === "heading") return make("h3", {}, ...marked(block.text, words));
    if (block.kind === "code") return make("pre", { tabindex: "0" }, ...marked(block.text, words));
    if (block.kind === "item") return make("div", { class: "item", dir: "auto" }, ...nodesOf(block.parts, words));
    if (block.kind !== "entry") return make("p", { dir: "auto" }, ...nodesOf(block.parts, words));
    const name = nodesOf(inline(block.name).map(part => ({ ...part, tag: block.prose ? "strong" : "code" })), words);
    const type = block.type ? [" ", make("span", { class: "type" }, ...nodesOf(inline(block.type), words))] : [];
    return make("div", { class: "entry" }, make("div", {}, ...name, ...type), block.parts.length ? make("div", { class: "item" }, ...nodesOf(block.parts, words)) : null);
  });
}

/** The beginning of a text without headings and code, or the place of its first marked word if that is later. */
function snippet(blocks, words, most = 340, before = 60) {
  const parts = blocks.filter(block => block.parts?.length).flatMap(block => [...block.parts, { text: " ", tag: null }]);
  const starts = [];
  let length = 0, first = Infinity;
  for (const { text } of parts) {
    const [place] = first === Infinity ? placesOf(text, words) : [];
    if (place) first = length + place[0];
    starts.push(length);
    length += text.length;
  }
  const from = first === Infinity || first < most * 0.6 ? 0 : first - before, cut = [];
  parts.forEach(({ text, tag }, at) => {
    let piece = text.slice(Math.max(0, from - starts[at]), Math.max(0, from + most - starts[at]));
    if (piece && !cut.length && from) piece = tag ? piece : piece.replace(/^\S*\s+(?=\S)/, "");
    if (piece) cut.push({ text: piece, tag });
  });
  return [...(from ? ["… "] : []), ...nodesOf(cut, words), ...(from + most < length ? [" …"] : [])];
}
