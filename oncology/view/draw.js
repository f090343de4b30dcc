// The least of WebGL 2 that the scene needs: programs, surfaces, textures, matrices (column by column).
const Draw = (() => {
  const HEAD = "#version 300 es\nprecision highp float;\nprecision highp sampler3D;\n";

  // Surfaces seen from either side, lit at their vertices: where the processor draws, every sum in a pixel tells.
  // Glass is clear where it faces the eye and dense at its rim. Colours are premultiplied by their opacity.
  const SURFACE = [`
in vec3 point; in vec3 normal;
uniform mat4 view, projection;
uniform vec3 colour; uniform float opacity, glass; uniform vec4 cut;
out vec4 tint; out float beyond;
void main() {
  beyond = dot(cut.xyz, point) - cut.w;
  vec4 place = view * vec4(point, 1.0);
  vec3 n = mat3(view) * normal, eye = normalize(-place.xyz), lamp = normalize(vec3(-0.35, 0.55, 0.9));
  if (dot(n, eye) < 0.0) n = -n;
  float facing = dot(n, eye);
  float light = 0.34 + 0.52 * max(dot(n, lamp), 0.0) + 0.22 * facing;
  float shine = 0.22 * pow(max(dot(reflect(-lamp, n), eye), 0.0), 28.0);
  float alpha = mix(opacity, opacity * (0.10 + 0.90 * pow(1.0 - facing, 2.2)), glass);
  tint = vec4((colour * light + shine) * alpha, alpha);
  gl_Position = projection * place;
}`, `
in vec4 tint; in float beyond;
uniform float hatched;
out vec4 pixel;
void main() {
  if (beyond > 0.0) discard;
  if (hatched > 0.5 && mod(gl_FragCoord.x + gl_FragCoord.y, 7.0) > 2.4) discard;
  pixel = tint;
}`];

  // A plane through the images: scan, segmentation (dashed outlines, hatched areas), density, lines where it passes the
  // levels, band of uncertainty, where scan and model differ, a target. Labels are 0 outside, 0.5 in the whole tumour,
  // 1 in the core; `differing` is 0 for nothing, 1 for the whole tumour, 2 for the core.
  const SLICE = [`
in vec3 point;
uniform mat4 view, projection;
out vec3 world;
void main() { world = point; gl_Position = projection * view * vec4(point, 1.0); }`, `
in vec3 world;
uniform sampler3D scan, labels, field, inside, target;
uniform sampler2D colours;
uniform vec3 scanLow, scanSize, fieldLow, fieldSize;
uniform float level[3]; uniform vec4 lineColour[3];
uniform float overlay, segmentation, outline, targeted, differing, edge, opaque, scaling; uniform vec2 band, window; uniform vec4 cut; uniform mat4 labelsAt, targetAt;
uniform vec3 wholeColour, coreColour, bandColour, targetColour, modelColour;
out vec4 pixel;
bool within(vec3 s) { return all(greaterThanEqual(s, vec3(0.0))) && all(lessThanEqual(s, vec3(1.0))); }
float label(sampler3D image, vec3 s) { return within(s) ? texture(image, s).r : 0.0; }
bool beside(sampler3D image, vec3 s, vec3 dx, vec3 dy, float here, float limit) {
  float most = max(max(label(image, s + dx), label(image, s - dx)), max(label(image, s + dy), label(image, s - dy)));
  return here < limit && most > limit;
}
float smoothLine(float distance, float width) { return 1.0 - smoothstep(width - 0.6, width + 0.6, distance); }
void main() {
  if (dot(cut.xyz, world) - cut.w > 0.01) discard;
  vec3 s = (world - scanLow) / scanSize, q = (world - fieldLow) / fieldSize;
  bool seen = within(s);
  float bright = seen ? texture(scan, s).r : 0.0;
  vec3 colour = vec3(0.95 * clamp((bright - window.y) / window.x + 0.5, 0.0, 1.0));
  vec3 l = (labelsAt * vec4(world, 1.0)).xyz, t = (targetAt * vec4(world, 1.0)).xyz;
  vec3 ldx = 1.5 * scaling * dFdx(l), ldy = 1.5 * scaling * dFdy(l), tdx = 1.5 * scaling * dFdx(t), tdy = 1.5 * scaling * dFdy(t);
  vec2 place = floor(gl_FragCoord.xy / (4.0 * scaling));
  float dash = mod(place.x + place.y, 2.0), stripe = step(mod(gl_FragCoord.x - gl_FragCoord.y, 6.0 * scaling), 2.0 * scaling);
  float mark = label(labels, l);
  bool near = all(greaterThan(q, vec3(0.0))) && all(lessThan(q, vec3(1.0)));
  // also beyond the grid, where its border goes on: a jump there would be a gradient, and draw lines along the border
  float f = texture(field, q).r;
  float wall = near ? texture(inside, q).r : -1.0;
  float u = 1.0 / (1.0 + exp(-f));
  float shown = near ? overlay * smoothstep(0.004, 0.06, u) * step(0.0, wall) : 0.0;
  colour = mix(colour, texture(colours, vec2(u, 0.5)).rgb, shown);
  if (mark > 0.25) {
    // hatched, so that it is told from the density by more than its colour
    colour = mix(colour, mark > 0.75 ? coreColour : wholeColour, segmentation * (0.18 + 0.55 * stripe));
  }
  if (differing > 0.5) {
    bool model = near && wall > 0.0 && f > edge, drawn = mark > (differing > 1.5 ? 0.75 : 0.25);
    vec3 only = differing > 1.5 ? coreColour : wholeColour;
    float back = step(mod(gl_FragCoord.x + gl_FragCoord.y, 6.0 * scaling), 2.0 * scaling);
    if (model && !drawn) colour = mix(colour, modelColour, 0.45 + 0.45 * back);
    if (drawn && !model) colour = mix(colour, only, 0.45 + 0.45 * stripe);
  }
  float steep = max(fwidth(f), 1e-4);
  if (near && wall > 0.0) {
    if (f > band.x && f < band.y) colour = mix(colour, bandColour, 0.4);
    float edge = min(abs(f - band.x), abs(f - band.y)) / steep;
    colour = mix(colour, bandColour, 0.8 * smoothLine(edge, 0.5 * scaling));
    for (int k = 0; k < 3; k += 1) {
      float away = abs(f - level[k]) / steep;
      colour = mix(colour, vec3(0.05), 0.6 * lineColour[k].a * smoothLine(away, 1.7 * scaling));
      colour = mix(colour, lineColour[k].rgb, lineColour[k].a * smoothLine(away, 0.9 * scaling));
    }
  }
  if (outline > 0.5) {
    if (beside(labels, l, ldx, ldy, mark, 0.25)) colour = mix(vec3(0.05), wholeColour, dash);
    if (beside(labels, l, ldx, ldy, mark, 0.75)) colour = mix(vec3(0.05), coreColour, dash);
  }
  if (targeted > 0.5 && beside(target, t, tdx, tdy, label(target, t), 0.5)) colour = targetColour;
  if (opaque < 0.5 && bright < 0.08 && shown < 0.05 && mark < 0.25) discard;
  pixel = vec4(colour, 1.0);
}`];

  function program(gl, [vertex, fragment], attributes) {
    const made = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, HEAD + source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(made, shader);
    }
    attributes.forEach((name, place) => gl.bindAttribLocation(made, place, name));
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    const uniforms = {};
    for (let i = 0; i < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); i += 1) {
      const name = gl.getActiveUniform(made, i).name.replace("[0]", "");
      uniforms[name] = gl.getUniformLocation(made, name);
    }
    return { program: made, uniforms };
  }

  // A triangle surface on the card; `fill` replaces it.
  class Body {
    constructor(gl) {
      Object.assign(this, { gl, count: 0, array: gl.createVertexArray(), buffers: [0, 1, 2].map(() => gl.createBuffer()) });
    }

    fill(points, triangles, normals) {
      const { gl, buffers } = this;
      gl.bindVertexArray(this.array);
      [points, normals].forEach((data, place) => {
        gl.bindBuffer(gl.ARRAY_BUFFER, buffers[place]);
        gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
        gl.enableVertexAttribArray(place);
        gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
      });
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers[2]);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles, gl.DYNAMIC_DRAW);
      gl.bindVertexArray(null);
      Object.assign(this, { points, triangles, count: triangles.length });
    }

    draw() {
      if (!this.count) return;
      this.gl.bindVertexArray(this.array);
      this.gl.drawElements(this.gl.TRIANGLES, this.count, this.gl.UNSIGNED_INT, 0);
    }
  }

  // A 3-D texture of bytes or of numbers; into `texture`, where one is given.
  function volume(gl, shape, data, smooth, texture = gl.createTexture()) {
    gl.bindTexture(gl.TEXTURE_3D, texture);
    const filter = smooth ? gl.LINEAR : gl.NEAREST;
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MAG_FILTER, filter);
    for (const axis of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(gl.TEXTURE_3D, axis, gl.CLAMP_TO_EDGE);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const bytes = data instanceof Uint8Array;
    gl.texImage3D(gl.TEXTURE_3D, 0, bytes ? gl.R8 : gl.R16F, ...shape, 0, gl.RED, bytes ? gl.UNSIGNED_BYTE : gl.FLOAT, data);
    return texture;
  }

  function refill(gl, texture, shape, data) {
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, ...shape, gl.RED, data instanceof Uint8Array ? gl.UNSIGNED_BYTE : gl.FLOAT, data);
  }

  function palette(gl, colours) {
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const [name, value] of [[gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR], [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE]]) gl.texParameteri(gl.TEXTURE_2D, name, value);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, colours.length / 4, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, colours);
    return texture;
  }

  // Whether the processor does the drawing, by the name of what draws.
  function bySoftware() {
    const gl = document.createElement("canvas").getContext("webgl2");
    if (!gl) return true;
    const known = gl.getExtension("WEBGL_debug_renderer_info");
    const name = String(gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
    const ending = gl.getExtension("WEBGL_lose_context");
    if (ending) ending.loseContext();
    return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
  }

  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const unit = (a) => { const l = Math.hypot(...a); return a.map((x) => x / l); };

  // Where the eye sits `distance` from the target in direction `back`, with `up` towards the top.
  function lookAt(target, back, up, distance) {
    const right = unit(cross(up, back)), top = cross(back, right);
    const eye = target.map((x, i) => x + distance * back[i]);
    const m = [right[0], top[0], back[0], 0, right[1], top[1], back[1], 0, right[2], top[2], back[2], 0, -dot(right, eye), -dot(top, eye), -dot(back, eye), 1];
    return { matrix: new Float32Array(m), right, top };
  }

  function perspective(angle, aspect, near, far) {
    const f = 1 / Math.tan(angle / 2), d = 1 / (near - far);
    return new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (near + far) * d, -1, 0, 0, 2 * near * far * d, 0]);
  }

  function parallel(width, height, depth) {
    return new Float32Array([2 / width, 0, 0, 0, 0, 2 / height, 0, 0, 0, 0, -2 / depth, 0, 0, 0, 0, 1]);
  }

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);

  return { bySoftware, SURFACE, SLICE, program, Body, volume, refill, palette, lookAt, perspective, parallel, cross, dot, unit, rgb };
})();
