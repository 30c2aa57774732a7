// The page to try it on: a question, answers side by side as they are written, and then the report's own sections.
let running = null;

function problem(text) {
  at("problem").hidden = !text;
  at("problem").textContent = text ?? "";
}

function state(text) {
  at("state").textContent = text;
}

// A way of decoding to choose; a guard that was just calibrated comes later than the others.
function offerWay(name, checked) {
  at("ways").append(element("label", {}, element("input", {type: "checkbox", value: name, checked}), element("span", {}, name)));
}

const settles = (way) => SERVER.settling.includes(way) || SERVER.guards.includes(way);

function offerSettings() {
  for (const name of ["plain", ...SERVER.methods.filter((name) => name !== "sample"), ...SERVER.guards]) offerWay(name, name === "plain");
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
  if (settles(way)) wanted.drafts = true;
  if (at("detector").value) wanted.detectors = [at("detector").value];
  return {model: SERVER.name, messages: [{role: "user", content}], stream: true, seed: Number(at("seed").value),
    max_tokens: Number(at("max").value), ...temperature > 0 && !SERVER.searching.includes(way) ? {temperature} : {},
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
    if (choice.lvlm_saliency?.guard) text.drafts.take(choice.lvlm_saliency.guard, text.text);
    else extra = choice.lvlm_saliency ?? extra;
  }
  text.end();
  const data = await (await fetch(`${extra.report_url}/data`, {signal})).json();
  const [run] = data.runs;
  const unread = extra.read_without?.length ? `${extra.read_without.join(" and ")} cannot be traced: the words are read as the model itself reads them` : "";
  const notes = [run.note, unread];
  return {data, run: {...run, name: way, text: text.text, note: notes.filter(Boolean).join("; ")},
    report: extra.report_url.replace("/reports/", "")};
}

// What is to be asked: each picture by itself, or one question about all of them.
function questions() {
  const apart = !at("several").hidden && at("apart").checked;
  return apart ? chosenPictures.map((picture) => [picture]) : [[...chosenPictures]];
}

async function ask() {
  const question = at("prompt").value.trim();
  const ways = [...document.querySelectorAll("#ways input:checked")].map((input) => input.value);
  if (!question) return problem("Write a question first.");
  if (!ways.length) return problem("Choose at least one way of decoding.");
  if (!chosenPictures.length) return problem("Choose a picture first, or one of the samples.");
  problem(null);
  running = new AbortController();
  at("go").disabled = true;
  at("halt").hidden = false;
  const asked = questions();
  try {
    for (const [number, pictures] of asked.entries()) {
      state(asked.length > 1 ? `picture ${number + 1} of ${asked.length} \u2026` : "writing \u2026");
      if (!await askOne(question, pictures, ways, asked.length > 1)) break;
    }
  } finally {
    at("go").disabled = false;
    at("halt").hidden = true;
  }
}

// One question under all ways; whether there is a reason to go on. many: whether others follow.
async function askOne(question, pictures, ways, many) {
  const signal = running.signal, live = at("live");
  const texts = ways.map((way) => new LiveText(way));
  live.replaceChildren(...texts.map((text) => text.node));
  live.hidden = false;
  const found = await Promise.allSettled(ways.map((way, number) => answer(way, question, pictures, signal, texts[number])));
  const done = found.filter(({status}) => status === "fulfilled").map(({value}) => value);
  const faults = found.filter(({status, reason}) => status === "rejected" && reason.name !== "AbortError");
  if (faults.length) problem(faults.map(({reason}) => reason.message).join(" \u00b7 "));
  for (const text of texts) text.end();
  state(signal.aborted ? "stopped" : faults.length === ways.length ? "" : "finished");
  if (!done.length) return false;
  live.hidden = true;
  await show(question, pictures, done, many);
  return !signal.aborted;
}

// The finished answers as a section of the report.
async function show(question, pictures, done, many) {
  at("shown").hidden = false;
  at("label-bar").hidden = at("steps").hidden = false;
  const names = pictures.map(({name}) => name).join(", ");
  const section = await addCase({...done[0].data, title: `${names}: ${question}`, prompt: question, runs: done.map(({run}) => run),
    files: pictures});
  const several = done.length > 1 ? "all answers" : "the answer";
  section.node.querySelector("header").append(element("a", {class: "quiet share", download: "report.html",
    href: `/reports/${done.map(({report}) => report).join(",")}.html`}, `Save ${several} as a file`));
  if (!many) section.node.scrollIntoView({behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "nearest"});
  labelState();
}

function beginPlay() {
  offerPictures();
  offerSettings();
  offerLabels();
  offerCalibration();
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
