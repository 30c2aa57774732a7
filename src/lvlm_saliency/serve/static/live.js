// Answers as they are written: events of the server, words that are coloured as soon as something is known of them, and
// what a guard is about to say, takes back, and says instead.

// The data of a stream of server-sent events, one JSON value after the other.
async function* eventsOf(response) {
  const reader = response.body.getReader(), decoder = new TextDecoder();
  let held = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    held += decoder.decode(value, {stream: true});
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const text = part.replace(/^data: /, "");
      if (text === "[DONE]") return;
      yield JSON.parse(text);
    }
  }
}

// A guarded text on its way. What is settled never changes; what stands behind it is a draft.
class Drafts {
  constructor() {
    this.settled = "";
    this.taken = [];
    this.sentence = element("span", {class: "settled"});
    this.draft = element("span", {class: "draft"});
    this.log = element("div", {class: "guard", role: "log", "aria-label": "What the guard takes back"});
  }

  take(moment, shown) {
    const open = this.taken.find(({action}) => action === "writing again");
    if (moment.kind === "taken back") {
      const {text, word, risk, why} = moment;
      if (!open) this.taken.push({action: "writing again", now: "", tries: []});
      this.taken.at(-1).tries.push([text, word, risk, why]);
      this.draft.classList.add("wrong");
    } else if (moment.kind === "draft") {
      if (open) open.now = moment.text.trim();
      this.draft.classList.remove("wrong");
    } else {
      this.settled += moment.text;
      if (open) Object.assign(open, {action: moment.action, now: moment.text.trim()});
    }
    this.draft.textContent = moment.kind === "settled" ? "" : moment.text;
    this.show(shown);
    this.log.replaceChildren(...takenBack({guard: this.taken}));
  }

  // What is settled stands in grey until the words come that are coloured.
  show(shown) {
    this.sentence.textContent = this.settled.trimStart().slice(shown.length);
  }
}

class LiveText {
  constructor(name) {
    this.name = name;
    this.words = [];
    this.text = "";
    this.drafts = new Drafts();
    this.answer = element("p", {class: "answer writing"}, this.drafts.sentence, this.drafts.draft);
    this.count = element("small", {});
    this.node = element("article", {}, element("h2", {}, name, this.count), this.answer, this.drafts.log);
  }

  add(entries, colour) {
    for (const entry of entries) {
      this.text += entry.token;
      const {before, word, after} = wordParts(entry.token);
      const span = element("span", {class: "word"}, word);
      this.words.push({span, note: entry.lvlm_saliency ?? {}});
      this.drafts.sentence.before(before, span, after);
    }
    this.drafts.show(this.text);
    this.count.textContent = ` ${this.words.length} tokens`;
    this.paint(colour);
  }

  // colour: "risk", a region of saliency, or "detector:NAME".
  paint(colour) {
    const detector = colour.startsWith("detector:") ? colour.slice(9) : null;
    const value = ({note}) => colour === "risk" ? note.risk : detector ? note.detectors?.[detector] : note.saliency?.[colour];
    const known = this.words.map(value).filter(isNumber);
    const scale = colourScale(known);
    const low = Math.min(...known), span = Math.max(...known) - low || 1;
    for (const word of this.words) {
      const found = value(word);
      if (!isNumber(found ?? null)) TextView.prototype.fill(word.span, "none", 0);
      else if (colour === "risk") TextView.prototype.fill(word.span, "risk", Math.min(Math.max(found, 0), 1));
      else if (detector) TextView.prototype.fill(word.span, "risk", (found - low) / span);
      else TextView.prototype.fill(word.span, "score", scale.share(found));
      word.span.title = isNumber(found ?? null) ? `${colour} ${figure(found)}` : "";
    }
  }

  end() {
    this.answer.classList.remove("writing");
    this.drafts.draft.textContent = "";
  }
}
