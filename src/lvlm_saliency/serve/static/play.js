// The page to try it on: a question, answers side by side as they are written, and then the report's own sections.
const SERVER = DATA.server;
const LARGEST_NAME = 80;
const at = (id) => document.getElementById(id);
const chosenPictures = [];
let running = null;

const labels = new Labels((section, run) => {
  if (section.run === run) {
    const t = section.chosen;
    section.text.show(run);
    section.paint();
    if (t !== null) section.text.focus(t);
  }
  labelState();
});

// --- pictures ---

const fileBytes = (url) => bytesOf(url.slice(url.indexOf(",") + 1));

function freeName(name) {
  const taken = new Set([...sections.flatMap((section) => section.data.files), ...chosenPictures].map((file) => file.name));
  const clean = name.replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(-LARGEST_NAME) || "picture.png";
  const [, stem, end] = clean.match(/^(.*?)(\.[^.]*)?$/);
  let found = clean;
  for (let number = 2; taken.has(found); number++) found = `${stem}-${number}${end ?? ""}`;
  return found;
}

// The same picture keeps its name, so that its texts stand under one picture in the label file.
function knownName(name, url) {
  const same = [...sections.flatMap((section) => section.data.files), ...chosenPictures].find((file) => file.url === url);
  return same ? same.name : freeName(name);
}

function addPicture(name, url) {
  chosenPictures.push({name: knownName(name, url), url});
  showPictures();
}

function showPictures() {
  at("thumbs").replaceChildren(...chosenPictures.map((file, number) => element("li", {},
    element("img", {src: file.url, alt: file.name}),
    element("button", {type: "button", "aria-label": `Remove ${file.name}`, onclick: () => {
      chosenPictures.splice(number, 1);
      showPictures();
    }}, "\u00d7"))));
}

function readFile(file) {
  if (!file.type.startsWith("image/")) return problem(`${file.name} is not a picture`);
  const reader = new FileReader();
  reader.addEventListener("load", () => addPicture(file.name || "pasted.png", reader.result));
  reader.readAsDataURL(file);
}

function offerPictures() {
  at("file").addEventListener("change", (event) => {
    [...event.target.files].forEach(readFile);
    event.target.value = "";
  });
  const drop = at("drop");
  for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over && event.relatedTarget !== null);
      if (name === "drop") [...event.dataTransfer.files].forEach(readFile);
    });
  }
  document.addEventListener("paste", (event) => [...event.clipboardData.files].forEach(readFile));
  at("samples").append(...SERVER.samples.map(({name, title, url}) => element("button", {type: "button", title,
    "aria-label": `Use ${title}`, onclick: () => {
      chosenPictures.length = 0;
      addPicture(name, url);
    }}, element("img", {src: url, alt: ""}))));
}

// --- asking ---

function problem(text) {
  at("problem").hidden = !text;
  at("problem").textContent = text ?? "";
}

function state(text) {
  at("state").textContent = text;
}

function offerSettings() {
  const names = ["plain", ...SERVER.methods.filter((name) => name !== "sample")];
  at("ways").append(...names.map((name) => element("label", {},
    element("input", {type: "checkbox", value: name, checked: name === "plain"}), element("span", {}, name))));
  at("detector").append(...SERVER.detectors.map((name) => element("option", {value: name}, name)));
  at("max").max = SERVER.max_tokens;
  at("max").value = Math.min(128, SERVER.max_tokens);
  at("key-field").hidden = !SERVER.keyed;
  if (SERVER.keyed) at("key-field").closest("details").open = true;
  offerColours();
  at("detector").addEventListener("change", offerColours);
}

function offerColours() {
  const select = at("live-colour"), before = select.value;
  const options = [...SERVER.risk ? [["risk", "risk of being hallucinated"]] : [],
    ["output", "saliency on earlier words"], ["image", "saliency on the picture"], ["prompt", "saliency on the prompt"]];
  if (SERVER.thinks) options.push(["thinking", "saliency on the thinking"], ["answer", "saliency on the answer"]);
  if (at("detector").value) options.push([`detector:${at("detector").value}`, `detector ${at("detector").value}`]);
  select.replaceChildren(...options.map(([value, text]) => element("option", {value}, text)));
  if (options.some(([value]) => value === before)) select.value = before;
}

const headers = () => ({"Content-Type": "application/json",
  ...SERVER.keyed ? {Authorization: `Bearer ${at("key").value}`} : {}});

function bodyFor(way, question, pictures) {
  const content = [...pictures.map(({url}) => ({type: "image_url", image_url: {url}})), {type: "text", text: question}];
  const temperature = Number(at("temperature").value);
  const wanted = {explain: true, risk: SERVER.risk, methods: way === "plain" ? [] : [way]};
  if (at("detector").value) wanted.detectors = [at("detector").value];
  return {model: SERVER.name, messages: [{role: "user", content}], stream: true, seed: Number(at("seed").value),
    max_tokens: Number(at("max").value), ...temperature > 0 && !["beam", "opera", "dopra"].includes(way) ? {temperature} : {},
    lvlm_saliency: wanted};
}

// One way's answer, shown as it is written; the data of its report.
async function answer(way, question, pictures, signal, text) {
  const response = await fetch("/v1/chat/completions", {method: "POST", headers: headers(), signal,
    body: JSON.stringify(bodyFor(way, question, pictures))});
  if (!response.ok) throw new Error(`${way}: ${(await response.json()).error.message}`);
  let extra = null;
  for await (const chunk of eventsOf(response)) {
    if (chunk.error) throw new Error(`${way}: ${chunk.error.message}`);
    const [choice] = chunk.choices;
    if (!choice) continue;
    if (choice.logprobs) text.add(choice.logprobs.content, at("live-colour").value);
    extra = choice.lvlm_saliency ?? extra;
  }
  text.end();
  const events = extra?.events ?? [];
  text.tell(events);
  const data = await (await fetch(`${extra.report_url}/data`, {signal})).json();
  const [run] = data.runs;
  const unread = extra.read_without?.length ? `${extra.read_without.join(" and ")} cannot be traced: the words are read as the model itself reads them` : "";
  const notes = [run.note, unread, ...events.map(eventLine)];
  return {data, run: {...run, name: way, text: text.text, note: notes.filter(Boolean).join("; ")},
    report: extra.report_url.replace("/reports/", "")};
}

async function ask() {
  const question = at("prompt").value.trim(), pictures = [...chosenPictures];
  const ways = [...document.querySelectorAll("#ways input:checked")].map((input) => input.value);
  if (!question) return problem("Write a question first.");
  if (!ways.length) return problem("Choose at least one way of decoding.");
  if (!pictures.length) return problem("Choose a picture first, or one of the samples.");
  problem(null);
  running = new AbortController();
  const signal = running.signal, live = at("live");
  at("go").disabled = true;
  at("halt").hidden = false;
  state("writing \u2026");
  const texts = ways.map((way) => new LiveText(way));
  live.replaceChildren(...texts.map((text) => text.node));
  live.hidden = false;
  const found = await Promise.allSettled(ways.map((way, number) => answer(way, question, pictures, signal, texts[number])));
  at("go").disabled = false;
  at("halt").hidden = true;
  const done = found.filter(({status}) => status === "fulfilled").map(({value}) => value);
  const faults = found.filter(({status, reason}) => status === "rejected" && reason.name !== "AbortError");
  if (faults.length) problem(faults.map(({reason}) => reason.message).join(" \u00b7 "));
  for (const text of texts) text.end();
  state(signal.aborted ? "stopped" : faults.length === ways.length ? "" : "finished");
  if (!done.length) return;
  live.hidden = true;
  await show(question, pictures, done);
}

// The finished answers as a section of the report.
async function show(question, pictures, done) {
  at("shown").hidden = false;
  at("label-bar").hidden = false;
  const names = pictures.map(({name}) => name).join(", ");
  const section = await addCase({...done[0].data, title: `${names}: ${question}`, prompt: question, runs: done.map(({run}) => run),
    files: pictures});
  const several = done.length > 1 ? "all answers" : "the answer";
  section.node.querySelector("header").append(element("a", {class: "quiet share", download: "report.html",
    href: `/reports/${done.map(({report}) => report).join(",")}.html`}, `Save ${several} as a file`));
  section.node.scrollIntoView({behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "nearest"});
  labelState();
}

// --- labels ---

function labelState() {
  const lines = labels.lines(sections), spans = lines.flatMap((line) => line.spans);
  const wrong = spans.filter((span) => span.hallucinated).length;
  at("label-count").textContent = spans.length
    ? `${spans.length} ${spans.length === 1 ? "word" : "words"} marked in ${lines.length} ${lines.length === 1 ? "text" : "texts"}, ${wrong} hallucinated`
    : "Choose a word and mark it.";
  at("undo").disabled = !labels.past.length;
  at("save-labels").disabled = at("save-zip").disabled = !lines.length;
}

function markChosen(kind) {
  const section = current;
  if (!section?.run || section.chosen === null) return state("choose a word first");
  if (section.data.files.length !== 1) return state("labels are for questions about one picture");
  if (!labels.mark(section, section.chosen, kind)) return state("this is no word");
  state("");
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
    else return;
    event.preventDefault();
  });
}

function beginPlay() {
  offerPictures();
  offerSettings();
  offerLabels();
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask().catch((error) => problem(error.message));
  });
  at("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit();
  });
  at("halt").addEventListener("click", () => running?.abort());
  labelState();
}

beginPlay();
