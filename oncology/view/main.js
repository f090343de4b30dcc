// Puts picture, controls and time together: state, interaction, what is written over the picture, exports.
const FILM_RATE = 20;  // pictures a second

class View {
  constructor(scene, arrays) {
    Object.assign(this, { scene, arrays, first: scene.days[0], last: scene.days[scene.days.length - 1] });
    this.state = { ...this.start(), theme: "dark" };
    const at = (id) => document.getElementById(id);
    this.picture = new Scene(at("picture"), scene, arrays, this.state);
    this.labels = at("labels");
    this.controls = new Controls(at("panel"), this);
    this.timeline = new Timeline(at("time"), this);
    this.interact(at("picture"));
    new ResizeObserver(() => { this.picture.layout(); this.change(); }).observe(at("stage"));
    this.change(true);
  }

  start() {
    const { scene } = this, { image, grid } = scene;
    const middle = (box) => box.origin.map((x, i) => x + 0.5 * (box.shape[i] - 1) * box.spacing);
    const reach = Math.max(...image.shape) * image.spacing, tumour = this.centroid();
    const side = tumour[0] < middle(image)[0] ? Math.PI : 0;
    return {
      day: this.last, levels: scene.levels.map((level) => ({ ...level, on: true })), band: scene.intervals.whole ? 1 : -1, anatomy: scene.surfaces.map((s) => s.opacity),
      planes: [true, false, false], cross: tumour, centre: middle(image), zoom: reach, overlay: 0.6, segmentation: 0, session: "nearest",
      camera: { turn: side + (side ? -0.62 : 0.62), height: 0.3, distance: 2.75 * reach, target: middle(image).map((x, i) => 0.7 * x + 0.3 * middle(grid)[i]) },
    };
  }

  // Middle of the densest part on the last day, where the planes meet at first.
  centroid() {
    const { shape, origin, spacing } = this.scene.grid, n = shape[0] * shape[1] * shape[2];
    const last = this.arrays.frames.subarray(this.arrays.frames.length - n), sum = [0, 0, 0, 0];
    const most = last.reduce((a, b) => Math.max(a, b), 1);
    for (let i = 0; i < n; i += 1) {
      if (last[i] < most - 25) continue;
      sum[0] += i % shape[0]; sum[1] += Math.floor(i / shape[0]) % shape[1]; sum[2] += Math.floor(i / shape[0] / shape[1]); sum[3] += 1;
    }
    return [0, 1, 2].map((k) => Math.round(2 * (origin[k] + spacing * sum[k] / sum[3])) / 2);
  }

  volume(day, density) {
    const { volume_days: days, levels } = this.scene.tables;
    return Field.lookUp(this.arrays.volumes, days, levels, day, density, 1 / 3);
  }

  // Name and value of what is measured on the day.
  measured() {
    const { scene, arrays, state } = this, { distance_days: days, fronts, rim } = scene.tables;
    const outer = state.levels.filter((level) => level.on).reduce((a, b) => (a && a.density < b.density ? a : b), null);
    const lines = [];
    for (const [region, name] of [["whole", "Whole tumour, 95 %"], ["core", "Core, 95 %"]]) {
      const curve = scene.intervals[region], ends = curve && ["low", "high"].map((end) => Field.along(curve.days, curve[end], state.day));
      if (ends && ends[1] > 0.005) lines.push([name, `${millilitres(ends[0])} \u2013 ${millilitres(ends[1])} mL`]);
    }
    if (outer) lines.push(["Radius of an equal ball", `${number((this.volume(state.day, outer.density) * 1000 * 0.75 / Math.PI) ** (1 / 3), 1)} mm`]);
    const there = outer && outer.density < 0.9 * rim && this.volume(state.day, rim) > 0.01;
    const at = (table) => (there ? `${number(Field.lookUp(table, days, fronts, state.day, outer.density, 1), 1)} mm` : "\u2013");
    lines.push(["Front to boundary, mean", at(arrays.distance_mean)], ["Front to boundary, largest", at(arrays.distance_largest)]);
    return lines;
  }

  setDay(day, moving = false) {
    this.state.day = Math.min(this.last, Math.max(this.first, day));
    this.moving = moving;
    this.change(true);
  }

  setTheme(theme) {
    this.state.theme = theme;
    document.documentElement.dataset.theme = theme;
    this.change();
  }

  // Draw again before the next frame; with `anew` bring field and surfaces up to date first.
  change(anew = false) {
    this.anew = this.anew || anew;
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.render(); });
  }

  render() {
    const { picture } = this, quality = this.moving && picture.software ? 0.5 : 1;
    // coarser pixels and surfaces while things move where the processor draws them
    this.anew = this.anew || quality !== picture.quality;
    picture.quality = quality;
    if (this.anew) picture.update();
    this.anew = false;
    picture.draw();
    Labels.write(this, this.labels, picture.ratio);
    const { taken } = this;
    this.taken = null;
    if (taken) taken();
    this.controls.show();
    this.timeline.draw();
    clearTimeout(this.settling);
    if (this.moving && !this.timeline.playing) this.settling = setTimeout(() => this.settle(), 180);
  }

  settle() { this.moving = false; this.change(); }

  interact(canvas) {
    const { state, picture } = this, held = new Map();
    let where = null;
    const move = (event) => {
      const before = held.get(event.pointerId);
      if (!before) { canvas.classList.toggle("slices", picture.pick(event.offsetX, event.offsetY).area > 0); return; }
      const [dx, dy] = [event.offsetX - before[0], event.offsetY - before[1]];
      const others = [...held.entries()].filter(([id]) => id !== event.pointerId);
      if (where > 0) this.aim(event.offsetX, event.offsetY, where);
      else if (others.length) {
        const [ox, oy] = others[0][1];
        this.zoom(Math.hypot(before[0] - ox, before[1] - oy) / Math.max(1, Math.hypot(event.offsetX - ox, event.offsetY - oy)));
      } else if (event.shiftKey || event.buttons & 6) this.pan(dx, dy);
      else {
        state.camera.turn -= 0.008 * dx;
        state.camera.height = Math.min(Math.PI / 2, Math.max(-Math.PI / 2, state.camera.height + 0.008 * dy));
      }
      held.set(event.pointerId, [event.offsetX, event.offsetY]);
      this.moving = true;
      this.change();
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.offsetX, event.offsetY]);
      where = picture.pick(event.offsetX, event.offsetY).area;
      canvas.classList.add("moving");
      if (where > 0) this.aim(event.offsetX, event.offsetY, where);
    });
    canvas.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => { held.delete(event.pointerId); canvas.classList.remove("moving"); });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { area, plane } = picture.pick(event.offsetX, event.offsetY);
      if (area > 0 && (event.ctrlKey || event.metaKey)) state.zoom = Math.min(400, Math.max(30, state.zoom * Math.exp(0.0015 * event.deltaY)));
      else if (area > 0) this.cross(plane.across, state.cross[plane.across] - Math.sign(event.deltaY));
      else this.zoom(Math.exp(0.0012 * event.deltaY));
      this.moving = true;
      this.change();
    }, { passive: false });
    document.addEventListener("keydown", (event) => {
      if (/^(INPUT|SELECT)$/.test(event.target.tagName)) return;
      const step = (this.last - this.first) / 100;
      if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); if (this.timeline.playing) this.timeline.stop(); else this.timeline.play(); }
      if (event.key === "ArrowRight") this.setDay(state.day + step);
      if (event.key === "ArrowLeft") this.setDay(state.day - step);
    });
  }

  zoom(factor) { const { camera } = this.state; camera.distance = Math.min(1500, Math.max(60, camera.distance * factor)); }

  pan(dx, dy) {
    const { camera } = this.state, { right, top } = this.picture.eye();
    const scale = 2 * camera.distance * Math.tan(0.21) / this.picture.areas[0].h;
    camera.target = camera.target.map((x, i) => x - scale * (dx * right[i] - dy * top[i]));
  }

  aim(x, y, area) {
    const found = this.picture.pick(x, y);
    if (found.area !== area) return;
    this.cross(found.plane.right, found.point[found.plane.right]);
    this.cross(found.plane.up, found.point[found.plane.up]);
    this.moving = true;
    this.change();
  }

  cross(axis, x) {
    const { origin, shape, spacing } = this.scene.image;
    this.state.cross[axis] = Math.min(origin[axis] + (shape[axis] - 1) * spacing, Math.max(origin[axis], Math.round(2 * x) / 2));
  }

  // The picture with what is written over it, on one canvas.
  compose(canvas) {
    const { canvas: drawn } = this.picture;
    canvas.width = this.labels.width; canvas.height = this.labels.height;
    const pen = canvas.getContext("2d");
    pen.drawImage(drawn, 0, 0, canvas.width, canvas.height);
    pen.drawImage(this.labels, 0, 0);
    return canvas;
  }

  save(blob, ending) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${this.scene.name}_${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  screenshot() {
    // in the same frame as the drawing, before the browser takes it away
    this.taken = () => this.compose(document.createElement("canvas")).toBlob((blob) => this.save(blob, `day${this.state.day.toFixed(0)}.png`));
    this.settle();
  }

  // Draw from onset to the end and record it. Every picture is waited for: a slow computer makes a slower film, not
  // one with gaps.
  film() {
    const note = document.getElementById("filming"), button = document.getElementById("film");
    const kind = ["video/mp4;codecs=avc1.42E01E", "video/mp4", "video/webm;codecs=vp9", "video/webm"].find((k) => window.MediaRecorder && MediaRecorder.isTypeSupported(k));
    if (!kind) { note.textContent = "This browser cannot record films: use a recent Chrome, Edge, Firefox or Safari."; return; }
    const canvas = document.createElement("canvas"), parts = [], { width, height } = this.labels;
    Object.assign(canvas, { width: width - width % 2, height: height - height % 2 });  // as films need it
    canvas.getContext("2d");
    const stream = canvas.captureStream(0), [track] = stream.getVideoTracks();
    const recorder = new MediaRecorder(stream, { mimeType: kind, videoBitsPerSecond: 8e6 });
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      button.disabled = false;
      note.textContent = "";
      this.save(new Blob(parts, { type: kind }), `growth.${kind.includes("mp4") ? "mp4" : "webm"}`);
    };
    button.disabled = true;
    this.timeline.stop();
    const count = Math.max(2, Math.round(FILM_RATE * this.timeline.seconds));
    const step = (k) => {
      note.textContent = `Recording: ${Math.round(100 * k / count)} %`;
      this.taken = () => {
        canvas.getContext("2d").drawImage(this.compose(this.still), 0, 0);
        track.requestFrame();
        setTimeout(() => (k < count ? step(k + 1) : recorder.stop()), k < count ? 1000 / FILM_RATE : 400);
      };
      this.setDay(this.first + (this.last - this.first) * k / count);
    };
    this.still = document.createElement("canvas");
    recorder.start();
    step(0);
  }
}

// Bytes of an array in the page: base64, zlib.
async function unpack(name, { type, shape }) {
  const holder = document.getElementById(`array-${name}`), text = atob(holder.textContent), packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) packed[i] = text.charCodeAt(i);
  holder.remove();
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const array = new { uint8: Uint8Array, float32: Float32Array, uint32: Uint32Array }[type](buffer);
  if (name === "frames") {  // written as differences
    const n = array.length / shape[0];
    for (let i = n; i < array.length; i += 1) array[i] += array[i - n];
  }
  return [name, array];
}

async function open() {
  const message = document.getElementById("message");
  try {
    const scene = JSON.parse(document.getElementById("scene").textContent);
    const arrays = Object.fromEntries(await Promise.all(Object.entries(scene.arrays).map(([name, of]) => unpack(name, of))));
    window.view = new View(scene, arrays);
    message.hidden = true;
    requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.ready = "yes"; }));
  } catch (error) {
    message.textContent = `The page cannot be shown: ${error.message}`;
    throw error;
  }
}
open();
