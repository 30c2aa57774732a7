// Pictures with what the chosen word hung on: saliency and plain attention side by side.
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

// Finest tiles first: where a picture is given as tiles and as a whole, the tiles are drawn.
function finest(tiles) {
  const kinds = ["tile", "full", "thumbnail"].find((kind) => tiles.some((tile) => tile.kind === kind));
  return tiles.filter((tile) => tile.kind === kinds);
}

class PictureView {
  constructor(data, index) {
    this.data = data;
    this.index = index;
    this.panels = MEASURES.map((measure) => {
      const factor = data.small ? Math.max(1, Math.floor(512 / Math.max(data.width, data.height))) : 1;
      const shrink = Math.min(1, 1024 / Math.max(data.width, data.height));
      const canvas = element("canvas", {
        width: Math.round(data.width * factor * shrink), height: Math.round(data.height * factor * shrink), role: "img",
        class: data.small ? "small" : "",
      });
      const caption = element("figcaption", {}, element("b", {}, measure), element("span", {}));
      return {measure, canvas, caption, node: element("figure", {class: "panel"}, canvas, caption)};
    });
    this.node = element("div", {class: "pair"}, ...this.panels.map((panel) => panel.node));
  }

  async paint(run, state, strength) {
    const image = await loadImage(this.data.src);
    const tiles = finest(run.pictures[this.index] ?? []);
    for (const {measure, canvas, caption} of this.panels) {
      const row = run.row(state.chosen, measure, state.view);
      let top = 0, best = 0;
      for (const tile of tiles) for (const position of tile.positions) top = Math.max(top, row[position] ?? 0);
      row.forEach((value) => { best = Math.max(best, value); });
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = !this.data.small;
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      if (top > 0) for (const tile of tiles) this.drawTile(context, tile, row, top, strength);
      caption.lastChild.textContent = tiles.length ? ` max ${figure(top)}` : " no place known";
      const word = state.chosen === null ? "all words" : `\u201c${run.tokens[state.chosen].trim()}\u201d`;
      canvas.setAttribute("aria-label", `Picture with the ${measure} of ${word}; largest value ${figure(top)}`);
      canvas.title = `largest value in the picture ${figure(top)}, in the whole row ${figure(best)}`;
    }
  }

  drawTile(context, tile, row, top, strength) {
    const cells = new ImageData(tile.columns, tile.rows);
    tile.positions.forEach((position, cell) => {
      const share = Math.sqrt((row[position] ?? 0) / top);
      const [red, green, blue] = heatColour(share);
      cells.data.set([red, green, blue, 255 * strength * (0.45 + 0.5 * share)], 4 * cell);
    });
    const grid = element("canvas", {width: tile.columns, height: tile.rows});
    grid.getContext("2d").putImageData(cells, 0, 0);
    const [left, up, right, down] = tile.box;
    const x = context.canvas.width / this.data.width, y = context.canvas.height / this.data.height;
    context.imageSmoothingEnabled = false;
    context.drawImage(grid, left * x, up * y, (right - left) * x, (down - up) * y);
  }
}
