// The time axis: volumes over time with scans and treatments, the day as a line that can be dragged, play.
const MARGIN = { left: 46, right: 14, top: 8, bottom: 18 };

const number = (x, digits) => x.toFixed(digits).replace("-", "\u2212");
const millilitres = (ml) => (ml >= 100 ? number(ml, 0) : ml >= 1 ? number(ml, 1) : number(ml, 2));

// Round steps, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((f) => f * power >= rough), result = [];
  for (let t = Math.ceil(low / step) * step; t <= high + 1e-9; t += step) result.push(Math.round(t / step) * step);
  return result;
}

class Timeline {
  constructor(root, view) {
    Object.assign(this, { root, view, playing: false });
    const { first, last } = view;
    root.innerHTML = `<div class="transport"><button id="play" aria-pressed="false">▶ Play</button>
      <select id="speed" aria-label="Duration of the play"><option value="6">in 6 s</option><option value="12" selected>in 12 s</option><option value="24">in 24 s</option></select>
      <output id="shown" class="figure"></output></div>
      <div class="axis"><canvas id="chart" aria-hidden="true"></canvas>
      <input type="range" id="day" aria-label="Day" min="${first}" max="${last}"></div>`;
    this.chart = root.querySelector("#chart");
    this.slider = root.querySelector("#day");
    this.button = root.querySelector("#play");
    this.slider.step = (last - first) / 1000;
    this.slider.addEventListener("input", () => { this.stop(); view.setDay(Number(this.slider.value), true); });
    this.button.addEventListener("click", () => (this.playing ? this.stop() : this.play()));
    const drag = (event) => {
      if (event.type === "pointerdown") { this.chart.setPointerCapture(event.pointerId); this.stop(); }
      if (event.buttons & 1) view.setDay(this.dayAt(event.offsetX), true);
    };
    this.chart.addEventListener("pointerdown", drag);
    this.chart.addEventListener("pointermove", drag);
  }

  dayAt(x) {
    const { first, last } = this.view, share = (x - MARGIN.left) / (this.chart.clientWidth - MARGIN.left - MARGIN.right);
    return first + (last - first) * Math.min(1, Math.max(0, share));
  }

  // How long growth from onset to the end plays.
  get seconds() { return Number(this.root.querySelector("#speed").value); }

  play() {
    const { view } = this, { first, last } = view;
    let day = view.state.day >= last - 1e-6 ? first : view.state.day, before = null;
    this.playing = true;
    this.button.textContent = "❚❚ Pause";
    this.button.setAttribute("aria-pressed", "true");
    const step = (now) => {
      if (!this.playing) return;
      if (before !== null) day += (last - first) * Math.min(now - before, 400) / 1000 / this.seconds;
      before = now;
      view.setDay(Math.min(day, last), true);
      if (day >= last) this.stop(); else requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.button.textContent = "▶ Play";
    this.button.setAttribute("aria-pressed", "false");
    this.view.settle();
  }

  draw() {
    const { chart, view } = this, { state, first, last } = view, ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [chart.clientWidth, chart.clientHeight];
    chart.width = width * ratio; chart.height = height * ratio;
    const pen = chart.getContext("2d"), style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    pen.scale(ratio, ratio);
    pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    const shown = state.levels.map((level, k) => ({ ...level, k })).filter((level) => level.on);
    const days = Array.from({ length: 121 }, (_, i) => first + (last - first) * i / 120);
    const curves = shown.map((level) => days.map((day) => view.volume(day, level.density)));
    const dots = view.scene.scans.flatMap((scan) => {
      const session = view.scene.sessions.find((s) => s.id === scan.session);
      return session ? [{ day: session.day, ...scan }] : [];
    });
    const high = 1.06 * Math.max(1e-3, ...curves.flat(), ...dots.map((d) => d.ml));
    const x = (day) => MARGIN.left + (width - MARGIN.left - MARGIN.right) * (day - first) / (last - first || 1);
    const y = (ml) => height - MARGIN.bottom - (height - MARGIN.top - MARGIN.bottom) * ml / high;
    this.axes(pen, x, y, high, width, height, colour);
    for (const [k, region] of [[0, "core"], [1, "whole"]]) if (state.levels[k].on && Math.abs(state.levels[k].density - view.scene.thresholds[region]) < 0.004) this.band(pen, view.scene.intervals[region], state.levels[k].colour, x, y);
    shown.forEach((level, i) => {
      pen.strokeStyle = level.colour; pen.lineWidth = 2; pen.setLineDash([[], [7, 3], [2, 3]][level.k % 3]);
      pen.beginPath();
      days.forEach((day, j) => pen.lineTo(x(day), y(curves[i][j])));
      pen.stroke();
    });
    pen.setLineDash([]);
    for (const dot of dots) this.dot(pen, x(dot.day), y(dot.ml), view.scene.hues[dot.region], dot.region, colour);
    pen.strokeStyle = colour("accent"); pen.lineWidth = 2;
    pen.beginPath(); pen.moveTo(x(state.day), MARGIN.top - 6); pen.lineTo(x(state.day), height - MARGIN.bottom + 3); pen.stroke();
    if (document.activeElement !== this.slider || Math.abs(this.slider.value - state.day) > 1e-6) this.slider.value = state.day;
    this.slider.setAttribute("aria-valuetext", `day ${number(state.day, 1)}`);
    this.root.querySelector("#shown").textContent = `day ${number(state.day, 1)}`;
  }

  axes(pen, x, y, high, width, height, colour) {
    const { view } = this, { first, last, scene } = view;
    pen.fillStyle = colour("soft"); pen.strokeStyle = colour("line"); pen.lineWidth = 1; pen.textAlign = "right"; pen.textBaseline = "middle";
    for (const ml of ticks(0, high, 3)) {
      pen.beginPath(); pen.moveTo(MARGIN.left, y(ml)); pen.lineTo(width - MARGIN.right, y(ml)); pen.stroke();
      if (y(ml) > MARGIN.top + 12) pen.fillText(ml >= 1 || ml === 0 ? `${ml}` : ml.toFixed(2), MARGIN.left - 6, y(ml));
    }
    pen.fillText("mL", MARGIN.left - 6, MARGIN.top + 2);
    pen.textAlign = "center"; pen.textBaseline = "alphabetic";
    for (const day of ticks(first, last, Math.max(3, width / 110))) pen.fillText(number(day, 0), x(day), height - 4);
    pen.textAlign = "left";
    pen.fillText("day", 4, height - 4);
    pen.setLineDash([3, 3]); pen.strokeStyle = colour("soft");
    let free = -1e9;
    for (const mark of [...scene.sessions.map((s) => ({ day: s.day, text: s.id })), ...scene.treatments.map((t) => ({ day: t.day, text: t.text.split(" ")[0] }))].sort((a, b) => a.day - b.day)) {
      if (mark.day < first || mark.day > last) continue;
      pen.beginPath(); pen.moveTo(x(mark.day), MARGIN.top); pen.lineTo(x(mark.day), height - MARGIN.bottom); pen.stroke();
      const long = pen.measureText(mark.text).width, place = x(mark.day) + long + 6 > width ? x(mark.day) - long - 4 : x(mark.day) + 4;
      if (place > free) { pen.fillText(mark.text, place, MARGIN.top + 5); free = place + long + 4; }
    }
    pen.setLineDash([]);
  }

  // 95 % interval of the volume; shown while the surface is at the threshold that it belongs to.
  band(pen, curve, colour, x, y) {
    if (!curve) return;
    const { first, last } = this.view;
    const days = curve.days.filter((day) => day > first && day < last), inner = [first, ...days, last];
    const ends = ["high", "low"].map((end) => inner.map((day) => [day, Field.along(curve.days, curve[end], day)]).filter(([, ml]) => ml !== null));
    pen.fillStyle = `${colour}55`;
    pen.beginPath();
    for (const [day, ml] of [...ends[0], ...ends[1].reverse()]) pen.lineTo(x(day), y(ml));
    pen.fill();
  }

  dot(pen, x, y, fill, region, colour) {
    pen.fillStyle = fill; pen.strokeStyle = colour("ink"); pen.lineWidth = 1.2;
    pen.beginPath();
    if (region === "core") pen.rect(x - 4, y - 4, 8, 8); else pen.arc(x, y, 4.5, 0, 7);
    pen.fill(); pen.stroke();
  }
}
