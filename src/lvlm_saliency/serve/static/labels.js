// Labels: words that a person marks as right or hallucinated, and the file that study, detect and guard calibrate read.

// Python counts characters, JavaScript halves of some of them.
const characters = (text) => Array.from(text).length;

// The tokens [first, end) of the word that token t belongs to.
function wordAround(run, t) {
  const chips = run.chips, letter = (text) => /[\p{L}\p{N}]/u.test(text);
  let first = chips.indexOf(run.chipOf[t]), end = first + 1;
  if (!letter(chips[first].text)) return null;
  const joined = (left, right) => /[\p{L}\p{N}'\u2019-]$/u.test(chips[left].text) && /^[\p{L}\p{N}'\u2019-]/u.test(chips[right].text);
  while (first > 0 && joined(first - 1, first)) first--;
  while (end < chips.length && joined(end - 1, end)) end++;
  return [chips[first].first, chips[end - 1].end];
}

class Labels {
  constructor(changed) {
    this.changed = changed;
    this.past = [];
  }

  // kind: "correct", "hallucinated", or "" for none.
  mark(section, t, kind) {
    const run = section.run, word = wordAround(run, t);
    if (!word) return false;
    this.past.push({section, run, marks: run.marks});
    const [first, end] = word;
    run.marks = run.marks.filter(([from, to]) => to <= first || from >= end);
    if (kind) run.marks = [...run.marks, [first, end, kind]].sort((a, b) => a[0] - b[0]);
    this.changed(section, run);
    return true;
  }

  undo() {
    const last = this.past.pop();
    if (!last) return;
    last.run.marks = last.marks;
    this.changed(last.section, last.run);
  }

  // A line for every text with a mark: {"image", "prompt", "text", "spans"}.
  lines(sections) {
    const found = [];
    for (const section of sections) {
      for (const run of section.data.runs) {
        if (run.marks.length && section.data.files.length === 1) found.push(this.line(section.data, run));
      }
    }
    return found;
  }

  line(data, run) {
    const whole = run.tokens.join(""), text = run.text.trim();
    const base = whole.indexOf(text);
    const spans = run.marks.map(([first, end, kind]) => {
      const before = run.tokens.slice(0, first).join("").slice(base);
      const word = run.tokens.slice(first, end).join("");
      const core = word.trim().replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
      const from = Math.max(before.length, 0) + word.indexOf(core);
      const start = characters(text.slice(0, from));
      return {start, end: start + characters(core), hallucinated: kind === "hallucinated", name: core.toLowerCase()};
    });
    return {image: data.files[0].name, prompt: data.prompt, text, spans};
  }
}

const labels = new Labels((section, run) => {
  if (section.run === run) {
    const t = section.chosen;
    section.text.show(run);
    section.paint();
    if (t !== null) section.text.focus(t);
  }
  labelState();
});

function labelState() {
  const lines = labels.lines(sections), spans = lines.flatMap((line) => line.spans);
  const wrong = spans.filter((span) => span.hallucinated).length;
  at("label-count").textContent = spans.length
    ? `${spans.length} ${spans.length === 1 ? "word" : "words"} marked in ${lines.length} ${lines.length === 1 ? "text" : "texts"}, ${wrong} hallucinated`
    : "Choose a word and mark it.";
  const pictures = new Set(lines.map((line) => line.image)).size;
  at("undo").disabled = !labels.past.length;
  at("save-labels").disabled = at("save-zip").disabled = !lines.length;
  at("calibrate").disabled = !lines.length || calibrating !== null;
  at("labelled").value = pictures;
  at("labelled-count").textContent = `${pictures} ${pictures === 1 ? "picture" : "pictures"} labelled`;
}

function markChosen(kind) {
  const section = current;
  if (!section?.run || section.chosen === null) return state("choose a word first");
  if (section.data.files.length !== 1) return state("labels are for questions about one picture");
  if (!labels.mark(section, section.chosen, kind)) return state("this is no word");
  state("");
}

// The first word of the next text that nothing is marked in.
function nextUnlabelled() {
  const shown = [...document.querySelectorAll(".case")].map((node) => sections.find((section) => section.node === node));
  const from = shown.indexOf(current) + 1;
  const next = [...shown.slice(from), ...shown.slice(0, from)].find(({data}) => data.runs.every((run) => !run.marks.length));
  if (!next) return state("every text has labels");
  if (next.chosen !== null) next.pick(next.chosen);
  next.move(1);
  next.node.scrollIntoView({block: "center"});
}

function labelFile() {
  return new TextEncoder().encode(`${labels.lines(sections).map((line) => JSON.stringify(line)).join("\n")}\n`);
}

function saveZip() {
  const wanted = new Set(labels.lines(sections).map((line) => line.image));
  const files = new Map(sections.flatMap((section) => section.data.files).filter((file) => wanted.has(file.name)).map((file) => [file.name, file]));
  const pictures = [...files.values()].map(({name, url}) => ({name: `labels/${name}`, bytes: fileBytes(url)}));
  download("labels.zip", zipped([{name: "labels/labels.jsonl", bytes: labelFile()}, ...pictures]));
}

function offerLabels() {
  for (const button of document.querySelectorAll("[data-mark]")) button.addEventListener("click", () => markChosen(button.dataset.mark));
  at("undo").addEventListener("click", () => labels.undo());
  at("next").addEventListener("click", nextUnlabelled);
  at("save-labels").addEventListener("click", () => download("labels.jsonl", new Blob([labelFile()], {type: "application/jsonl"})));
  at("save-zip").addEventListener("click", saveZip);
  at("commands").textContent = [
    `lvlm-saliency study detect --model ${SERVER.name} --labels labels/labels.jsonl --out study`,
    `lvlm-saliency guard calibrate --model ${SERVER.name} --labels labels/labels.jsonl --out guard`,
  ].join("\n");
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
    const kind = {r: "correct", h: "hallucinated", c: ""}[event.key];
    if (kind !== undefined && current?.chosen !== null && current !== null) markChosen(kind);
    else if (event.key === "u") labels.undo();
    else if (event.key === "n" && sections.length) nextUnlabelled();
    else return;
    event.preventDefault();
  });
}
