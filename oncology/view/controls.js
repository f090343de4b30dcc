// The panel of controls: built once, it writes into the state and shows what was measured.
const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const SIDES = { Left: [Math.PI, 0], Right: [0, 0], Front: [Math.PI / 2, 0], Back: [-Math.PI / 2, 0], Above: [-Math.PI / 2, Math.PI / 2], Below: [Math.PI / 2, -Math.PI / 2] };

const TICKS = [["outline", "outline"], ["cut-tumour", "cutTumour"], ["radiological", "radiological"]];

class Controls {
  constructor(root, view) {
    Object.assign(this, { root, view });
    const { scene, state } = view, { mesh } = scene;
    const kind = { fit: `fit${scene.status === "converged" ? "" : `, ${scene.status}`}`, simulation: "simulation", prediction: "prediction" }[scene.kind];
    root.innerHTML = `<h1>${escaped(scene.name)} <small>${escaped(kind)}</small></h1>
      <p class="day" id="today"></p><p class="soft" id="when"></p>
      <h2>Tumour surfaces</h2>${state.levels.map((level, k) => this.card(level, k)).join("")}
      ${this.scans()}
      <h2>Measured on this day</h2><div class="table" id="measured"></div><p class="soft">Front and ball: the outermost surface that is shown. Boundary: density ${scene.tables.rim}, where the tumour ends on MRI.</p>
      <h2>Uncertainty</h2>${this.uncertainty()}
      ${this.targets()}
      <h2>Anatomy</h2>${scene.surfaces.map((s, k) => this.control(`anatomy-${k}`, s.name, 0, 1, 0.01, state.anatomy[k], "opacity")).join("")}
      <label class="line">Cut away <select id="cut"><option value="nothing">nothing</option>${Object.keys(CUTS).map((side) => `<option value="${side}">${side} of the cross</option>`.replace("above of", "above").replace("below of", "below").replace("behind of", "behind")).join("")}</select></label>
      <label class="row"><input type="checkbox" id="cut-tumour">Cut the tumour too</label>
      <h2>Slices</h2>
      <p class="soft">${escaped(scene.image.name)}. Click or drag in a slice to move the others; scroll to step through slices.</p>
      ${PLANES.map((p, k) => `<div class="control" style="grid-template-columns: 92px minmax(0, 1fr) 66px"><label class="row"><input type="checkbox" id="plane-${k}"${state.planes[k] ? " checked" : ""}>${p.name}</label>
        <input type="range" id="cross-${p.across}" aria-label="${p.name} slice, mm"><output id="cross-${p.across}-out"></output></div>`).join("")}
      <p class="soft">Ticked slices are shown in the 3-D view too.</p>
      ${this.control("overlay", "Density", 0, 1, 0.01, state.overlay, "opacity of the density")}
      ${this.control("window", "Window", 0.05, 1.5, 0.01, state.window, "width of the grey scale")}
      ${this.control("level", "Level", 0, 1, 0.01, state.level, "middle of the grey scale")}
      <label class="row"><input type="checkbox" id="radiological">Radiological: patient's right on the left</label>
      <div class="buttons" style="margin-top: 6px"><button id="ruler" aria-pressed="false">Ruler</button><button id="unrule">Remove ruler</button></div>
      <h2>View</h2><div class="buttons">${Object.keys(SIDES).map((side) => `<button data-side="${side}">${side}</button>`).join("")}</div>
      <div class="buttons" style="margin-top: 6px"><button id="reset">Reset</button><button id="theme">Light</button></div>
      <h2>Export</h2><div class="buttons"><button id="shot">Screenshot</button><button id="film">Film</button></div>
      <p class="soft" id="filming"></p>
      <label class="line">Surface <select id="surface"></select></label>
      <div class="buttons" style="margin-top: 6px"><button id="stl">STL</button><button id="vtk">All: VTK</button><button id="nifti">Density: NIfTI</button></div>
      <p class="soft">As shown on this day, uncut, in RAS mm.</p>
      ${scene.notes.length || scene.treatments.length ? "<h2>Notes</h2>" : ""}
      ${[...scene.notes, ...scene.treatments.map((t) => t.text)].map((note) => `<p class="note">${escaped(note)}</p>`).join("")}
      <p class="soft" style="margin-top: 14px">${mesh.cells.toLocaleString("en")} cells, ${mesh.size} mm. oncology ${escaped(scene.version)}. For research only, not a medical device.</p>`;
    this.listen();
  }

  control(id, name, low, high, step, value, label) {
    return `<div class="control"><span>${name}</span><input type="range" id="${id}" min="${low}" max="${high}" step="${step}" value="${value}" aria-label="${name}, ${label}"><output id="${id}-out"></output></div>`;
  }

  card(level, k) {
    return `<div class="card" style="--hue: ${level.colour}"><div class="row"><label class="grow"><input type="checkbox" id="on-${k}"${level.on ? " checked" : ""}>${level.name}</label><span class="figure" id="volume-${k}"></span></div>
      ${this.control(`density-${k}`, "Density >", Field.logit(0.01), Field.logit(0.92), 0.005, Field.logit(level.density), "density, fraction of capacity")}
      ${this.control(`opacity-${k}`, "Opacity", 0, 1, 0.01, level.opacity, "opacity")}</div>`;
  }

  scans() {
    const { scene, state } = this.view;
    if (!scene.sessions.length) return "";
    return `<h2>Scan</h2>
      <label class="line">Session <select id="session"><option value="nearest">nearest to the day</option>${scene.sessions.map((s) => `<option value="${escaped(s.id)}">${escaped(s.id)}, day ${number(s.day, 1)}</option>`).join("")}</select></label>
      <div class="buttons" style="margin-top: 6px">${scene.sessions.map((s) => `<button data-day="${s.day}">Day of ${escaped(s.id)}</button>`).join("")}</div>
      <label class="row" style="margin-top: 6px"><input type="checkbox" id="outline">Outlines in the slices (dashed)</label>
      ${this.control("segmentation", "Areas", 0, 1, 0.01, state.segmentation, "opacity of the segmentation in the slices")}
      ${["whole", "core"].map((region) => this.control(`drawn-${region}`, `3-D, ${region}`, 0, 1, 0.01, 0, `opacity of the segmented ${region === "whole" ? "whole tumour" : "core"} in 3-D`)).join("")}
      <label class="line">Difference <select id="difference"><option value="none">not shown</option><option value="whole">whole tumour</option><option value="core">core</option></select></label>
      <div class="table" id="compared"></div>`;
  }

  targets() {
    const { scene, state } = this.view;
    if (!scene.targets.length) return "";
    return `<h2>Target</h2><label class="line">Target <select id="target"><option value="-1">not shown</option>${scene.targets.map((name, k) => `<option value="${k}">${escaped(name)}</option>`).join("")}</select></label>
      ${this.control("target-opacity", "Opacity", 0, 1, 0.01, state.targetOpacity, "opacity of the target in 3-D")}`;
  }

  uncertainty() {
    const { scene, state } = this.view;
    if (!Object.keys(scene.intervals).length) return `<p class="soft">${scene.kind === "simulation" ? "None: the parameters were chosen, not estimated." : "None: this folder holds no intervals."}</p>`;
    return `<label class="row">95 % band of <select id="band"><option value="-1">nothing</option>${state.levels.map((level, k) => `<option value="${k}">${level.name.toLowerCase()}</option>`).join("")}</select></label>
      <p class="soft">Surfaces that enclose the ends of the 95 % interval of the volume, from the uncertainty of the parameters. Model error is not included.</p>`;
  }

  listen() {
    const { root, view } = this, { state, scene } = view, at = (id) => root.querySelector(`#${id}`);
    const slide = (id, set, redo) => at(id) && at(id).addEventListener("input", (event) => { set(Number(event.target.value)); view.change(redo); });
    state.levels.forEach((level, k) => {
      slide(`density-${k}`, (x) => { level.density = 1 / (1 + Math.exp(-x)); }, true);
      slide(`opacity-${k}`, (x) => { level.opacity = x; }, true);
      at(`on-${k}`).addEventListener("change", (event) => { level.on = event.target.checked; view.change(true); });
    });
    scene.surfaces.forEach((_, k) => slide(`anatomy-${k}`, (x) => { state.anatomy[k] = x; }));
    PLANES.forEach(({ across }, k) => {
      const slider = at(`cross-${across}`), { origin, shape, spacing } = scene.image;
      Object.assign(slider, { min: origin[across], max: origin[across] + (shape[across] - 1) * spacing, step: 0.5 });
      slide(`cross-${across}`, (x) => { state.cross[across] = x; });
      at(`plane-${k}`).addEventListener("change", (event) => { state.planes[k] = event.target.checked; view.change(); });
    });
    for (const name of ["overlay", "segmentation", "window", "level"]) slide(name, (x) => { state[name] = x; });
    for (const region of ["whole", "core"]) slide(`drawn-${region}`, (x) => { state.drawn[region] = x; });
    slide("target-opacity", (x) => { state.targetOpacity = x; });
    for (const [id, name, read] of [["session", "session", String], ["band", "band", Number], ["difference", "difference", String], ["target", "target", Number], ["cut", "cut", String]]) {
      if (at(id)) at(id).addEventListener("change", (event) => { state[name] = read(event.target.value); view.change(true); });
    }
    for (const [id, name] of TICKS) if (at(id)) at(id).addEventListener("change", (event) => { state[name] = event.target.checked; view.change(); });
    root.querySelectorAll("[data-day]").forEach((button) => button.addEventListener("click", () => view.setDay(Number(button.dataset.day))));
    at("ruler").addEventListener("click", () => { state.measuring = !state.measuring; view.change(); });
    at("unrule").addEventListener("click", () => { state.ruler = null; view.change(); });
    root.querySelectorAll("[data-side]").forEach((button) => button.addEventListener("click", () => {
      [state.camera.turn, state.camera.height] = SIDES[button.dataset.side];
      view.change();
    }));
    at("reset").addEventListener("click", () => { Object.assign(state, view.start()); view.change(true); });
    at("theme").addEventListener("click", () => view.setTheme(state.theme === "dark" ? "light" : "dark"));
    at("shot").addEventListener("click", () => Export.screenshot(view));
    at("film").addEventListener("click", () => Export.film(view));
    at("stl").addEventListener("click", () => Export.write.stl(view, at("surface").value));
    for (const kind of ["vtk", "nifti"]) at(kind).addEventListener("click", () => Export.write[kind](view));
  }

  // Show state and measurements.
  show() {
    const { root, view } = this, { state, scene } = view, at = (id) => root.querySelector(`#${id}`);
    const write = (id, text) => { const place = at(id); if (place && place.textContent !== text) place.textContent = text; };
    write("today", `Day ${number(state.day, 1)}`);
    write("when", this.when());
    state.levels.forEach((level, k) => {
      write(`volume-${k}`, `${millilitres(view.volume(state.day, level.density))} mL`);
      write(`density-${k}-out`, level.density.toFixed(level.density < 0.1 ? 3 : 2));
      write(`opacity-${k}-out`, `${Math.round(100 * level.opacity)} %`);
      this.put(`density-${k}`, Field.logit(level.density)); this.put(`opacity-${k}`, level.opacity);
    });
    scene.surfaces.forEach((_, k) => { write(`anatomy-${k}-out`, `${Math.round(100 * state.anatomy[k])} %`); this.put(`anatomy-${k}`, state.anatomy[k]); });
    PLANES.forEach(({ across }) => { write(`cross-${across}-out`, `${number(state.cross[across], 1)} mm`); this.put(`cross-${across}`, state.cross[across]); });
    const shares = { overlay: state.overlay, segmentation: state.segmentation, "target-opacity": state.targetOpacity, "drawn-whole": state.drawn.whole, "drawn-core": state.drawn.core };
    for (const [id, share] of Object.entries(shares)) { write(`${id}-out`, `${Math.round(100 * share)} %`); this.put(id, share); }
    const range = scene.image.intensity;
    write("window-out", range ? number(state.window * (range[1] - range[0]), 0) : `${Math.round(100 * state.window)} %`);
    write("level-out", range ? number(range[0] + state.level * (range[1] - range[0]), 0) : `${Math.round(100 * state.level)} %`);
    for (const id of ["window", "level", "difference", "target", "cut"]) this.put(id, state[id]);
    for (const [id, name] of TICKS) if (at(id)) at(id).checked = state[name];
    at("ruler").setAttribute("aria-pressed", String(state.measuring));
    at("unrule").disabled = !state.ruler;
    this.showCompared(at("compared"));
    this.showSurfaces(at("surface"));
    write("theme", state.theme === "dark" ? "Light" : "Dark");
    const lines = view.measured().map(([name, value]) => `<span>${escaped(name)}</span><span>${escaped(value)}</span>`).join("");
    if (at("measured").innerHTML !== lines) at("measured").innerHTML = lines;
    this.put("band", state.band);
    this.put("session", state.session);
    PLANES.forEach((_, k) => { at(`plane-${k}`).checked = state.planes[k]; });
    state.levels.forEach((level, k) => { at(`on-${k}`).checked = level.on; });
  }

  showCompared(place) {
    const found = place && this.view.compared();
    const rows = found ? [["Model only", `${millilitres(found.model)} mL`], ["Scan only", `${millilitres(found.scan)} mL`], ["Dice on this day", found.dice.toFixed(3)]] : [];
    const lines = rows.map(([name, value]) => `<span>${name}</span><span>${value}</span>`).join("");
    if (place && place.innerHTML !== lines) place.innerHTML = lines;
  }

  // The surfaces that are shown now, to choose from.
  showSurfaces(select) {
    const names = Export.shown(this.view).map((shell) => shell.name), before = [...select.options].map((option) => option.value);
    if (names.join("|") === before.join("|")) return;
    const { value } = select;
    select.innerHTML = names.map((name) => `<option>${escaped(name)}</option>`).join("");
    if (names.includes(value)) select.value = value;
  }

  put(id, value) {
    const slider = this.root.querySelector(`#${id}`);
    if (slider && slider !== document.activeElement) slider.value = value;
  }

  when() {
    const { scene, state, first } = this.view, days = scene.sessions.map((s) => s.day);
    const since = `${number(state.day - first, 0)} days since onset`;
    if (!days.length) return since;
    const before = Math.min(...days) - state.day, after = state.day - Math.max(...days);
    if (before > 0.05) return `${since}, ${number(before, 0)} before the first scan`;
    return after > 0.05 ? `${since}, ${number(after, 0)} after the last scan` : since;
  }
}
