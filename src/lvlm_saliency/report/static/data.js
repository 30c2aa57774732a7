// The data of the page: scores at once, rows of a text when it is first shown.
const DATA = JSON.parse(document.getElementById("data").textContent);
const MEASURES = ["saliency", "attention"];
const REGION_NAMES = {
  "output": "earlier words", "previous": "previous word", "image": DATA.seen, "prompt": "prompt",
  "prompt+output": "prompt + words", "thinking": "thinking", "answer": "answer", "video": "video",
};

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const isNumber = (value) => value !== null && Number.isFinite(value);

async function inflate(text) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser cannot unpack the page's data; use one from 2023 or later.");
  }
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A colouring by a detector is called by its name behind this.
const BY_DETECTOR = "detector:";
const detectorOf = (colour) => colour.startsWith(BY_DETECTOR) ? colour.slice(BY_DETECTOR.length) : null;

class Run {
  constructor(data) {
    Object.assign(this, data);
    this.length = data.tokens.length;
    this.floats = new Float32Array(bytesOf(data.packed.scores).buffer);
    this.rows = null;
    this.detectors = new Map(data.detectors);
    this.kinds = new Array(this.start + this.length).fill("");
    for (const [first, end, region] of data.spans) this.kinds.fill(region, first, end);
    // Tokens that are a character only together are drawn as one chip (chips.py).
    this.chips = data.chips.map(([first, end, text, shown]) => ({first, end, text, shown, tokens: [...Array(end - first).keys()].map((at) => first + at)}));
    this.chipOf = this.chips.flatMap((chip) => chip.tokens.map(() => chip));
  }

  // A token as its chip shows it, and which of the chip's tokens it is.
  shown(t) {
    const {first, end, shown} = this.chipOf[t];
    return end - first > 1 ? `${shown} (${t - first + 1}/${end - first})` : shown;
  }

  async load() {
    if (this.rows) return;
    const rows = {};
    for (const measure of MEASURES) {
      const data = await inflate(this.packed[measure]);
      const count = this.views.length * this.length;
      rows[measure] = {scale: new Float32Array(data.buffer.slice(0, 4 * count)), bytes: data.subarray(4 * count)};
    }
    this.rows = rows;
    this.packed = null;
  }

  viewIndex(name) {
    return Math.max(this.views.indexOf(name), 0);
  }

  // Scores of every token; NaN where the region is empty.
  scores(region, measure, view) {
    const at = (MEASURES.indexOf(measure) * DATA.regions.length + DATA.regions.indexOf(region)) * this.views.length;
    const first = (at + this.viewIndex(view)) * this.length;
    return this.floats.subarray(first, first + this.length);
  }

  // What token t depends on: one value for every earlier position. Without t: the mean over all tokens.
  row(t, measure, view) {
    const {scale, bytes} = this.rows[measure];
    const base = this.viewIndex(view) * this.length;
    const result = new Float32Array(this.keys);
    const tokens = t === null ? [...Array(this.length).keys()] : [t];
    for (const token of tokens) {
      const at = (base + token) * this.keys;
      const factor = scale[base + token] / tokens.length;
      for (let key = 0; key < this.start + token; key++) {
        const share = bytes[at + key] / 255;
        result[key] += factor * share * share;
      }
    }
    return result;
  }

  // The rule of falls.py: below alpha times the mean of the last scores.
  thresholds(scores, alpha) {
    const history = [];
    return Array.from(scores, (score) => {
      const recent = history.slice(-DATA.window);
      if (Number.isNaN(score)) return NaN;
      history.push(score);
      return recent.length ? alpha * recent.reduce((sum, value) => sum + value, 0) / recent.length : NaN;
    });
  }

  // What words are coloured by in place of what they depend on: risk, or a detector's scores from the lowest to the
  // highest of this text. Null where the text has no such values.
  colouring(colour) {
    if (colour === "risk") return this.risk && {values: this.risk, low: 0, high: 1, name: "risk"};
    const name = detectorOf(colour), values = this.detectors.get(name);
    if (!values) return null;
    const known = values.filter(isNumber);
    return {values, low: Math.min(...known), high: Math.max(...known), name};
  }

  mark(t) {
    const found = this.marks.find(([first, end]) => first <= t && t < end);
    return found ? found[2] : "";
  }
}

const CASES = DATA.cases.map((data) => ({...data, runs: data.runs.map((run) => new Run(run))}));

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const percent = (value) => `${Math.round(100 * value)} %`;

function figure(value) {
  if (!isNumber(value)) return "\u2013";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.001) return value.toExponential(1).replace("-", "\u2212");
  return value.toFixed(size >= 10 ? 1 : size >= 0.1 ? 3 : 4).replace("-", "\u2212");
}
