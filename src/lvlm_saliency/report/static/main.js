// The page: one toolbar for all cases, one section per case.
const hasRisk = () => CASES.some((data) => data.runs.some((run) => run.risk));
const detectorsHeld = () => [...new Set(CASES.flatMap((data) => data.runs.flatMap((run) => [...run.detectors.keys()])))];
// Whoever asked for a detector wants to see it.
const firstColour = () => detectorsHeld().length ? BY_DETECTOR + detectorsHeld()[0] : hasRisk() ? "risk" : "hold";
const shared = {colour: firstColour(), region: DATA.regions[0], measure: MEASURES[0], view: "", alpha: DATA.alpha, strength: 0.8};
const sections = [];
let current = null;

function choice(id, names, labels) {
  const box = document.getElementById(id);
  box.replaceChildren();
  for (const name of names) {
    const input = element("input", {type: "radio", name: id, value: name, checked: shared[id] === name,
      onchange: () => {
        shared[id] = name;
        if (id !== "colour") shared.colour = "hold";  // whoever chooses a region wants to see it
        for (const other of document.querySelectorAll("#colour input")) other.checked = other.value === shared.colour;
        repaint();
      }});
    box.append(element("label", {}, input, element("span", {}, labels[name] ?? name)));
  }
}

// What a guard took back, and what it wrote in its place.
function takenBack(run) {
  const then = {rewritten: "written instead", flagged: "could not be mended: it stands, flagged", dropped: "nothing stands in its place"};
  const because = {again: "introduced a second time", number: "number not confirmed", colour: "colour not confirmed",
    place: "place not confirmed", relation: "a relation, which cannot be confirmed", "no sentence": "not a sentence"};
  return (run.guard || []).map((event) => element("div", {class: "taken"},
    ...event.tries.map(([text, word, risk, why]) => element("p", {},
      element("s", {}, text), ` \u2013 ${word}: `,
      because[why] ?? `risk ${isNumber(risk) ? percent(risk) : "unknown"}`)),
    element("p", {class: "instead"}, element("b", {}, then[event.action] || event.action), event.now ? `: ${event.now}` : "")));
}

class Section {
  constructor(data, index) {
    this.data = data;
    this.index = index;
    this.chosen = null;
    this.text = new TextView((t) => this.pick(t), (t) => this.hover(t));
    this.curves = new CurveView((t) => this.pick(t), (t) => this.hover(t));
    this.detail = new DetailView();
    this.pictures = data.images.map((image, at) => new PictureView(image, at, this.opacity()));
    this.films = (data.videos ?? []).map((video, at) => new FilmView(video, at, this.opacity()));
    this.note = element("p", {class: "note"});
    this.guard = element("div", {class: "guard"});
    this.tabs = element("div", {class: "choice runs"}, ...data.runs.map((run, at) => this.tab(run, at)));
    this.tabs.hidden = data.runs.length < 2;
    this.node = element("section", {class: `case ${data.images.length ? "" : "no-picture"} ${data.videos?.length ? "filmed" : ""}`, id: `case-${index + 1}`},
      element("header", {},
        element("div", {}, element("h2", {}, data.title), data.note ? element("p", {class: "note"}, data.note) : ""), this.tabs),
      ...this.films.map((film) => film.node),
      element("div", {class: "look"}, ...this.pictures.map((picture) => picture.node)),
      element("div", {class: "read"}, this.note, this.text.node, this.guard, this.detail.node, this.curves.node));
    this.node.addEventListener("focusin", () => { current = this; });
    this.node.addEventListener("pointerdown", () => { current = this; });
  }

  opacity() {
    const input = element("input", {type: "range", min: 0, max: 1, step: 0.05, value: shared.strength,
      oninput: (event) => { shared.strength = Number(event.target.value); repaint(); }});
    return element("label", {class: "field opacity"}, "Strength of the heat map", input);
  }

  tab(run, at) {
    const made = run.marks.filter(([, , kind]) => kind === "hallucinated").length;
    const facts = `${run.length} tokens${run.cut ? ` ${DATA.cut.mark}` : ""}${run.marks.length ? `, ${made} hallucinated` : ""}`;
    return element("label", {}, element("input", {type: "radio", name: `run-${this.index}`, value: at, checked: at === 0,
      onchange: () => this.show(at)}), element("span", {}, element("b", {}, run.name), element("small", {}, facts)));
  }

  async show(at) {
    const run = this.data.runs[at];
    await run.load();
    this.run = run;
    this.chosen = null;
    this.text.show(run);
    this.note.textContent = run.note;
    this.note.hidden = !run.note;
    this.guard.replaceChildren(...takenBack(run));
    this.guard.hidden = !(run.guard || []).length;
    await this.paint();
  }

  async paint() {
    if (!this.run?.length) return;
    const scores = this.run.scores(shared.region, shared.measure, shared.view);
    const bounds = this.run.thresholds(scores, shared.alpha);
    const state = {...shared, chosen: this.chosen, row: this.run.row(this.chosen, shared.measure, shared.view)};
    this.text.paint(state, scores, bounds);
    this.curves.paint(this.run, state, scores, bounds);
    this.detail.paint(this.run, state, scores, bounds);
    await Promise.all([...this.pictures, ...this.films].map((view) => view.paint(this.run, state, shared.strength)));
    this.node.dataset.shown = `${this.data.runs.indexOf(this.run)}:${this.chosen ?? "all"}`;
  }

  pick(t) {
    current = this;
    this.chosen = this.chosen === t ? null : t;
    this.paint();
    if (t !== null) this.text.focus(t);
  }

  move(step) {
    const next = this.chosen === null ? (step > 0 ? 0 : this.run.length - 1) : this.chosen + step;
    if (next >= 0 && next < this.run.length) { this.chosen = null; this.pick(next); }
  }

  hover(t) {
    this.text.hover(t);
    this.curves.point(this.chosen, t);
  }
}

function repaint() {
  document.getElementById("alpha-out").textContent = shared.alpha.toFixed(2);
  for (const input of document.querySelectorAll(".opacity input")) input.value = shared.strength;
  for (const section of sections) section.paint();
}

function keys(event) {
  const section = current ?? sections[0];
  const typing = event.target.closest("input, select, textarea");
  if (!section?.run || typing || event.altKey || event.ctrlKey || event.metaKey) return;
  const word = event.target.closest(".word");
  if (event.key === "ArrowLeft") section.move(-1);
  else if (event.key === "ArrowRight") section.move(1);
  else if (event.key === "Escape" && section.chosen !== null) section.pick(section.chosen);
  else if ((event.key === "Enter" || event.key === " ") && word) section.pick(Number(word.dataset.token));
  else return;
  event.preventDefault();
}

// What the toolbar offers, by what the cases hold.
function offer() {
  const names = [...hasRisk() ? ["risk"] : [], ...detectorsHeld().map((name) => BY_DETECTOR + name)];
  choice("colour", [...names, "hold"], {risk: "risk of being hallucinated", hold: "what they depend on",
    ...Object.fromEntries(detectorsHeld().map((name) => [BY_DETECTOR + name, name]))});
  document.getElementById("colour").parentNode.hidden = !names.length;
  if (names.length) document.getElementById("region").previousElementSibling.textContent = "What they depend on";
  const views = [...new Set(CASES.flatMap((data) => data.runs.flatMap((run) => run.views)))];
  const select = document.getElementById("view");
  select.replaceChildren(...views.map((view) => element("option", {value: view}, view)));
  if (!views.includes(shared.view)) shared.view = views[0] ?? "";
  select.value = shared.view;
}

// A case that comes later stands first.
async function addCase(data) {
  const own = {...data, runs: data.runs.map((run) => new Run(run))};
  const risky = hasRisk();
  CASES.push(own);
  const section = new Section(own, sections.length);
  sections.push(section);
  document.getElementById("cases").prepend(section.node);
  if (!risky && hasRisk()) shared.colour = "risk";
  offer();
  await section.show(0);
  current = section;
  return section;
}

async function begin() {
  choice("region", DATA.regions, REGION_NAMES);
  choice("measure", MEASURES, {});
  const select = document.getElementById("view");
  select.addEventListener("change", () => { shared.view = select.value; repaint(); });
  offer();
  const alpha = document.getElementById("alpha");
  alpha.value = shared.alpha;
  alpha.addEventListener("input", () => { shared.alpha = Number(alpha.value); repaint(); });
  const bar = document.getElementById("bar");
  bar.addEventListener("submit", (event) => event.preventDefault());
  // What sticks below the bar begins where it ends, however many lines it takes.
  new ResizeObserver(() => {
    const covered = getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
    document.documentElement.style.setProperty("--bar", `${covered}px`);
  }).observe(bar);
  document.addEventListener("keydown", keys);
  const main = document.getElementById("cases");
  CASES.forEach((data, index) => sections.push(new Section(data, index)));
  main.append(...sections.map((section) => section.node));
  await Promise.all(sections.map((section) => section.show(0)));
  repaint();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; repaint(); } });
  document.body.dataset.ready = "true";
}

begin().catch((error) => {
  document.body.prepend(element("p", {class: "problem", role: "alert"}, error.message));
  throw error;
});
