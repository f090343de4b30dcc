// What the arrays hold at a place, and where scan and model differ: numbers only, nothing is drawn.
const Sample = (() => {
  // Number of the voxel that holds a place; -1 outside.
  function voxel({ origin, shape, spacing }, point) {
    const at = point.map((x, i) => Math.round((x - origin[i]) / spacing));
    return at.every((k, i) => k >= 0 && k < shape[i]) ? at[0] + shape[0] * (at[1] + shape[1] * at[2]) : -1;
  }

  // Number of the voxel of labels that holds a place; -1 outside.
  function labelled({ shape, texture: m }, [x, y, z]) {
    const at = [0, 1, 2].map((i) => Math.floor(shape[i] * (m[i] * x + m[4 + i] * y + m[8 + i] * z + m[12 + i])));
    return at.every((k, i) => k >= 0 && k < shape[i]) ? at[0] + shape[0] * (at[1] + shape[1] * at[2]) : -1;
  }

  // Value between the eight voxels around a place; null outside.
  function linear(values, { origin, shape, spacing }, point) {
    return between(values, shape, ...point.map((x, i) => (x - origin[i]) / spacing));
  }

  // The same at voxel coordinates.
  function between(values, [nx, ny, nz], x, y, z) {
    if (!(x >= 0 && y >= 0 && z >= 0 && x <= nx - 1 && y <= ny - 1 && z <= nz - 1)) return null;
    const i = Math.min(Math.floor(x), nx - 2), j = Math.min(Math.floor(y), ny - 2), k = Math.min(Math.floor(z), nz - 2);
    const u = x - i, v = y - j, w = z - k, at = i + nx * (j + ny * k), up = at + nx * ny;
    const along = (n) => (1 - u) * values[n] + u * values[n + 1];
    return (1 - w) * ((1 - v) * along(at) + v * along(at + nx)) + w * ((1 - v) * along(up) + v * along(up + nx));
  }

  function tissue(byte) {
    const [white, grey] = [byte >> 4, byte & 15].map((half) => half / 15);
    if (white + grey < 0.1) return "no brain tissue";
    const parts = [["white matter", white], ["grey matter", grey]].filter(([, share]) => share > 0.05);
    return parts.length === 1 && parts[0][1] > 0.93 ? parts[0][0] : parts.map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(", ");
  }

  // Everything that is known of a place (RAS mm): null for what is not.
  function at({ scene, arrays, picture }, point) {
    const k = voxel(scene.image, point), name = `labels_${picture.session}`, labels = arrays[name];
    const f = linear(picture.field, scene.grid, point), wall = linear(picture.inside, scene.grid, point);
    const drawn = labels && k >= 0 ? labels[labelled(scene.boxes[name], point)] || 0 : null, range = scene.image.intensity;
    return {
      tissue: k < 0 ? null : tissue(arrays.tissue[k]),
      // beyond the grid there is less than the least density that counts
      density: f === null ? 0 : wall < 0 ? null : 1 / (1 + Math.exp(-f)),
      scan: drawn === null ? null : drawn ? scene.classes[drawn] : "no tumour",
      intensity: range && k >= 0 ? range[0] + (range[1] - range[0]) * arrays.image[k] / 255 : null,
    };
  }

  // Volumes (mL) that only the model, only the scan and both have in them, over the voxels of the scan.
  function difference(scene, field, inside, labels, name, region, density) {
    const { grid } = scene, { shape: [nx, ny, nz], affine: m, ml } = scene.boxes[name], limit = region === "core" ? 191 : 63;
    const level = Field.logit(density), count = { model: 0, scan: 0, both: 0 };
    // coordinates in the grid of densities: a place and a step along each axis of the scan
    const step = (axis) => [0, 1, 2].map((k) => m[4 * axis + k] / grid.spacing), start = [0, 1, 2].map((k) => (m[12 + k] - grid.origin[k]) / grid.spacing);
    const [ax, ay, az] = [step(0), step(1), step(2)];
    for (let z = 0, i = 0; z < nz; z += 1) for (let y = 0; y < ny; y += 1) {
      let [p, q, r] = [0, 1, 2].map((k) => start[k] + y * ay[k] + z * az[k]);
      for (let x = 0; x < nx; x += 1, i += 1, p += ax[0], q += ax[1], r += ax[2]) {
        const drawn = labels[i] > limit, f = between(field, grid.shape, p, q, r);
        const model = f !== null && f > level && between(inside, grid.shape, p, q, r) > 0;
        if (model && drawn) count.both += 1; else if (model) count.model += 1; else if (drawn) count.scan += 1;
      }
    }
    return { model: ml * count.model, scan: ml * count.scan, both: ml * count.both };
  }

  return { voxel, linear, tissue, at, difference };
})();
