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
    if (run.cut) this.answer.append(" ", element("span", {class: "cut", title: DATA.cut.legend}, DATA.cut.mark));
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

  // state: {colour, region, measure, view, alpha, chosen, row}
  paint(state, scores, bounds) {
    const scale = colourScale(scores);
    const earlier = state.chosen === null ? null : this.rowShares(state.row);
    const risks = state.colour === "risk" ? this.run.risk : null;
    this.words.forEach(({span}, t) => {
      const fell = scores[t] < bounds[t];
      const chosen = state.chosen === t;
      span.classList.toggle("fall", fell && !risks);
      span.classList.toggle("chosen", chosen);
      span.classList.toggle("later", state.chosen !== null && t > state.chosen);
      span.tabIndex = t === (state.chosen ?? 0) ? 0 : -1;
      if (earlier && t < state.chosen) this.fill(span, "row", earlier[this.run.start + t]);
      else if (earlier) this.fill(span, "none", 0);
      else if (risks) this.fill(span, isNumber(risks[t]) ? "risk" : "none", risks[t] ?? 0);
      else if (Number.isNaN(scores[t])) this.fill(span, "none", 0);
      else this.fill(span, "score", scale.share(scores[t]));
      const truth = this.run.mark(t);
      span.setAttribute("aria-pressed", chosen);
      const risk = isNumber(this.run.risk?.[t] ?? null) ? `, risk ${percent(this.run.risk[t])}` : "";
      span.setAttribute("aria-label", `${span.textContent}, score ${figure(scores[t])}${risk}${fell ? ", falls" : ""}${truth ? `, ${truth}` : ""}`);
      span.title = `score ${figure(scores[t])}${isNumber(bounds[t]) ? `, threshold ${figure(bounds[t])}` : ""}, log p ${figure(this.run.logprobs[t])}${risk}`;
    });
    for (const {position, span} of this.context) {
      const share = earlier ? earlier[position] : 0;
      this.fill(span, share > 0.005 ? "row" : "none", share);
    }
    this.paintLegend(state, scale);
  }

  fill(span, kind, share) {
    span.dataset.fill = kind;
    span.style.setProperty("--share", `${(100 * share).toFixed(1)}%`);
    if (kind === "none") return;
    for (const [scheme, steps] of Object.entries(DATA.palettes[kind])) {
      const [ground, letters] = steps[Math.round(share * (steps.length - 1))];
      span.style.setProperty(`--ground-${scheme}`, ground);
      span.style.setProperty(`--letters-${scheme}`, letters);
    }
  }

  ramp(kind) {
    const node = element("span", {class: "ramp"});
    for (const [scheme, steps] of Object.entries(DATA.palettes[kind])) {
      node.style.setProperty(`--ramp-${scheme}`, `linear-gradient(90deg, ${steps[0][0]}, ${steps[steps.length - 1][0]})`);
    }
    return node;
  }

  // Shares of the strongest text position; pictures have their own panel.
  rowShares(row) {
    let top = 0;
    row.forEach((value, key) => { if (this.run.kinds[key] !== "image") top = Math.max(top, value); });
    return Array.from(row, (value) => top > 0 ? value / top : 0);
  }

  paintLegend(state, scale) {
    const kind = state.chosen !== null ? "row" : state.colour === "risk" && this.run.risk ? "risk" : "score";
    const [weak, strong] = {row: ["hung on weakly", "strongly"], score: [`weak ${figure(scale.low)}`, `strong ${figure(scale.high)}`],
      risk: ["risk that the object is not there: 0 %", "100 %; other words have none"]}[kind];
    const parts = [element("span", {class: "ramp-row"}, weak, this.ramp(kind), strong)];
    if (kind !== "risk") parts.push(element("span", {}, element("span", {class: "fall-mark", "aria-hidden": true}, "\u25be"), " falls"));
    if (this.run.cut) parts.push(element("span", {}, DATA.cut.legend));
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
