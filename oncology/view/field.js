// The density between frames and voxels, its surfaces, and what the tables measured: numbers only, nothing is drawn.
const Field = (() => {
  const logit = (u) => Math.log(u / (1 - u));

  // Frame before a day, and the share of the way to the next; beyond the last frame the last two are continued.
  function between(days, day) {
    if (days.length === 1) return [0, 0];
    let k = 0;
    while (k < days.length - 2 && days[k + 1] <= day) k += 1;
    return [k, Math.max(0, (day - days[k]) / (days[k + 1] - days[k]))];
  }

  // Logits on a day into `out`: linear between frames, so that fronts move instead of fading.
  function atDay(scene, frames, day, out) {
    const [k, share] = between(scene.days, day);
    const [low, high] = scene.logits, n = out.length, scale = (high - low) / 255;
    const first = frames.subarray(k * n, (k + 1) * n);
    if (scene.days.length === 1) { for (let i = 0; i < n; i += 1) out[i] = low + scale * first[i]; return out; }
    const second = frames.subarray((k + 1) * n, (k + 2) * n);
    const a = (1 - share) * scale, b = share * scale;
    for (let i = 0; i < n; i += 1) {
      // where there is nothing in either frame nothing comes from continuing
      const value = low + a * first[i] + b * second[i];
      out[i] = value < low ? low : value > high ? high : value;
    }
    return out;
  }

  // Every second sample along each axis; `out` is reused where it fits.
  function thinned(values, shape, out) {
    const [nx, ny, nz] = shape.map((n) => Math.ceil(n / 2)), thin = out || new Float32Array(nx * ny * nz);
    for (let z = 0, i = 0; z < nz; z += 1) for (let y = 0; y < ny; y += 1) {
      for (let x = 0, j = 2 * shape[0] * (y + shape[1] * z); x < nx; x += 1, i += 1, j += 2) thin[i] = values[j];
    }
    return thin;
  }

  // Closed surface where `values` pass `level`, cut off where `inside` (mm to the mesh surface) is negative:
  // one vertex in each cube that the surface crosses, at the mean of its crossings of the edges (surface nets,
  // Gibson, MICCAI 1998). Positions in RAS mm; triangles counter-clockwise from outside.
  function surface(values, inside, level, grid) {
    const [nx, ny, nz] = grid.shape, nxy = nx * ny;
    const number = new Int32Array(nx * ny * nz).fill(-1);
    const points = [], triangles = [], corner = new Float32Array(8);
    const offset = [0, 1, nx, nx + 1, nxy, nxy + 1, nxy + nx, nxy + nx + 1];
    const at = (i) => Math.min(values[i] - level, inside ? inside[i] : Infinity);
    let least = Infinity, most = -Infinity;
    for (let i = 0; i < values.length; i += 1) { if (values[i] < least) least = values[i]; if (values[i] > most) most = values[i]; }
    if (!(least < level && most > level)) return { points: new Float32Array(0), triangles: new Uint32Array(0) };
    const rows = spans(values, level, nx, ny, nz);
    for (let z = 0; z < nz - 1; z += 1) for (let y = 0; y < ny - 1; y += 1) {
      const row = y + ny * z;
      const from = Math.min(rows.from[row], rows.from[row + 1], rows.from[row + ny], rows.from[row + ny + 1]);
      const to = Math.max(rows.to[row], rows.to[row + 1], rows.to[row + ny], rows.to[row + ny + 1]);
      for (let x = Math.max(0, from - 1); x <= Math.min(nx - 2, to); x += 1) {
        const base = x + nx * y + nxy * z;
        let mask = 0;
        for (let c = 0; c < 8; c += 1) { corner[c] = at(base + offset[c]); if (corner[c] > 0) mask |= 1 << c; }
        if (mask === 0 || mask === 255) continue;
        number[base] = points.length / 3;
        vertex(corner, mask, x, y, z, grid, points);
        quads(mask, base, number, nx, nxy, x, y, z, triangles);
      }
    }
    return { points: Float32Array.from(points), triangles: Uint32Array.from(triangles) };
  }

  // First and last voxel above the level in each row: most of the grid is never looked at again.
  function spans(values, level, nx, ny, nz) {
    const from = new Int32Array(ny * nz).fill(nx), to = new Int32Array(ny * nz).fill(-2);
    for (let row = 0, i = 0; row < ny * nz; row += 1) for (let x = 0; x < nx; x += 1, i += 1) {
      if (values[i] > level) { if (from[row] > x) from[row] = x; to[row] = x; }
    }
    return { from, to };
  }

  const EDGES = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((a) => [1, 2, 4].filter((b) => !(a & b)).map((b) => [a, a | b]));

  function vertex(corner, mask, x, y, z, grid, points) {
    let count = 0, px = 0, py = 0, pz = 0;
    for (const [a, b] of EDGES) {
      if (((mask >> a) & 1) === ((mask >> b) & 1)) continue;
      const t = corner[a] / (corner[a] - corner[b]), axis = b - a;
      px += (a & 1) + (axis === 1 ? t : 0);
      py += ((a >> 1) & 1) + (axis === 2 ? t : 0);
      pz += ((a >> 2) & 1) + (axis === 4 ? t : 0);
      count += 1;
    }
    const { origin, spacing } = grid;
    points.push(origin[0] + spacing * (x + px / count), origin[1] + spacing * (y + py / count), origin[2] + spacing * (z + pz / count));
  }

  // Two triangles across each of the cube's three edges at its first corner that the surface crosses.
  function quads(mask, base, number, nx, nxy, x, y, z, triangles) {
    const first = mask & 1;
    const add = (other, u, v) => {
      if (((mask >> other) & 1) === first) return;
      const a = number[base], b = number[base - u], c = number[base - u - v], d = number[base - v];
      if (b < 0 || c < 0 || d < 0) return;
      if (first) triangles.push(a, b, c, a, c, d); else triangles.push(a, c, b, a, d, c);
    };
    if (y > 0 && z > 0) add(1, nx, nxy);
    if (z > 0 && x > 0) add(2, nxy, 1);
    if (x > 0 && y > 0) add(4, 1, nx);
  }

  // Unit normals at the vertices: sum of the triangles' area vectors.
  function normals(points, triangles) {
    const sum = new Float32Array(points.length);
    for (let t = 0; t < triangles.length; t += 3) {
      const a = 3 * triangles[t], b = 3 * triangles[t + 1], c = 3 * triangles[t + 2];
      const ux = points[b] - points[a], uy = points[b + 1] - points[a + 1], uz = points[b + 2] - points[a + 2];
      const vx = points[c] - points[a], vy = points[c + 1] - points[a + 1], vz = points[c + 2] - points[a + 2];
      const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx;
      for (const i of [a, b, c]) { sum[i] += nx; sum[i + 1] += ny; sum[i + 2] += nz; }
    }
    for (let i = 0; i < sum.length; i += 3) {
      const length = Math.hypot(sum[i], sum[i + 1], sum[i + 2]) || 1;
      sum[i] /= length; sum[i + 1] /= length; sum[i + 2] /= length;
    }
    return sum;
  }

  // Volume inside a closed surface, mm^3 (divergence theorem).
  function enclosed(points, triangles) {
    let six = 0;
    for (let t = 0; t < triangles.length; t += 3) {
      const [a, b, c] = [3 * triangles[t], 3 * triangles[t + 1], 3 * triangles[t + 2]];
      six += points[a] * (points[b + 1] * points[c + 2] - points[b + 2] * points[c + 1])
        + points[a + 1] * (points[b + 2] * points[c] - points[b] * points[c + 2])
        + points[a + 2] * (points[b] * points[c + 1] - points[b + 1] * points[c]);
    }
    return six / 6;
  }

  // A table (day by density) at any day and density, through a power of its values: radii of volumes grow evenly.
  function lookUp(table, days, levels, day, density, power) {
    const value = (row, column) => Math.pow(Math.max(0, table[row * levels.length + column]), power);
    const [row, down] = clamped(days, day), [column, right] = clamped(levels.map(logit), logit(density));
    const next = Math.min(row + 1, days.length - 1), beside = Math.min(column + 1, levels.length - 1);
    const a = (1 - right) * value(row, column) + right * value(row, beside);
    const b = (1 - right) * value(next, column) + right * value(next, beside);
    return Math.pow((1 - down) * a + down * b, 1 / power);
  }

  function clamped(grid, x) {
    const [k, share] = between(grid, x);
    return [k, Math.min(1, share)];
  }

  // A curve by days at any day; null outside its days.
  function along(days, values, day) {
    const [k, share] = between(days, day);
    if (day < days[0] || day > days[days.length - 1]) return null;
    return days.length === 1 ? values[0] : (1 - share) * values[k] + share * values[k + 1];
  }

  // Densities whose iso-surfaces enclose the upper and the lower end of the 95 % interval of the volume above
  // `density`. Intervals are known at the rims of core and whole tumour; in between the shift of the logit, which is
  // the shift of the front in units of its width, is interpolated. Null where no interval is known.
  function band(scene, volumes, day, density) {
    const { thresholds, intervals, tables } = scene;
    const volume = (u) => lookUp(volumes, tables.volume_days, tables.levels, day, u, 1 / 3);
    const known = ["whole", "core"].flatMap((region) => {
      const curve = intervals[region], here = volume(thresholds[region]);
      const value = curve && along(curve.days, curve.value, day);
      if (!value || here < 0.05) return [];
      const at = (end) => logit(enclosing(volume, here * along(curve.days, curve[end], day) / value));
      const from = logit(thresholds[region]);
      return [{ from, shifts: [at("high") - from, at("low") - from] }];
    });
    if (!known.length) return null;
    const x = logit(density), [a, b] = [known[0], known[known.length - 1]];
    const share = a === b ? 0 : Math.min(1, Math.max(0, (x - a.from) / (b.from - a.from)));
    return [0, 1].map((k) => 1 / (1 + Math.exp(-(x + (1 - share) * a.shifts[k] + share * b.shifts[k]))));
  }

  // The density above which there is a given volume.
  function enclosing(volume, wanted) {
    let [low, high] = [-5, 5];
    for (let i = 0; i < 40; i += 1) {
      const middle = (low + high) / 2;
      if (volume(1 / (1 + Math.exp(-middle))) > wanted) low = middle; else high = middle;
    }
    return 1 / (1 + Math.exp(-low));
  }

  return { along, band, logit, between, atDay, thinned, surface, normals, enclosed, lookUp };
})();
