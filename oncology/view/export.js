// What is shown as files: pictures, films, surfaces (STL, VTK) and the density of the day (NIfTI), all in RAS mm.
const Export = (() => {
  const FILM_RATE = 20;  // pictures a second

  function save(view, blob, ending) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${view.scene.name}_${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const day = (view) => `day${view.state.day.toFixed(0)}`;
  const plain = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");

  // The picture with what is written over it, on one canvas.
  function compose(view, canvas) {
    const { canvas: drawn } = view.picture;
    canvas.width = view.labels.width; canvas.height = view.labels.height;
    const pen = canvas.getContext("2d");
    pen.drawImage(drawn, 0, 0, canvas.width, canvas.height);
    pen.drawImage(view.labels, 0, 0);
    return canvas;
  }

  function screenshot(view) {
    // in the same frame as the drawing, before the browser takes it away
    view.taken = () => compose(view, document.createElement("canvas")).toBlob((blob) => save(view, blob, `${day(view)}.png`));
    view.settle();
  }

  // Draw from onset to the end and record it. Every picture is waited for: a slow computer makes a slower film, not
  // one with gaps.
  function film(view) {
    const note = document.getElementById("filming"), button = document.getElementById("film");
    const kind = ["video/mp4;codecs=avc1.42E01E", "video/mp4", "video/webm;codecs=vp9", "video/webm"].find((k) => window.MediaRecorder && MediaRecorder.isTypeSupported(k));
    if (!kind) { note.textContent = "This browser cannot record films: use a recent Chrome, Edge, Firefox or Safari."; return; }
    const canvas = document.createElement("canvas"), still = document.createElement("canvas"), parts = [], { width, height } = view.labels;
    Object.assign(canvas, { width: width - width % 2, height: height - height % 2 });  // as films need it
    canvas.getContext("2d");
    const stream = canvas.captureStream(0), [track] = stream.getVideoTracks();
    const recorder = new MediaRecorder(stream, { mimeType: kind, videoBitsPerSecond: 8e6 });
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      button.disabled = false;
      note.textContent = "";
      save(view, new Blob(parts, { type: kind }), `growth.${kind.includes("mp4") ? "mp4" : "webm"}`);
    };
    button.disabled = true;
    view.timeline.stop();
    const count = Math.max(2, Math.round(FILM_RATE * view.timeline.seconds));
    const step = (k) => {
      note.textContent = `Recording: ${Math.round(100 * k / count)} %`;
      view.taken = () => {
        canvas.getContext("2d").drawImage(compose(view, still), 0, 0);
        track.requestFrame();
        setTimeout(() => (k < count ? step(k + 1) : recorder.stop()), k < count ? 1000 / FILM_RATE : 400);
      };
      view.setDay(view.first + (view.last - view.first) * k / count);
    };
    recorder.start();
    step(0);
  }

  // Surfaces as they are shown, without the plane that cuts them; the innermost first.
  const shown = (view) => view.picture.shells().filter((shell) => !shell.hatched).reverse();

  // Binary STL. Its header tells 3D Slicer that places are RAS, not LPS.
  function stl({ points, triangles }, name) {
    const bytes = new ArrayBuffer(84 + 50 * (triangles.length / 3)), out = new DataView(bytes);
    new Uint8Array(bytes).set(new TextEncoder().encode(`SPACE=RAS mm ${name}`).subarray(0, 80));
    out.setUint32(80, triangles.length / 3, true);
    for (let t = 0, at = 84; t < triangles.length; t += 3, at += 50) {
      const corners = [0, 1, 2].map((k) => [...points.subarray(3 * triangles[t + k], 3 * triangles[t + k] + 3)]);
      const along = (a, b) => corners[b].map((x, i) => x - corners[a][i]), normal = Draw.cross(along(0, 1), along(0, 2));
      const length = Math.hypot(...normal) || 1;
      [...normal.map((x) => x / length), ...corners.flat()].forEach((x, k) => out.setFloat32(at + 4 * k, x, true));
    }
    return new Blob([bytes], { type: "model/stl" });
  }

  // Legacy VTK, binary: all surfaces as one set of polygons, with the number of the surface on each.
  function vtk(shells) {
    const parts = [], write = (text) => parts.push(text);
    const big = (values, kind) => {
      const out = new DataView(new ArrayBuffer(4 * values.length));
      values.forEach((x, k) => (kind === "float" ? out.setFloat32(4 * k, x) : out.setInt32(4 * k, x)));
      parts.push(out.buffer, "\n");
    };
    const names = shells.map((shell, k) => `${k} ${shell.name}`).join(", ");
    write(`# vtk DataFile Version 4.2\nSPACE=RAS mm; ${names.slice(0, 230)}\nBINARY\nDATASET POLYDATA\n`);
    const points = shells.flatMap((shell) => [...shell.body.points]), polygons = [], number = [];
    let first = 0;
    shells.forEach(({ body }, k) => {
      for (let t = 0; t < body.triangles.length; t += 3) {
        polygons.push(3, first + body.triangles[t], first + body.triangles[t + 1], first + body.triangles[t + 2]);
        number.push(k);
      }
      first += body.points.length / 3;
    });
    write(`POINTS ${points.length / 3} float\n`); big(points, "float");
    write(`POLYGONS ${number.length} ${polygons.length}\n`); big(polygons, "int");
    write(`CELL_DATA ${number.length}\nSCALARS surface int 1\nLOOKUP_TABLE default\n`); big(number, "int");
    return new Blob(parts, { type: "application/octet-stream" });
  }

  // NIfTI-1 of the density on the day, zero outside the brain; float32, compressed.
  function nifti({ scene, picture }) {
    const { shape, origin, spacing } = scene.grid, n = shape.reduce((a, b) => a * b);
    const bytes = new ArrayBuffer(352 + 4 * n), out = new DataView(bytes);
    const set = (at, kind, ...values) => values.forEach((x, k) => out[`set${kind}`](at + k * { Int16: 2, Int32: 4, Float32: 4, Uint8: 1 }[kind], x, true));
    set(0, "Int32", 348);
    set(40, "Int16", 3, ...shape, 1, 1, 1, 1);
    set(70, "Int16", 16, 32);  // float32
    set(76, "Float32", 1, spacing, spacing, spacing, 1, 1, 1, 1);
    set(108, "Float32", 352, 1, 0);
    set(123, "Uint8", 2);  // mm
    set(252, "Int16", 1, 1);  // qform and sform in the space of the scans
    set(268, "Float32", ...origin);
    [0, 1, 2].forEach((axis) => set(280 + 16 * axis, "Float32", ...[0, 1, 2].map((k) => (k === axis ? spacing : 0)), origin[axis]));
    new Uint8Array(bytes).set(new TextEncoder().encode("n+1\0"), 344);
    const lowest = scene.logits[0] + 0.03;
    for (let i = 0; i < n; i += 1) {
      const f = picture.field[i];
      out.setFloat32(352 + 4 * i, f > lowest && picture.inside[i] >= 0 ? 1 / (1 + Math.exp(-f)) : 0, true);
    }
    return new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).blob();
  }

  const write = {
    stl(view, name) {
      const shell = shown(view).find((s) => s.name === name);
      if (shell) save(view, stl(shell.body, name), `${day(view)}_${plain(name)}.stl`);
    },
    vtk(view) { save(view, vtk(shown(view)), `${day(view)}.vtk`); },
    async nifti(view) { save(view, await nifti(view), `${day(view)}_density.nii.gz`); },
  };

  return { screenshot, film, shown, write };
})();
