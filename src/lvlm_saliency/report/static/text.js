// The text itself: words coloured by score, or by how strongly the chosen word hung on them.

// Score -> 0..1 on a logarithmic scale between the text's 4th and 96th percentile.
function colourScale(scores) {
  const known = Array.from(scores).filter((score) => score > 0).sort((a, b) => a - b);
  if (!known.length) return {share: () => 0, low: NaN, high: NaN};
  const at = (part) => known[Math.round(part * (known.length - 1))];
  const low = at(0.04), high = at(0.96);
  const span = Math.log(high / low) || 1;
  return {share: (score) => Math.min(Math.max(Math.log(Math.max(score, low) / low) / span, 0), 1), low, high};
}

// One word: its spaces stay outside of the coloured box.
function wordParts(text) {
  const [, before, word, after] = text.match(/^(\s*)([\s\S]*?)(\s*)$/);
  return {before, word, after};
}

class TextView {
  constructor(onPick, onHover) {
    this.onPick = onPick;
    this.onHover = onHover;
    this.node = element("div", {class: "text"});
    this.prompt = element("p", {class: "context", "aria-label": "Prompt"});
    this.answer = element("p", {class: "answer", role: "group", "aria-label": "Generated text; move with the arrow keys"});
    this.legend = element("div", {class: "legend"});
    this.node.append(this.prompt, this.answer, this.legend);
  }

  show(run) {
    this.run = run;
    this.words = run.tokens.map((text, t) => this.word(text, t));
    this.answer.replaceChildren(...this.words.flatMap(({before, span, after}) => [before, span, after]));
    this.context = [];
    const groups = [];
    let next = 0;
    for (const [position, text] of run.context) {
      if (run.kinds.slice(next, position).includes("image")) groups.push(element("span", {class: "chip"}, "picture"));
      next = position + 1;
      const span = element("span", {class: "given"}, text);
      this.context.push({position, span, text});
      groups.push(span);
    }
    this.prompt.replaceChildren(...groups);
    this.prompt.hidden = !groups.length;
  }

  word(text, t) {
    const {before, word, after} = wordParts(text);
    const mark = this.run.mark(t);
    const span = element("span", {
      class: `word ${mark} ${word ? "" : "blank"}`, role: "button", tabindex: -1, "data-token": t,
      onclick: () => this.onPick(t), onpointerenter: () => this.onHover(t), onpointerleave: () => this.onHover(null),
    }, word || "\u2205");
    return {before, span, after};
  }

  // state: {region, measure, view, alpha, chosen, row}
  paint(state, scores, bounds) {
    const scale = colourScale(scores);
    const earlier = state.chosen === null ? null : this.rowShares(state.row);
    this.words.forEach(({span}, t) => {
      const fell = scores[t] < bounds[t];
      const chosen = state.chosen === t;
      span.classList.toggle("fall", fell);
      span.classList.toggle("chosen", chosen);
      span.classList.toggle("later", state.chosen !== null && t > state.chosen);
      span.tabIndex = t === (state.chosen ?? 0) ? 0 : -1;
      if (earlier && t < state.chosen) this.fill(span, "row", earlier[this.run.start + t]);
      else if (Number.isNaN(scores[t]) || earlier) this.fill(span, "none", 0);
      else this.fill(span, "score", scale.share(scores[t]));
      const truth = this.run.mark(t);
      span.setAttribute("aria-pressed", chosen);
      span.setAttribute("aria-label", `${span.textContent}, score ${figure(scores[t])}${fell ? ", falls" : ""}${truth ? `, ${truth}` : ""}`);
      span.title = `score ${figure(scores[t])}${isNumber(bounds[t]) ? `, threshold ${figure(bounds[t])}` : ""}, log p ${figure(this.run.logprobs[t])}`;
    });
    for (const {position, span} of this.context) this.fill(span, earlier ? "row" : "none", earlier ? earlier[position] : 0);
    this.paintLegend(state, scale);
  }

  fill(span, kind, share) {
    span.dataset.fill = kind;
    span.style.setProperty("--share", `${(100 * share).toFixed(1)}%`);
    span.classList.toggle("deep", share > 0.55 && kind !== "none");
  }

  // Shares of the strongest text position; pictures have their own panel.
  rowShares(row) {
    let top = 0;
    row.forEach((value, key) => { if (this.run.kinds[key] !== "image") top = Math.max(top, value); });
    return Array.from(row, (value) => top > 0 ? value / top : 0);
  }

  paintLegend(state, scale) {
    const chosen = state.chosen !== null;
    const parts = [element("span", {class: "ramp-row"},
      chosen ? "hung on weakly" : `weak ${figure(scale.low)}`,
      element("span", {class: `ramp ${chosen ? "row" : "score"}`}),
      chosen ? "strongly" : `strong ${figure(scale.high)}`)];
    parts.push(element("span", {}, element("span", {class: "fall-mark", "aria-hidden": true}, "\u25be"), " falls"));
    if (this.run.marks.length) {
      parts.push(element("span", {}, element("span", {class: "sample correct"}, "word"), " in the picture"));
      parts.push(element("span", {}, element("span", {class: "sample hallucinated"}, "word"), " not in the picture"));
    }
    this.legend.replaceChildren(...parts);
  }

  focus(t) {
    this.words[t].span.focus({preventScroll: true});
    this.words[t].span.scrollIntoView({block: "nearest"});
  }

  hover(t) {
    this.words.forEach(({span}, at) => span.classList.toggle("hovered", at === t));
  }
}
