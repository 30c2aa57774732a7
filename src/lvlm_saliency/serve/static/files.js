// Files that the page hands out: downloads, and archives of several.
const SERVER = DATA.server;
const at = (id) => document.getElementById(id);

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
