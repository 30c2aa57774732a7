// Pictures with what the chosen word depends on: saliency and plain attention side by side.
const HEAT = [[11, 7, 36], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

function heatColour(share) {
  const at = Math.min(Math.max(share, 0), 1) * (HEAT.length - 1);
  const low = Math.min(Math.floor(at), HEAT.length - 2);
  return HEAT[low].map((value, channel) => value + (at - low) * (HEAT[low + 1][channel] - value));
}

const IMAGES = new Map();

function loadImage(source) {
  if (!IMAGES.has(source)) {
    const image = new Image();
    image.src = source;
    IMAGES.set(source, image.decode().then(() => image));
  }
  return IMAGES.get(source);
}

// Square pixels that one position stands for. Coarse grids are drawn first, so that finer ones replace them.
const cellArea = ({box, rows, columns}) => (box[2] - box[0]) * (box[3] - box[1]) / (rows * columns);

// The heat map of a picture alone, of the canvas's size; transparent where no position looks.
function heatSheet(picture, canvas, tiles, row, top, strength) {
  const sheet = element("canvas", {width: canvas.width, height: canvas.height});
  const context = sheet.getContext("2d");
  const x = canvas.width / picture.width, y = canvas.height / picture.height;
  context.imageSmoothingEnabled = false;
  for (const tile of tiles) {
    const [left, up, right, down] = [tile.box[0] * x, tile.box[1] * y, tile.box[2] * x, tile.box[3] * y];
    context.clearRect(left, up, right - left, down - up);
    context.drawImage(heatGrid(tile, row, top, strength), left, up, right - left, down - up);
  }
  return sheet;
}

function heatGrid(tile, row, top, strength) {
  const cells = new ImageData(tile.columns, tile.rows);
  tile.positions.forEach((position, cell) => {
    const share = (row[position] ?? 0) / top;
    cells.data.set([...heatColour(share), 255 * strength * (0.3 + 0.65 * Math.sqrt(share))], 4 * cell);
  });
  const sheet = element("canvas", {width: tile.columns, height: tile.rows});
  sheet.getContext("2d").putImageData(cells, 0, 0);
  return sheet;
}

class PictureView {
  constructor(data, index, strength) {
    this.data = data;
    this.index = index;
    const plain = element("img", {src: data.src, alt: "The picture", class: data.small ? "small" : ""});
    this.panels = MEASURES.map((measure) => {
      const factor = data.small ? Math.max(1, Math.floor(512 / Math.max(data.width, data.height))) : 1;
      const shrink = Math.min(1, 1024 / Math.max(data.width, data.height));
      const canvas = element("canvas", {
        width: Math.round(data.width * factor * shrink), height: Math.round(data.height * factor * shrink), role: "img",
        class: data.small ? "small" : "",
      });
      const caption = element("figcaption", {}, element("b", {}, measure), element("span", {}));
      const node = element("figure", {class: "panel", onclick: () => node.classList.toggle("large")}, canvas, caption);
      return {measure, canvas, caption, node};
    });
    this.node = element("div", {class: "views"}, ...this.panels.map((panel) => panel.node),
      element("figure", {class: "panel plain"}, plain), element("div", {class: "side"}, strength));
  }

  async paint(run, state, strength) {
    const image = await loadImage(this.data.src);
    const tiles = [...run.pictures[this.index] ?? []].sort((a, b) => cellArea(b) - cellArea(a));
    for (const {measure, canvas, caption} of this.panels) {
      const row = run.row(state.chosen, measure, state.view);
      let top = 0, best = 0;
      for (const tile of tiles) for (const position of tile.positions) top = Math.max(top, row[position] ?? 0);
      row.forEach((value) => { best = Math.max(best, value); });
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = !this.data.small;
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      if (top > 0) context.drawImage(heatSheet(this.data, canvas, tiles, row, top, strength), 0, 0);
      caption.lastChild.textContent = tiles.length ? ` max ${figure(top)}` : " no place known";
      const word = state.chosen === null ? "all words" : `\u201c${run.shown(state.chosen)}\u201d`;
      canvas.setAttribute("aria-label", `Picture with the ${measure} of ${word}; largest value ${figure(top)}`);
      canvas.title = `largest value in the picture ${figure(top)}, in the whole row ${figure(best)}`;
    }
  }
}
