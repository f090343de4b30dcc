// What is on the canvas: a three-dimensional view and three slices, each in a rectangle of its own.
const PLANES = [
  { name: "Axial", across: 2, right: 0, up: 1, ends: ["L", "R", "P", "A"], hue: "#f0e442" },
  { name: "Coronal", across: 1, right: 0, up: 2, ends: ["L", "R", "I", "S"], hue: "#009e73" },
  { name: "Sagittal", across: 0, right: 1, up: 2, ends: ["P", "A", "I", "S"], hue: "#e69f00" },
];

class Scene {
  constructor(canvas, scene, arrays, state) {
    // Smoothed edges cost four times the pixels where the processor does the drawing.
    const software = Draw.bySoftware(), gl = canvas.getContext("webgl2", { antialias: !software, alpha: false });
    if (!gl) throw new Error("This browser offers no WebGL 2. Switch on hardware or software rendering in its settings, or use a recent Firefox, Chrome, Edge or Safari.");
    Object.assign(this, { canvas, gl, scene, arrays, state, quality: 1, drawn: 0, software });
    this.surfaceProgram = Draw.program(gl, Draw.SURFACE, ["point", "normal"]);
    this.sliceProgram = Draw.program(gl, Draw.SLICE, ["point"]);
    [this.anatomy, this.coarse] = ["", "_coarse"].map((detail) => scene.surfaces.map(({ key }) => {
      const body = new Draw.Body(gl), points = arrays[`${key}${detail}_points`], triangles = arrays[`${key}${detail}_triangles`];
      body.fill(points, triangles, Field.normals(points, triangles));
      return body;
    }));
    this.tumour = scene.levels.map(() => new Draw.Body(gl));
    this.rims = [new Draw.Body(gl), new Draw.Body(gl)];
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
    made.labels = Draw.volume(gl, scene.image.shape, new Uint8Array(arrays.image.length), false);
    return made;
  }

  // The segmentation that is drawn: of a chosen session, of the one nearest to the day, or none.
  setLabels() {
    const { state, scene } = this;
    const nearest = scene.sessions.reduce((best, s) => (!best || Math.abs(s.day - state.day) < Math.abs(best.day - state.day) ? s : best), null);
    const wanted = state.session === "nearest" ? nearest && nearest.id : state.session;
    if (wanted === this.session) return;
    this.session = wanted;
    const data = this.arrays[`labels_${wanted}`];
    if (data) Draw.refill(this.gl, this.textures.labels, scene.image.shape, data);
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
    for (const shell of shells.filter((s) => s.opacity > 0.985)) this.drawShell(shell);
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
    const { state, scene } = this;
    const around = scene.surfaces.map(({ colour }, k) => ({ body: (this.quality < 1 ? this.coarse : this.anatomy)[k], colour, opacity: state.anatomy[k], glass: 1 }));
    const inner = state.levels.map((level, k) => ({ body: this.tumour[k], colour: level.colour, opacity: level.on ? level.opacity : 0, glass: 0.35, density: level.density }));
    const hue = state.theme === "light" ? "#30363d" : "#f4f6f8";
    if (this.band) this.band.forEach((density, k) => inner.push({ body: this.rims[k], colour: hue, opacity: 0.45, glass: 1, hatched: 1, density: density + 1e-6 * (2 * k - 1) }));
    inner.sort((a, b) => a.density - b.density);
    return [...around, ...inner].filter((s) => s.opacity > 0.004 && s.body.count);
  }

  drawShell({ body, colour, opacity, glass, hatched }) {
    const { gl } = this, { uniforms } = this.surfaceProgram;
    gl.uniform3fv(uniforms.colour, Draw.rgb(colour));
    gl.uniform1f(uniforms.opacity, opacity);
    gl.uniform1f(uniforms.glass, opacity > 0.985 ? 0 : glass);
    gl.uniform1f(uniforms.hatched, hatched || 0);
    body.draw();
  }

  drawPanel(plane, area) {
    const { gl, state } = this, span = this.span(area), middle = this.middle(plane);
    const right = [0, 0, 0], up = [0, 0, 0];
    right[plane.right] = 1; up[plane.up] = 1;
    const { matrix } = Draw.lookAt(middle, Draw.cross(right, up), up, 0);
    gl.disable(gl.DEPTH_TEST);
    const size = { origin: middle, shape: [1, 1, 1], spacing: 4 * span };
    this.drawSlice(plane, matrix, Draw.parallel(span * area.w / Math.max(area.w, area.h), span * area.h / Math.max(area.w, area.h), 8 * span), size, 1, state.cross[plane.across]);
  }

  // Millimetres that the longer side of a panel shows.
  span(area) { return this.state.zoom * Math.max(area.w, area.h) / Math.min(area.w, area.h); }

  middle(plane) {
    const middle = [...this.state.centre];
    middle[plane.across] = this.state.cross[plane.across];
    return middle;
  }

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
    gl.uniform1f(uniforms.overlay, state.overlay);
    gl.uniform1f(uniforms.segmentation, this.arrays[`labels_${this.session}`] ? state.segmentation : 0);
    gl.uniform2fv(uniforms.band, this.band ? this.band.map(Field.logit) : [99, 99]);
    gl.uniform1f(uniforms.opaque, opaque);
    gl.uniform1f(uniforms.scaling, this.ratio * this.quality);
    gl.uniform3fv(uniforms.wholeColour, Draw.rgb("#56b4e9"));
    gl.uniform3fv(uniforms.coreColour, Draw.rgb("#e69f00"));
    gl.uniform3fv(uniforms.bandColour, [1, 1, 1]);
    this.quad.draw();
  }

  // The plane's panel under a place on the canvas, and the RAS mm there.
  pick(x, y) {
    const k = this.areas.findIndex((a) => x >= a.x && x < a.x + a.w && y >= a.y && y < a.y + a.h);
    if (k < 1) return { area: k };
    const area = this.areas[k], plane = PLANES[k - 1], span = this.span(area), longer = Math.max(area.w, area.h);
    const point = this.middle(plane);
    point[plane.right] += (x - area.x - area.w / 2) / longer * span;
    point[plane.up] -= (y - area.y - area.h / 2) / longer * span;
    return { area: k, plane, point };
  }
}
