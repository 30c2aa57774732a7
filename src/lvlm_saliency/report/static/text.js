// The text itself: words coloured by score, or by how strongly the chosen word depends on them.

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
    this.chips = run.chips.map((chip) => ({...chip, ...this.word(chip)}));
    this.words = this.chips.flatMap((chip) => chip.tokens.map(() => chip));
    this.answer.replaceChildren(...this.chips.flatMap(({before, span, after}) => [before, span, after]));
    if (run.cut) this.answer.append(" ", element("span", {class: "cut", title: DATA.cut.legend}, DATA.cut.mark));
    this.context = [];
    const groups = [];
    let next = 0;
    for (const [position, text] of run.context) {
      const seen = run.kinds.slice(next, position).indexOf("image");
      if (seen >= 0) groups.push(element("span", {class: "chip"}, run.seen?.[next + seen] ?? "picture"));
      next = position + 1;
      const span = element("span", {class: "given"}, text);
      this.context.push({position, span, text});
      groups.push(span);
    }
    this.prompt.replaceChildren(...groups);
    this.prompt.hidden = !groups.length;
  }

  // A chip of one or more tokens; a click picks the last, which completes it.
  word({first, end, text, shown}) {
    const {before, word, after} = wordParts(text);
    const t = end - 1, mark = this.run.mark(first) || this.run.mark(t);
    const part = this.run.parts.find(([, begin, stop]) => begin <= first && first < stop);
    const span = element("span", {
      class: `word ${mark} ${word ? "" : "blank"} ${part && part[0] !== "answer" ? "thought" : ""}`, role: "button", tabindex: -1, "data-token": t,
      onclick: () => this.onPick(t), onpointerenter: () => this.onHover(t), onpointerleave: () => this.onHover(null),
    }, shown);
    return {before, span, after, mark};
  }

  // state: {colour, region, measure, view, alpha, chosen, row}
  paint(state, scores, bounds) {
    const scale = colourScale(scores);
    const earlier = state.chosen === null ? null : this.rowShares(state.row);
    const colouring = this.run.colouring(state.colour);
    const mean = (tokens, values) => {
      const known = tokens.map((t) => values[t]).filter((value) => !Number.isNaN(value));
      return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
    };
    this.chips.forEach(({first, end, tokens, span, mark: truth}) => {
      const fell = tokens.some((t) => scores[t] < bounds[t]);
      const chosen = tokens.includes(state.chosen);
      const score = mean(tokens, scores), bound = mean(tokens, bounds);
      const largest = (values) => {
        const known = tokens.map((t) => values?.[t] ?? null).filter(isNumber);
        return known.length ? Math.max(...known) : null;
      };
      const danger = largest(this.run.risk), told = largest(colouring?.values);
      span.classList.toggle("fall", fell && !colouring);
      span.classList.toggle("chosen", chosen);
      span.classList.toggle("later", state.chosen !== null && first > state.chosen);
      span.tabIndex = tokens.includes(state.chosen ?? 0) ? 0 : -1;
      if (earlier && first < state.chosen) this.fill(span, "row", Math.max(...tokens.filter((t) => t < state.chosen).map((t) => earlier[this.run.start + t])));
      else if (earlier) this.fill(span, "none", 0);
      else if (colouring) this.fill(span, told === null ? "none" : "risk", told === null ? 0 : (told - colouring.low) / (colouring.high - colouring.low || 1));
      else if (Number.isNaN(score)) this.fill(span, "none", 0);
      else this.fill(span, "score", scale.share(score));
      span.setAttribute("aria-pressed", chosen);
      const scored = detectorOf(state.colour) && told !== null ? `, ${colouring.name} ${figure(told)}` : "";
      const risk = (danger === null ? "" : `, risk ${percent(danger)}`) + scored;
      span.setAttribute("aria-label", `${span.textContent}, score ${figure(score)}${risk}${fell ? ", falls" : ""}${truth ? `, ${truth}` : ""}`);
      const logprob = tokens.reduce((sum, t) => sum + this.run.logprobs[t], 0);
      span.title = `score ${figure(score)}${isNumber(bound) ? `, threshold ${figure(bound)}` : ""}, log p ${figure(logprob)}${risk}`
        + (end - first > 1 ? `, of ${end - first} tokens` : "");
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
    const colouring = this.run.colouring(state.colour);
    const kind = state.chosen !== null ? "row" : colouring ? "risk" : "score";
    const [weak, strong] = {row: () => ["weak dependence", "strong"], score: () => [`weak ${figure(scale.low)}`, `strong ${figure(scale.high)}`],
      risk: () => state.colour === "risk" ? ["risk that the object is not there: 0 %", "100 %; other words have none"]
        : [`${colouring.name}: ${figure(colouring.low)}`, `${figure(colouring.high)}: more likely hallucinated; other words have no score`]}[kind]();
    const parts = [element("span", {class: "ramp-row"}, weak, this.ramp(kind), strong)];
    if (kind !== "risk") parts.push(element("span", {}, element("span", {class: "fall-mark", "aria-hidden": true}, "\u25be"), " falls"));
    if (kind === "score" && state.colour !== "hold") {
      parts.push(element("span", {}, `no ${state.colour === "risk" ? "risk" : "score"} is known of this text: coloured by what words depend on`));
    }
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
    this.chips.forEach(({first, end, span}) => span.classList.toggle("hovered", t !== null && first <= t && t < end));
  }
}
