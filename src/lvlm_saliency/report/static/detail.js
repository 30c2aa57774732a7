// What is known of the chosen word: its numbers, the earlier words it depends on, its region shares, SGRS's candidates.
const TOP_WORDS = 8;

class DetailView {
  constructor() {
    this.node = element("section", {class: "detail", "aria-live": "polite"});
  }

  paint(run, state, scores, bounds) {
    if (state.chosen === null) {
      this.node.replaceChildren(element("p", {class: "hint"}, "Click a word to see what it depends on. ",
        element("kbd", {}, "\u2190"), " ", element("kbd", {}, "\u2192"), " walk through the text, ",
        element("kbd", {}, "Esc"), " lets go."));
      return;
    }
    const t = state.chosen;
    const rows = Object.fromEntries(MEASURES.map((measure) => [measure, run.row(t, measure, state.view)]));
    this.node.replaceChildren(
      this.facts(run, t, scores, bounds), this.shares(run, rows), this.words(run, t, rows, state.measure),
      ...(run.steps?.[t]?.candidates.length ? [this.candidates(run.steps[t])] : []));
  }

  facts(run, t, scores, bounds) {
    const ratio = scores[t] / (bounds[t] || NaN);
    const facts = [["score", figure(scores[t])], ["threshold", figure(bounds[t])], ["probability", figure(Math.exp(run.logprobs[t]))],
      ["log p", figure(run.logprobs[t])], ["entropy", figure(run.entropy[t])]];
    if (isNumber(run.risk?.[t] ?? null)) facts.push(["risk", figure(run.risk[t])]);
    for (const [name, values] of run.detectors) if (isNumber(values[t])) facts.push([name, figure(values[t])]);
    const mark = run.mark(t);
    return element("div", {class: "facts"},
      element("h3", {}, element("span", {class: `sample ${mark}`}, run.shown(t)),
        element("small", {}, `token ${t}; the text has ${run.length}, from 0`),
        ratio < 1 ? element("small", {class: "fallen"}, "\u25be falls") : "",
        mark ? element("small", {}, mark === "hallucinated" ? "not in the picture" : "in the picture") : ""),
      element("dl", {}, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)))));
  }

  // How a row's mass divides over the regions.
  shares(run, rows) {
    const regions = ["system", "image", "prompt", "output"];
    const named = (region) => region === "image" && run.films?.length && !run.pictures.length ? "video" : region;
    const bars = MEASURES.map((measure) => {
      const sums = Object.fromEntries(regions.map((region) => [region, 0]));
      let total = 0;
      rows[measure].forEach((value, key) => { if (run.kinds[key]) { sums[run.kinds[key]] += value; total += value; } });
      const parts = regions.map((region) => [region, total > 0 ? sums[region] / total : 0]);
      return element("div", {class: "share"}, element("span", {}, measure), element("div", {class: "stack", role: "img",
        "aria-label": parts.map(([region, part]) => `${named(region)} ${Math.round(100 * part)} %`).join(", ")},
      ...parts.filter(([, part]) => part > 0).map(([region, part]) => {
        const bar = element("i", {class: region, title: `${named(region)} ${(100 * part).toFixed(1)} %`},
          part > 0.22 ? `${named(region)} ${Math.round(100 * part)} %` : "");
        bar.style.flexGrow = part;
        return bar;
      })));
    });
    return element("div", {class: "shares"}, element("h4", {}, "Where the row lies"), ...bars);
  }

  words(run, t, rows, measure) {
    const texts = new Map(run.context.map(([position, text, region]) => [position, [text, region]]));
    run.tokens.slice(0, t).forEach((_, at) => texts.set(run.start + at, [run.shown(at), "output"]));
    const top = [...texts.entries()].sort((a, b) => rows[measure][b[0]] - rows[measure][a[0]]).slice(0, TOP_WORDS);
    const largest = Object.fromEntries(MEASURES.map((name) => [name, Math.max(...top.map(([key]) => rows[name][key]), 1e-30)]));
    const cell = (name, key) => {
      const bar = element("i", {class: name});
      bar.style.width = `${100 * rows[name][key] / largest[name]}%`;
      return element("td", {class: "bar-cell"}, bar, element("span", {}, figure(rows[name][key])));
    };
    return element("div", {class: "top"}, element("h4", {}, `Earlier words it depends on most, by ${measure}`),
      element("table", {}, element("thead", {}, element("tr", {}, ...["word", "from", ...MEASURES].map((name) => element("th", {scope: "col"}, name)))),
        element("tbody", {}, ...top.map(([key, [text, region]]) => element("tr", {},
          element("th", {scope: "row"}, text.trim() || JSON.stringify(text)),
          element("td", {class: "from"}, region === "output" ? `token ${key - run.start}` : region),
          ...MEASURES.map((name) => cell(name, key)))))));
  }

  candidates(step) {
    const verdict = (token) => {
      if (token === step.token) return step.fallback ? "kept: every draw was rejected, this one scores highest" : "accepted";
      if (step.rejected.includes(token)) return `rejected: below ${figure(step.threshold)}`;
      return "not drawn";
    };
    return element("div", {class: "candidates"}, element("h4", {}, `Candidates of the rejection sampler, ${step.draws} drawn`),
      element("table", {}, element("tbody", {}, ...step.candidates.map(([token, name, score]) =>
        element("tr", {class: token === step.token ? "kept" : ""}, element("th", {scope: "row"}, name),
          element("td", {}, figure(score)), element("td", {}, verdict(token)))))),
      element("p", {class: "note"}, "Scores over the layers that the sampler looks at, with each candidate's own loss."));
  }
}
