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

const CRC = Uint32Array.from({length: 256}, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xEDB88320 : value >>> 1;
  return value >>> 0;
});

function crc32(bytes) {
  let sum = 0xFFFFFFFF;
  for (const byte of bytes) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xFFFFFFFF) >>> 0;
}

// Files as a ZIP archive that stores them as they are: [{name, bytes}] to a Blob.
function zipped(files) {
  const parts = [], directory = [];
  let offset = 0;
  for (const {name, bytes} of files) {
    const label = new TextEncoder().encode(name), sum = crc32(bytes);
    const head = (signature, more) => {
      const view = new DataView(new ArrayBuffer(more ? 46 : 30));
      view.setUint32(0, signature, true);
      const at = more ? 6 : 4;
      if (more) view.setUint16(4, 20, true);
      view.setUint16(at, 20, true);
      view.setUint16(at + 2, 0x0800, true);
      view.setUint16(at + 8, 0x21, true);
      view.setUint32(at + 10, sum, true);
      view.setUint32(at + 14, bytes.length, true);
      view.setUint32(at + 18, bytes.length, true);
      view.setUint16(at + 22, label.length, true);
      if (more) view.setUint32(42, offset, true);
      return new Uint8Array(view.buffer);
    };
    const local = head(0x04034B50, false);
    directory.push(head(0x02014B50, true), label);
    parts.push(local, label, bytes);
    offset += local.length + label.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054B50, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, offset, true);
  return new Blob([...parts, ...directory, new Uint8Array(end.buffer)], {type: "application/zip"});
}

function download(name, blob) {
  const link = element("a", {href: URL.createObjectURL(blob), download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
