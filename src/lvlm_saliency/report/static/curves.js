// Curves over the text: the score with its threshold, log-probability with entropy, and risk where it is known.
const SVG = "http://www.w3.org/2000/svg";
const FRAME = {left: 46, right: 10};

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Path through the known values, broken where one is missing.
function linePath(values, x, y) {
  let pen = false;
  return Array.from(values, (value, t) => {
    if (!isNumber(value)) { pen = false; return ""; }
    const step = `${pen ? "L" : "M"}${x(t).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = true;
    return step;
  }).join("");
}

// A logarithmic axis when the largest score is far above the typical one, as early words make it.
function axis(values, top, bottom, logarithmic) {
  const known = Array.from(values).filter(isNumber);
  if (logarithmic) {
    const positive = known.filter((value) => value > 0);
    const low = Math.log(Math.min(...positive)), high = Math.log(Math.max(...positive));
    const span = high - low || 1;
    return {place: (value) => bottom - (bottom - top) * Math.max(0, (Math.log(Math.max(value, 1e-30)) - low) / span),
      ticks: [Math.exp(low), Math.exp((low + high) / 2), Math.exp(high)]};
  }
  const low = Math.min(0, ...known), high = Math.max(0, ...known, low + 1e-12);
  return {place: (value) => bottom - (bottom - top) * (value - low) / (high - low), ticks: [low, (low + high) / 2, high]};
}

function skewed(values) {
  const known = Array.from(values).filter((value) => value > 0).sort((a, b) => a - b);
  return known.length > 3 && known[known.length - 1] > 8 * known[known.length >> 1];
}

class CurveView {
  constructor(onPick, onHover) {
    this.onPick = onPick;
    this.onHover = onHover;
    this.width = 720;
    this.score = this.chart(150, "Score over the text");
    this.surprise = this.chart(96, "Log-probability and entropy over the text");
    this.risk = this.chart(84, "Risk of object words over the text");
    this.charts = [this.score, this.surprise, this.risk];
    this.node = element("div", {class: "curves"}, ...this.charts.map((chart) => chart.node));
  }

  chart(height, label) {
    const canvas = svg("svg", {height, role: "img", "aria-label": label});
    const caption = element("figcaption", {class: "keys"});
    canvas.addEventListener("pointermove", (event) => this.onHover(this.tokenAt(canvas, event)));
    canvas.addEventListener("pointerleave", () => this.onHover(null));
    canvas.addEventListener("click", (event) => this.onPick(this.tokenAt(canvas, event)));
    return {canvas, caption, height, node: element("figure", {}, caption, canvas)};
  }

  tokenAt(canvas, event) {
    const box = canvas.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * this.width;
    const share = (at - FRAME.left) / (this.width - FRAME.left - FRAME.right);
    return Math.min(Math.max(Math.round(share * (this.run.length - 1)), 0), this.run.length - 1);
  }

  x(t) {
    return FRAME.left + (this.width - FRAME.left - FRAME.right) * (this.run.length > 1 ? t / (this.run.length - 1) : 0.5);
  }

  paint(run, state, scores, bounds) {
    this.run = run;
    this.width = Math.max(this.node.clientWidth, 280);
    for (const {canvas, height} of this.charts) canvas.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    const x = (t) => this.x(t);
    this.paintScore(run, state, scores, bounds, x);
    this.paintSurprise(run, x);
    this.risk.node.hidden = !run.risk;
    if (run.risk) this.paintRisk(run, x);
    this.point(state.chosen, null);
  }

  frame({canvas, height}, scale) {
    const lines = scale.ticks.map((tick) => svg("g", {class: "tick"},
      svg("line", {x1: FRAME.left, x2: this.width - FRAME.right, y1: scale.place(tick), y2: scale.place(tick)}),
      svg("text", {x: FRAME.left - 6, y: scale.place(tick) + 3.5}, figure(tick))));
    const marks = this.run.tokens.map((_, t) => this.run.mark(t) === "hallucinated"
      ? svg("rect", {class: "untrue", x: this.x(t) - 2.5, y: height - 12, width: 5, height: 5}) : "");
    canvas.replaceChildren(...lines, ...marks);
  }

  paintScore(run, state, scores, bounds, x) {
    const {canvas, caption, height} = this.score;
    const other = MEASURES.find((measure) => measure !== state.measure);
    const shadow = run.scores(state.region, other, state.view);
    const logarithmic = skewed(scores);
    const scale = axis([...scores, ...bounds], 10, height - 18, logarithmic);
    const behind = axis(shadow, 10, height - 18, skewed(shadow));
    this.frame(this.score, scale);
    canvas.append(
      svg("path", {class: "line other", d: linePath(shadow, x, behind.place)}),
      svg("path", {class: "line bound", d: linePath(bounds, x, scale.place)}),
      svg("path", {class: "line main", d: linePath(scores, x, scale.place)}));
    scores.forEach((score, t) => {
      if (score < bounds[t]) canvas.append(svg("path", {class: "fallen", d: `M${x(t) - 5} ${scale.place(score) + 4}h10l-5 7z`}));
    });
    this.score.cursor = canvas.appendChild(svg("line", {class: "cursor", y1: 4, y2: height - 14}));
    const keys = [["main", `${state.measure}, ${REGION_NAMES[state.region]}`], ["bound", "threshold"],
      ["other", `${other}, own scale`]];
    caption.replaceChildren(...keys.map(([name, text]) => element("span", {class: `key ${name}`}, text)),
      element("span", {class: "fall-mark"}, "\u25be"), " falls", logarithmic ? element("i", {}, " logarithmic") : "");
  }

  paintSurprise(run, x) {
    const {canvas, caption, height} = this.surprise;
    const scale = axis([...run.logprobs, ...run.entropy], 8, height - 18, false);
    this.frame(this.surprise, scale);
    canvas.append(svg("path", {class: "line entropy", d: linePath(run.entropy, x, scale.place)}),
      svg("path", {class: "line logprob", d: linePath(run.logprobs, x, scale.place)}));
    this.surprise.cursor = canvas.appendChild(svg("line", {class: "cursor", y1: 4, y2: height - 14}));
    caption.replaceChildren(element("span", {class: "key logprob"}, "log-probability (nats)"),
      element("span", {class: "key entropy"}, "entropy (nats)"));
    if (run.marks.length) caption.append(element("span", {class: "key untrue"}, "not in the picture"));
  }

  // Stems from 0 to 1, one for each object word: there is nothing between them.
  paintRisk(run, x) {
    const {canvas, caption, height} = this.risk;
    const scale = axis([0, 1], 8, height - 18, false);
    this.frame(this.risk, scale);
    run.risk.forEach((value, t) => {
      if (!isNumber(value)) return;
      canvas.append(svg("line", {class: "stem", x1: x(t), x2: x(t), y1: scale.place(0), y2: scale.place(value)}),
        svg("circle", {class: "stem", cx: x(t), cy: scale.place(value), r: 3.5}));
    });
    this.risk.cursor = canvas.appendChild(svg("line", {class: "cursor", y1: 4, y2: height - 14}));
    caption.replaceChildren(element("span", {class: "key risk"}, "risk that the object is not in the picture"));
  }

  // Puts the cursor at the hovered token, else at the chosen one.
  point(chosen, hovered) {
    const at = hovered ?? chosen;
    for (const {cursor} of this.charts) {
      if (!cursor) continue;
      cursor.style.display = at === null ? "none" : "";
      if (at !== null) { cursor.setAttribute("x1", this.x(at)); cursor.setAttribute("x2", this.x(at)); }
    }
  }
}
