// Puts picture, controls and time together: state, interaction, what is under the pointer.

class View {
  constructor(scene, arrays) {
    Object.assign(this, { scene, arrays, first: scene.days[0], last: scene.days[scene.days.length - 1] });
    this.state = { ...this.start(), theme: "dark" };
    const at = (id) => document.getElementById(id);
    this.picture = new Scene(at("picture"), scene, arrays, this.state);
    this.labels = at("labels");
    this.controls = new Controls(at("panel"), this);
    this.timeline = new Timeline(at("time"), this);
    this.readout = at("readout");
    this.interact(at("picture"));
    new ResizeObserver(() => { this.picture.layout(); this.change(); }).observe(at("stage"));
    Link.listen(this);
    this.change(true);
  }

  start() {
    const { scene } = this, { image, grid } = scene;
    const middle = (box) => box.origin.map((x, i) => x + 0.5 * (box.shape[i] - 1) * box.spacing);
    const reach = Math.max(...image.shape) * image.spacing, tumour = this.centroid();
    const side = tumour[0] < middle(image)[0] ? Math.PI : 0, kept = this.state || { radiological: false, target: scene.targets.length ? 0 : -1 };
    return {
      radiological: kept.radiological, target: kept.target, targetOpacity: 0.35, outline: true, difference: "none", drawn: { whole: 0, core: 0 },
      window: 1, level: 0.5, cut: "nothing", cutTumour: false, measuring: false, ruler: null,
      day: this.last, levels: scene.levels.map((level) => ({ ...level, on: true })), band: scene.intervals.whole ? 1 : -1, anatomy: scene.surfaces.map((s) => s.opacity),
      planes: [true, false, false], cross: tumour, centre: middle(image), zoom: reach, overlay: 0.5, segmentation: 0, session: "nearest",
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
    this.read();
    Link.tell(this);
    clearTimeout(this.settling);
    if (this.moving && !this.timeline.playing) this.settling = setTimeout(() => this.settle(), 180);
  }

  // What is known of the place under the pointer; of where the planes meet, while it is in no slice.
  read() {
    const { state } = this, over = this.pointer && this.picture.pick(...this.pointer), at = over && over.area > 0 ? over.point : state.cross;
    const found = Sample.at(this, at), place = at.map((x, i) => `${"xyz"[i]} ${number(x, 1)}`).join("  ");
    const parts = [["At", `${place} mm (RAS)`], ["Tissue", found.tissue || "outside the image"], ["Density", found.density === null ? "outside the brain" : found.density < 0.005 ? "< 0.005" : found.density.toFixed(2)]];
    if (found.scan !== null) parts.push([`Scan ${this.picture.session}`, found.scan]);
    if (found.intensity !== null) parts.push(["T1", number(found.intensity, 0)]);
    const text = parts.map(([name, value]) => `<span><b>${escaped(name)}</b> ${escaped(value)}</span>`).join("");
    if (this.readout.innerHTML !== text) this.readout.innerHTML = text;
  }

  // Volumes that only the model and only the scan have, on the day and in the session that are shown.
  compared() {
    const { state, scene, arrays, picture } = this, name = `labels_${picture.session}`, labels = arrays[name];
    if (state.difference === "none" || !labels) return null;
    const key = [state.day, picture.session, state.difference].join();
    if (this.comparison && this.comparison.key === key) return this.comparison;
    if (this.moving) return null;
    const found = Sample.difference(scene, picture.field, picture.inside, labels, name, state.difference, scene.thresholds[state.difference]);
    this.comparison = { key, ...found, dice: 2 * found.both / (2 * found.both + found.model + found.scan || 1) };
    return this.comparison;
  }

  settle() { this.moving = false; this.change(); }

  interact(canvas) {
    const { state, picture } = this, held = new Map();
    let where = null;
    const move = (event) => {
      const before = held.get(event.pointerId);
      this.pointer = [event.offsetX, event.offsetY];
      this.read();
      if (!before) { canvas.classList.toggle("slices", picture.pick(event.offsetX, event.offsetY).area > 0); return; }
      const [dx, dy] = [event.offsetX - before[0], event.offsetY - before[1]];
      const others = [...held.entries()].filter(([id]) => id !== event.pointerId);
      if (where > 0 && state.measuring) this.measure(event.offsetX, event.offsetY, where);
      else if (where > 0) this.aim(event.offsetX, event.offsetY, where);
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
      if (where > 0 && state.measuring) this.measure(event.offsetX, event.offsetY, where, true);
      else if (where > 0) this.aim(event.offsetX, event.offsetY, where);
    });
    canvas.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => { held.delete(event.pointerId); canvas.classList.remove("moving"); });
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.read(); });
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
      if (event.key === "Escape") { Object.assign(state, { ruler: null, measuring: false }); this.change(); }
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

  // The ruler from where the pointer went down to where it is, within one plane.
  measure(x, y, area, begins = false) {
    const found = this.picture.pick(x, y);
    if (found.area !== area) return;
    const { state } = this;
    if (begins || !state.ruler) state.ruler = { plane: area - 1, from: found.point };
    state.ruler.to = found.point;
    this.change();
  }

  cross(axis, x) {
    const { origin, shape, spacing } = this.scene.image;
    this.state.cross[axis] = Math.min(origin[axis] + (shape[axis] - 1) * spacing, Math.max(origin[axis], Math.round(2 * x) / 2));
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
