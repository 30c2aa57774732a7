// Answers as they are written: events of the server, and words that are coloured as soon as something is known of them.

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

class LiveText {
  constructor(name) {
    this.name = name;
    this.words = [];
    this.text = "";
    this.answer = element("p", {class: "answer writing"});
    this.count = element("small", {});
    this.events = element("ul", {class: "events", hidden: true});
    this.node = element("article", {}, element("h2", {}, name, this.count), this.answer, this.events);
  }

  add(entries, colour) {
    for (const entry of entries) {
      this.text += entry.token;
      const {before, word, after} = wordParts(entry.token);
      const span = element("span", {class: "word"}, word);
      this.words.push({span, note: entry.lvlm_saliency ?? {}});
      this.answer.append(before, span, after);
    }
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

  // What a guard did, word by word.
  tell(events) {
    this.events.hidden = !events.length;
    this.events.replaceChildren(...events.map((event) => element("li", {}, eventLine(event))));
  }

  end() {
    this.answer.classList.remove("writing");
  }
}

function eventLine(event) {
  const risk = isNumber(event.risk ?? null) ? `, risk ${percent(event.risk)}` : "";
  const tries = event.tries ? `, ${event.tries} ${event.tries === 1 ? "try" : "tries"}` : "";
  return `\u201c${event.word ?? event.object ?? ""}\u201d: ${event.action ?? "seen"}${risk}${tries}`;
}
