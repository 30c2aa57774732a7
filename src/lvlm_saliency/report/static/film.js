// A video as a film strip: every frame with the heat of the chosen word, and how the word's weight divides over time.
class FilmView {
  constructor(data, index, strength) {
    this.data = data;
    this.index = index;
    this.steps = [];
    this.strip = element("div", {class: "strip", role: "group", tabindex: 0, "aria-label": "Frames of the video"});
    this.told = element("span", {});
    const count = data.frames.length;
    const length = data.timed ? `${count} frames of ${data.length}` : `${count} frames, times assumed`;
    this.node = element("section", {class: "film"},
      element("header", {}, element("h4", {}, "Video"), element("span", {}, length), this.told, strength), this.strip);
  }

  // The frames that one grid of tokens shows stand together, over one bar.
  build(steps) {
    this.steps = steps.map(({frames, tiles}) => {
      const bar = element("i", {});
      const share = element("span", {});
      const canvases = frames.map((frame) => {
        const {width, height, small} = this.data.frames[frame];
        const scale = Math.min(480 / Math.max(width, height), small ? 8 : 1);
        return element("canvas", {
          width: Math.round(width * scale), height: Math.round(height * scale), role: "img", class: small ? "small" : "",
        });
      });
      const shots = frames.map((frame, at) => element("figure", {}, canvases[at], element("figcaption", {}, this.data.times[frame])));
      const node = element("button", {type: "button", class: "step", "aria-pressed": "false", onclick: () => {
        node.setAttribute("aria-pressed", node.classList.toggle("large"));
      }}, element("div", {class: "shots"}, ...shots), element("div", {class: "weight"}, element("span", {class: "track"}, bar), share));
      return {frames, tiles, canvases, bar, share, node};
    });
    this.strip.replaceChildren(...this.steps.map(({node}) => node));
    this.built = steps;
  }

  async paint(run, state, strength) {
    const steps = run.films?.[this.index] ?? this.data.frames.map((_, frame) => ({frames: [frame], tiles: []}));
    if (this.built !== steps && JSON.stringify(this.built) !== JSON.stringify(steps)) this.build(steps);
    const row = run.row(state.chosen, state.measure, state.view);
    let top = 0, all = 0;
    const sums = this.steps.map(({tiles}) => {
      let sum = 0;
      for (const tile of tiles) for (const position of tile.positions) {
        const value = row[position] ?? 0;
        top = Math.max(top, value);
        sum += value;
      }
      all += sum;
      return sum;
    });
    const word = state.chosen === null ? "all words" : `\u201c${run.shown(state.chosen)}\u201d`;
    this.told.textContent = run.films?.length ? `${state.measure} of ${word}, largest ${figure(top)}` : "no place known";
    const most = Math.max(...sums);
    await Promise.all(this.steps.map(async (step, at) => {
      const share = all > 0 ? sums[at] / all : 0;
      step.bar.style.width = most > 0 ? `${100 * sums[at] / most}%` : "0";
      step.share.textContent = percent(share);
      step.node.classList.toggle("most", state.chosen !== null && sums[at] === most && most > 0);
      const times = step.frames.map((frame) => this.data.times[frame]).join(" and ");
      step.node.title = `${times}: ${percent(share)} of what lies on the video`;
      await Promise.all(step.canvases.map((canvas, shot) => this.frame(canvas, step, shot, row, top, strength)));
      step.canvases.forEach((canvas, shot) => canvas.setAttribute("aria-label",
        `Frame at ${this.data.times[step.frames[shot]]} with the ${state.measure} of ${word}; ${percent(share)} of what lies on the video`));
    }));
    if (state.chosen !== null && most > 0) this.reveal(this.steps[sums.indexOf(most)].node);
  }

  async frame(canvas, step, shot, row, top, strength) {
    const picture = this.data.frames[step.frames[shot]];
    const image = await loadImage(picture.src);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = !picture.small;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    if (top > 0) context.drawImage(heatSheet(picture, canvas, step.tiles, row, top, strength), 0, 0);
  }

  // The strip alone is moved, and never the page.
  reveal(node) {
    const left = node.offsetLeft - this.strip.offsetLeft, width = this.strip.clientWidth;
    if (left < this.strip.scrollLeft || left + node.offsetWidth > this.strip.scrollLeft + width) {
      this.strip.scrollTo({left: left - (width - node.offsetWidth) / 2});
    }
  }
}
