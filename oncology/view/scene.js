// What is on the canvas: a three-dimensional view and three slices, each in a rectangle of its own.
const PLANES = [
  { name: "Axial", across: 2, right: 0, up: 1, ends: ["L", "R", "P", "A"], hue: "#f0e442" },
  { name: "Coronal", across: 1, right: 0, up: 2, ends: ["L", "R", "I", "S"], hue: "#009e73" },
  { name: "Sagittal", across: 0, right: 1, up: 2, ends: ["P", "A", "I", "S"], hue: "#e69f00" },
];
// What can be cut away of the 3-D view, on one side of where the planes meet, and the direction of that side.
const CUTS = { above: [0, 0, 1], below: [0, 0, -1], "in front": [0, 1, 0], behind: [0, -1, 0], left: [-1, 0, 0], right: [1, 0, 0] };

class Scene {
  constructor(canvas, scene, arrays, state) {
    // Smoothed edges cost four times the pixels where the processor does the drawing.
    const software = Draw.bySoftware(), gl = canvas.getContext("webgl2", { antialias: !software, alpha: false });
    if (!gl) throw new Error("This browser offers no WebGL 2. Switch on hardware or software rendering in its settings, or use a recent Firefox, Chrome, Edge or Safari.");
    Object.assign(this, { canvas, gl, scene, arrays, state, quality: 1, drawn: 0, software });
    this.surfaceProgram = Draw.program(gl, Draw.SURFACE, ["point", "normal"]);
    this.sliceProgram = Draw.program(gl, Draw.SLICE, ["point"]);
    [this.anatomy, this.coarse] = ["", "_coarse"].map((detail) => scene.surfaces.map(({ key }) => {
      const body = new Draw.Body(gl);
      this.fill(body, `${key}${detail}`);
      return body;
    }));
    this.tumour = scene.levels.map(() => new Draw.Body(gl));
    this.rims = [new Draw.Body(gl), new Draw.Body(gl)];
    this.drawnBodies = Object.fromEntries(["whole", "core"].map((region) => [region, new Draw.Body(gl)]));
    this.targetBody = new Draw.Body(gl);
    const n = scene.grid.shape.reduce((a, b) => a * b);
    this.field = new Float32Array(n);
    this.inside = Float32Array.from(arrays.distance, (byte) => scene.band * (byte / 127.5 - 1));
    const { shape, spacing, origin } = scene.grid;
    this.thin = { values: Field.thinned(this.field, shape), inside: Field.thinned(this.inside, shape), grid: { shape: shape.map((m) => Math.ceil(m / 2)), spacing: 2 * spacing, origin } };
    this.textures = this.makeTextures();
    this.quad = new Draw.Body(gl);
    this.setLabels();
    this.layout();
  }

  makeTextures() {
    const { gl, scene, arrays } = this, { shape } = scene.grid;
    const made = { scan: Draw.volume(gl, scene.image.shape, arrays.image, true), inside: Draw.volume(gl, shape, this.inside, true) };
    made.field = Draw.volume(gl, shape, this.field, true);
    made.colours = Draw.palette(gl, arrays.colours);
    for (const name of ["labels", "target"]) made[name] = Draw.volume(gl, [1, 1, 1], new Uint8Array(1), false);
    return made;
  }

  // The segmentation that is drawn: of a chosen session, of the one nearest to the day, or none.
  setLabels() {
    const { state, scene } = this;
    const nearest = scene.sessions.reduce((best, s) => (!best || Math.abs(s.day - state.day) < Math.abs(best.day - state.day) ? s : best), null);
    const wanted = state.session === "nearest" ? nearest && nearest.id : state.session;
    if (wanted === this.session) return;
    this.session = wanted;
    this.place("labels", `labels_${wanted}`);
    for (const [region, body] of Object.entries(this.drawnBodies)) this.fill(body, `scan_${wanted}_${region}`);
  }

  setTarget() {
    const { state } = this;
    if (state.target === this.target) return;
    this.target = state.target;
    this.place("target", `targets_${state.target}`);
    this.fill(this.targetBody, `target_${state.target}`);
  }

  // Labels of the page into a texture, on their own voxels.
  place(texture, name) {
    const box = this.scene.boxes[name];
    if (box) Draw.volume(this.gl, box.shape, this.arrays[name], false, this.textures[texture]);
  }

  // A surface of the page; nothing where the page has none of that name.
  fill(body, name) {
    const points = this.arrays[`${name}_points`] || new Float32Array(0), triangles = this.arrays[`${name}_triangles`] || new Uint32Array(0);
    body.fill(points, triangles, Field.normals(points, triangles));
  }

  // Bring field, surfaces and textures to the day and the levels of the state.
  update() {
    const { gl, scene, state, arrays, textures } = this, { shape } = scene.grid;
    Field.atDay(scene, arrays.frames, state.day, this.field);
    Draw.refill(gl, textures.field, shape, this.field);
    if (this.quality < 1) Field.thinned(this.field, shape, this.thin.values);
    state.levels.forEach((level, k) => this.contour(this.tumour[k], level.on && level.opacity > 0, level.density));
    this.band = state.band >= 0 ? Field.band(scene, arrays.volumes, state.day, state.levels[state.band].density) : null;
    this.rims.forEach((body, k) => this.contour(body, Boolean(this.band), this.band ? this.band[k] : 0.5));
    this.setLabels();
    this.setTarget();
  }

  contour(body, shown, density) {
    const { values, inside, grid } = this.quality < 1 ? this.thin : { values: this.field, inside: this.inside, grid: this.scene.grid };
    const { points, triangles } = shown
      ? Field.surface(values, inside, Field.logit(density), grid)
      : { points: new Float32Array(0), triangles: new Uint32Array(0) };
    body.fill(points, triangles, Field.normals(points, triangles));
    body.mm3 = Field.enclosed(points, triangles);
  }

  // Rectangles in CSS pixels; the slices beside the view, or below it on narrow pages.
  layout() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.ratio = this.software ? 1 : Math.min(2, window.devicePixelRatio || 1);
    const gap = 2;
    if (width < 640) {
      const side = Math.floor((width - 2 * gap) / 3);
      this.areas = [{ x: 0, y: 0, w: width, h: height - side - gap }, ...[0, 1, 2].map((k) => ({ x: k * (side + gap), y: height - side, w: side, h: side }))];
    } else {
      const side = Math.max(120, Math.min(Math.floor((height - 2 * gap) / 3), Math.floor(0.38 * width)));
      const tall = (height - 2 * gap) / 3;
      this.areas = [{ x: 0, y: 0, w: width - side - gap, h: height }, ...[0, 1, 2].map((k) => ({ x: width - side, y: Math.round(k * (tall + gap)), w: side, h: Math.round(tall) }))];
    }
  }

  resize() {
    const scale = this.ratio * this.quality, { canvas } = this;
    const [w, h] = [Math.max(1, Math.round(canvas.clientWidth * scale)), Math.max(1, Math.round(canvas.clientHeight * scale))];
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    return scale;
  }

  draw() {
    const { gl } = this, scale = this.resize();
    gl.disable(gl.SCISSOR_TEST);
    gl.clearColor(...Draw.rgb(this.state.theme === "light" ? "#d3d8df" : "#353c46"), 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.SCISSOR_TEST);
    this.open(this.areas[0], scale, this.state.theme === "light" ? "#f4f5f7" : "#14171b");
    this.drawSpace();
    PLANES.forEach((plane, k) => {
      this.open(this.areas[k + 1], scale, "#000000");
      this.drawPanel(plane, this.areas[k + 1]);
    });
    this.drawn += 1;
  }

  open({ x, y, w, h }, scale, back) {
    const { gl } = this, box = [Math.round(x * scale), Math.round((this.canvas.clientHeight - y - h) * scale), Math.round(w * scale), Math.round(h * scale)];
    gl.viewport(...box);
    gl.scissor(...box);
    gl.clearColor(...Draw.rgb(back), 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  }

  eye() {
    const { camera } = this.state, cos = Math.cos(camera.height);
    const back = [cos * Math.cos(camera.turn), cos * Math.sin(camera.turn), Math.sin(camera.height)];
    const up = Math.abs(camera.height) > 1.55 ? [-Math.sign(back[2]) * Math.cos(camera.turn), -Math.sign(back[2]) * Math.sin(camera.turn), 0] : [0, 0, 1];
    return Draw.lookAt(camera.target, back, up, camera.distance);
  }

  drawSpace() {
    const { gl, state, scene } = this, { w, h } = this.areas[0], { matrix } = this.eye();
    const projection = Draw.perspective(0.42, w / h, 20, state.camera.distance + 400);
    gl.enable(gl.DEPTH_TEST);
    gl.disable(gl.BLEND);
    gl.depthMask(true);
    PLANES.forEach((plane, k) => { if (state.planes[k]) this.drawSlice(plane, matrix, projection, scene.image, 0); });
    const { uniforms, program } = this.surfaceProgram;
    gl.useProgram(program);
    gl.uniformMatrix4fv(uniforms.view, false, matrix);
    gl.uniformMatrix4fv(uniforms.projection, false, projection);
    const shells = this.shells();
    gl.enable(gl.CULL_FACE);
    gl.cullFace(gl.BACK);
    for (const shell of shells.filter((s) => s.opacity > 0.985)) {
      if (shell.cut) gl.disable(gl.CULL_FACE); else gl.enable(gl.CULL_FACE);  // the inside shows where it is cut open
      this.drawShell(shell);
    }
    gl.enable(gl.CULL_FACE);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.depthMask(false);
    // nested shells from back to front: far sides from the outermost inwards, near sides from the innermost outwards;
    // near sides alone while things move where the processor draws them
    const clear = shells.filter((s) => s.opacity <= 0.985);
    gl.cullFace(gl.FRONT);
    if (this.quality === 1) for (const shell of clear) this.drawShell(shell);
    gl.cullFace(gl.BACK);
    for (const shell of [...clear].reverse()) this.drawShell(shell);
    gl.disable(gl.CULL_FACE);
    gl.disable(gl.BLEND);
    gl.depthMask(true);
  }

  // Outermost first.
  shells() {
    const { state, scene } = this, { hues, thresholds } = scene, name = `Scan ${this.session}`;
    const around = scene.surfaces.map((s, k) => ({ name: s.name, body: (this.quality < 1 ? this.coarse : this.anatomy)[k], colour: s.colour, opacity: state.anatomy[k], glass: 1, cut: state.cut !== "nothing" }));
    const inner = state.levels.map((level, k) => ({ name: level.name, body: this.tumour[k], colour: level.colour, opacity: level.on ? level.opacity : 0, glass: 0.35, density: level.density }));
    for (const region of ["whole", "core"]) inner.push({ name: `${name}, ${region}`, body: this.drawnBodies[region], colour: hues[region], opacity: state.drawn[region], glass: 0.35, density: thresholds[region] - 1e-5 });
    if (state.target >= 0) inner.push({ name: `Target ${scene.targets[state.target]}`, body: this.targetBody, colour: hues.target, opacity: state.targetOpacity, glass: 0.7, density: 0 });
    if (this.band) this.band.forEach((density, k) => inner.push({ body: this.rims[k], colour: state.levels[state.band].colour, opacity: 0.6, glass: 1, hatched: 1, density: density + 1e-6 * (2 * k - 1) }));
    inner.sort((a, b) => a.density - b.density);
    if (state.cut !== "nothing" && state.cutTumour) inner.forEach((shell) => { shell.cut = true; });
    return [...around, ...inner].filter((s) => s.opacity > 0.004 && s.body.count);
  }

  // The plane that cuts, as its normal and offset; what lies beyond it is left out.
  cut(applies) {
    const normal = applies && CUTS[this.state.cut];
    return normal ? [...normal, Draw.dot(normal, this.state.cross)] : [0, 0, 0, 1];
  }

  drawShell({ body, colour, opacity, glass, hatched, cut }) {
    const { gl } = this, { uniforms } = this.surfaceProgram;
    gl.uniform3fv(uniforms.colour, Draw.rgb(colour));
    gl.uniform1f(uniforms.opacity, opacity);
    gl.uniform1f(uniforms.glass, opacity > 0.985 ? 0 : glass);
    gl.uniform1f(uniforms.hatched, hatched || 0);
    gl.uniform4fv(uniforms.cut, this.cut(cut));
    body.draw();
  }

  drawPanel(plane, area) {
    const { gl, state } = this, span = this.span(area), middle = this.middle(plane);
    const right = [0, 0, 0], up = [0, 0, 0];
    right[plane.right] = this.side(plane); up[plane.up] = 1;
    const { matrix } = Draw.lookAt(middle, Draw.cross(right, up), up, 0);
    gl.disable(gl.DEPTH_TEST);
    const size = { origin: middle, shape: [1, 1, 1], spacing: 4 * span };
    this.drawSlice(plane, matrix, Draw.parallel(span * area.w / Math.max(area.w, area.h), span * area.h / Math.max(area.w, area.h), 8 * span), size, 1, state.cross[plane.across]);
  }

  // 1 where a panel shows the patient's right on its right (as seen from above and behind), -1 where on its left, as
  // radiologists have it.
  side(plane) { return this.state.radiological && plane.right === 0 ? -1 : 1; }

  // Millimetres that the longer side of a panel shows.
  span(area) { return this.state.zoom * Math.max(area.w, area.h) / Math.min(area.w, area.h); }

  middle(plane) {
    const middle = [...this.state.centre];
    middle[plane.across] = this.state.cross[plane.across];
    return middle;
  }

  modelHue(region) { return this.state.levels[region === "core" ? 0 : 1].colour; }

  // A rectangle in a plane that fills a box of voxels.
  drawSlice(plane, view, projection, box, opaque) {
    const { gl, state, scene } = this, { uniforms, program } = this.sliceProgram;
    const low = box.origin.map((x) => x - 0.5 * box.spacing), high = box.shape.map((n, i) => low[i] + n * box.spacing);
    const points = new Float32Array(12);
    [[0, 0], [1, 0], [1, 1], [0, 1]].forEach(([a, b], k) => {
      points[3 * k + plane.across] = state.cross[plane.across];
      points[3 * k + plane.right] = a ? high[plane.right] : low[plane.right];
      points[3 * k + plane.up] = b ? high[plane.up] : low[plane.up];
    });
    this.quad.fill(points, new Uint32Array([0, 1, 2, 0, 2, 3]), points);
    gl.useProgram(program);
    gl.uniformMatrix4fv(uniforms.view, false, view);
    gl.uniformMatrix4fv(uniforms.projection, false, projection);
    Object.keys(this.textures).forEach((name, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(name === "colours" ? gl.TEXTURE_2D : gl.TEXTURE_3D, this.textures[name]);
      gl.uniform1i(uniforms[name], unit);
    });
    gl.activeTexture(gl.TEXTURE0);
    for (const [name, grid] of [["scan", scene.image], ["field", scene.grid]]) {
      gl.uniform3fv(uniforms[`${name}Low`], grid.origin.map((x) => x - 0.5 * grid.spacing));
      gl.uniform3fv(uniforms[`${name}Size`], grid.shape.map((n) => n * grid.spacing));
    }
    gl.uniform1fv(uniforms.level, state.levels.map((level) => Field.logit(level.density)));
    gl.uniform4fv(uniforms.lineColour, state.levels.flatMap((level) => [...Draw.rgb(level.colour), level.on ? 1 : 0]));
    const labelled = Boolean(this.arrays[`labels_${this.session}`]), differing = labelled ? ["none", "whole", "core"].indexOf(state.difference) : 0;
    const region = differing === 2 ? "core" : "whole", { hues } = scene;
    const numbers = {
      overlay: differing ? 0 : state.overlay, segmentation: labelled ? state.segmentation : 0, outline: labelled && state.outline ? 1 : 0, targeted: state.target >= 0 ? 1 : 0,
      differing, edge: Field.logit(scene.thresholds[region]), opaque, scaling: this.ratio * this.quality,
    };
    for (const [name, value] of Object.entries(numbers)) gl.uniform1f(uniforms[name], value);
    const colours = { whole: hues.whole, core: hues.core, target: hues.target, model: this.modelHue(region), band: state.levels[Math.max(0, state.band)].colour };
    for (const [name, hue] of Object.entries(colours)) gl.uniform3fv(uniforms[`${name}Colour`], Draw.rgb(hue));
    gl.uniform2fv(uniforms.band, this.band ? this.band.map(Field.logit) : [99, 99]);
    for (const [name, box] of [["labels", `labels_${this.session}`], ["target", `targets_${state.target}`]]) {
      if (scene.boxes[box]) gl.uniformMatrix4fv(uniforms[`${name}At`], false, scene.boxes[box].texture);
    }
    gl.uniform2fv(uniforms.window, [state.window, state.level]);
    gl.uniform4fv(uniforms.cut, this.cut(!opaque));
    this.quad.draw();
  }

  // Where a place is on the canvas of a plane's panel.
  spot(plane, area, point) {
    const scale = Math.max(area.w, area.h) / this.span(area), { centre } = this.state;
    return [area.x + area.w / 2 + this.side(plane) * scale * (point[plane.right] - centre[plane.right]), area.y + area.h / 2 - scale * (point[plane.up] - centre[plane.up])];
  }

  // The plane's panel under a place on the canvas, and the RAS mm there.
  pick(x, y) {
    const k = this.areas.findIndex((a) => x >= a.x && x < a.x + a.w && y >= a.y && y < a.y + a.h);
    if (k < 1) return { area: k };
    const area = this.areas[k], plane = PLANES[k - 1], span = this.span(area), longer = Math.max(area.w, area.h);
    const point = this.middle(plane);
    point[plane.right] += this.side(plane) * (x - area.x - area.w / 2) / longer * span;
    point[plane.up] -= (y - area.y - area.h / 2) / longer * span;
    return { area: k, plane, point };
  }
}
