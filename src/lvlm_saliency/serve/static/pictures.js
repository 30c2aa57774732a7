// The pictures of the question: chosen, dropped, pasted, or samples.
const LARGEST_NAME = 80;
const chosenPictures = [];

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
      const left = at("thumbs").querySelectorAll("button");
      (left[Math.min(number, left.length - 1)] ?? at("file")).focus();
    }}, "\u00d7"))));
  at("several").hidden = chosenPictures.length < 2;
  at("apart").checked ||= chosenPictures.length > SERVER.max_pictures;
}

const dataUrl = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result));
  reader.addEventListener("error", () => reject(new Error(`${file.name} cannot be read`)));
  reader.readAsDataURL(file);
});

// In the order in which they were chosen, however long each takes: a question may speak of the first.
async function readFiles(files) {
  const pictures = files.filter((file) => file.type.startsWith("image/"));
  const other = files.find((file) => !pictures.includes(file));
  if (other) problem(`${other.name} is not a picture`);
  const urls = await Promise.all(pictures.map(dataUrl));
  pictures.forEach((file, number) => addPicture(file.name || "pasted.png", urls[number]));
}

const takeFiles = (files) => readFiles([...files]).catch(({message}) => problem(message));

function offerPictures() {
  at("file").addEventListener("change", (event) => {
    takeFiles(event.target.files);
    event.target.value = "";
  });
  at("remove-all").addEventListener("click", () => {
    chosenPictures.length = 0;
    showPictures();
    at("file").focus();
  });
  const drop = at("drop");
  for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over && event.relatedTarget !== null);
      if (name === "drop") takeFiles(event.dataTransfer.files);
    });
  }
  document.addEventListener("paste", (event) => takeFiles(event.clipboardData.files));
  at("samples").append(...SERVER.samples.map(({name, title, url}) => element("button", {type: "button", title,
    "aria-label": `Use ${title}`, onclick: () => {
      chosenPictures.length = 0;
      addPicture(name, url);
    }}, element("img", {src: url, alt: ""}))));
}
