// From the labels to a guard: the labelled pictures go to the server, which calibrates while the page shows how far it is.
const CALIBRATIONS = "/v1/calibrations";
let calibrating = null;

// The labelled texts by their picture: [{name, url, texts}].
function labelledPictures() {
  const files = new Map(sections.flatMap((section) => section.data.files).map((file) => [file.name, {...file, texts: []}]));
  for (const {image, prompt, text, spans} of labels.lines(sections)) files.get(image).texts.push({prompt, text, spans});
  return [...files.values()].filter(({texts}) => texts.length);
}

async function told(path, method, body) {
  const response = await fetch(`${CALIBRATIONS}${path}`, {method, headers: headers(), ...body ? {body: JSON.stringify(body)} : {}});
  const found = await response.json();
  if (!response.ok) throw new Error(found.error.message);
  return found;
}

function progress(text, done, total) {
  at("calibrating").hidden = !text;
  at("calibrate-state").textContent = text;
  const bar = at("calibrate-bar");
  bar.hidden = !total;
  bar.max = total || 1;
  bar.value = done || 0;
}

async function calibrate() {
  const pictures = labelledPictures();
  const {id} = await told("", "POST", {});
  calibrating = id;
  for (const [number, {url, texts}] of pictures.entries()) {
    progress(`sending picture ${number + 1} of ${pictures.length}`, number, pictures.length);
    await told(`/${id}/pictures`, "POST", {image: url, texts});
    if (calibrating !== id) return;
  }
  await told(`/${id}/start`, "POST", {recall_loss: Number(at("recall-loss").value) / 100, risk: at("learn").value === "risk"});
  for (let found = await told(`/${id}`, "GET"); calibrating === id; found = await told(`/${id}`, "GET")) {
    if (found.status === "finished") return offerGuard(found);
    if (!["waiting", "running"].includes(found.status)) throw new Error(found.problem || `the calibration is ${found.status}`);
    progress(found.stage || "waiting for its turn", found.done, found.total);
    await new Promise((resume) => setTimeout(resume, 400));
  }
}

function offerGuard(found) {
  SERVER.guards.push(found.guard);
  offerWay(found.guard, true);
  const told = Object.entries(found.reached).map(([name, [value, low, high]]) =>
    `${name} ${percent(value)}${isNumber(low ?? null) ? ` [${percent(low)}, ${percent(high)}]` : " (too few for an interval)"}`);
  const reached = told.length ? ` On pictures that nothing was learned from: ${told.join("; ")}.` : "";
  at("guard-made").replaceChildren(`${found.guard} is ready and stands among the ways of decoding.${reached} ${found.notes.join(" ")} `,
    element("button", {type: "button", class: "quiet", onclick: () => saveGuard(found).catch(({message}) => problem(message))}, "Download the guard (.zip)"));
}

async function saveGuard({id, guard}) {
  const response = await fetch(`${CALIBRATIONS}/${id}/guard.zip`, {headers: headers()});
  if (!response.ok) throw new Error((await response.json()).error.message);
  download(`${guard}.zip`, await response.blob());
}

async function beginCalibration() {
  problem(null);
  at("calibrate").disabled = true;
  at("guard-made").replaceChildren();
  try {
    await calibrate();
  } catch (error) {
    problem(error.message);
    at("problem").scrollIntoView({block: "nearest"});
    await forget();
  } finally {
    progress("");
    calibrating = null;
    labelState();
  }
}

// Tell the server that nobody waits for it any more; its pictures are removed there.
async function forget() {
  const id = calibrating;
  calibrating = null;
  if (id) await told(`/${id}`, "DELETE").catch(({message}) => problem(message));
}

function offerCalibration() {
  at("calibrate-here").hidden = !SERVER.calibrates;
  at("calibrate").addEventListener("click", beginCalibration);
  at("calibrate-halt").addEventListener("click", forget);
}
