// What is written over the picture, so that screenshots and films carry it: day, legend, sides, scale, colour bar.
const Labels = (() => {
  const FONT = "system-ui, 'DejaVu Sans', sans-serif";

  function write(view, canvas, ratio) {
    const { picture, state } = view, [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d"), light = state.theme === "light";
    pen.scale(ratio, ratio);
    const ink = light ? "#1b2026" : "#e9edf2", soft = light ? "#56616e" : "#a4afbc";
    legend(pen, view, ink, soft);
    axes(pen, view, picture.areas[0], ink);
    bar(pen, view, picture.areas[0], ink, soft);
    PLANES.forEach((plane, k) => panel(pen, view, plane, picture.areas[k + 1]));
  }

  // Words that are legible over anything: with a rim of the background's colour.
  function words(pen, view, text, x, y) {
    pen.strokeStyle = view.state.theme === "light" ? "rgba(244, 245, 247, 0.8)" : "rgba(20, 23, 27, 0.8)";
    pen.lineWidth = 3.5; pen.lineJoin = "round";
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
  }

  function legend(pen, view, ink, soft) {
    const { state, picture } = view;
    pen.textAlign = "left"; pen.textBaseline = "alphabetic";
    pen.fillStyle = ink; pen.font = `600 19px ${FONT}`;
    words(pen, view, `Day ${number(state.day, 1)}`, 16, 30);
    let y = 52;
    pen.font = `13px ${FONT}`;
    state.levels.forEach((level) => {
      if (!level.on || level.opacity < 0.01) return;
      pen.fillStyle = level.colour;
      pen.fillRect(16, y - 10, 13, 11);
      pen.fillStyle = ink;
      words(pen, view, `${level.name}, density > ${level.density.toFixed(level.density < 0.1 ? 3 : 2)}: ${millilitres(view.volume(state.day, level.density))} mL`, 36, y);
      y += 19;
    });
    if (picture.band) {
      pen.strokeStyle = state.levels[state.band].colour; pen.lineWidth = 2; pen.setLineDash([3, 2]);
      pen.strokeRect(17, y - 9, 11, 9); pen.setLineDash([]);
      pen.fillStyle = ink;
      words(pen, view, `95 % band of ${state.levels[state.band].name.toLowerCase()}`, 36, y);
      y += 19;
    }
    y = scanned(pen, view, ink, soft, y);
    if (state.target >= 0) {
      swatch(pen, view.scene.hues.target, ink, y, []);
      pen.fillStyle = ink;
      words(pen, view, `Target: ${view.scene.targets[state.target]}`, 36, y);
    }
  }

  // An outlined square beside a word; dashed as the outlines of scans are.
  function swatch(pen, hue, ink, y, dashes) {
    pen.strokeStyle = ink; pen.lineWidth = 4.5; pen.strokeRect(18, y - 9, 9, 9);
    pen.strokeStyle = hue; pen.lineWidth = 2.5; pen.setLineDash(dashes); pen.strokeRect(18, y - 9, 9, 9);
    pen.setLineDash([]);
  }

  // What of the scan is shown, and how far its day is from the one shown; where the two differ.
  function scanned(pen, view, ink, soft, y) {
    const { state, picture, scene } = view, session = scene.sessions.find((s) => s.id === picture.session);
    if (!session || !(state.outline || state.segmentation > 0.01 || state.difference !== "none" || state.drawn.whole > 0.01 || state.drawn.core > 0.01)) return y;
    const away = session.day - state.day, when = Math.abs(away) < 0.05 ? "same day" : `${number(Math.abs(away), 0)} days ${away > 0 ? "later" : "earlier"}`;
    for (const region of ["whole", "core"]) {
      swatch(pen, scene.hues[region], "#1b2026", y, [3, 3]);
      pen.fillStyle = ink;
      words(pen, view, `Scan ${session.id}, ${region === "whole" ? `whole tumour (${when})` : "core"}`, 36, y);
      y += 19;
    }
    const found = view.compared();
    if (found) {
      for (const [name, hue, ml] of [["Model only", picture.modelHue(state.difference), found.model], ["Scan only", scene.hues[state.difference], found.scan]]) {
        pen.fillStyle = hue; pen.fillRect(16, y - 10, 13, 11);
        pen.fillStyle = ink;
        words(pen, view, `${name}: ${millilitres(ml)} mL${name === "Scan only" ? `, Dice ${found.dice.toFixed(2)}` : ""}`, 36, y);
        y += 19;
      }
    }
    return y;
  }

  // Directions of the body in the corner of the view.
  function axes(pen, view, area, ink) {
    const { right, top } = view.picture.eye(), middle = [area.x + 52, area.y + area.h - 52];
    const back = Draw.cross(right, top);
    const ends = [["R", 0, 1], ["L", 0, -1], ["A", 1, 1], ["P", 1, -1], ["S", 2, 1], ["I", 2, -1]]
      .map(([letter, axis, sign]) => ({ letter, sign, dx: sign * right[axis], dy: -sign * top[axis], near: sign * back[axis] })).sort((a, b) => a.near - b.near);
    pen.textAlign = "center"; pen.textBaseline = "middle"; pen.font = `600 12px ${FONT}`;
    for (const { letter, sign, dx, dy, near } of ends) {
      pen.globalAlpha = 0.45 + 0.55 * (near + 1) / 2;
      pen.strokeStyle = pen.fillStyle = ink;
      pen.lineWidth = sign > 0 ? 2.2 : 1;
      pen.beginPath(); pen.moveTo(...middle); pen.lineTo(middle[0] + 26 * dx, middle[1] + 26 * dy); pen.stroke();
      if (Math.hypot(dx, dy) > 0.3) pen.fillText(letter, middle[0] + 38 * dx, middle[1] + 38 * dy);
    }
    pen.globalAlpha = 1;
  }

  function bar(pen, view, area, ink, soft) {
    const { colours } = view.arrays, wide = Math.min(190, area.w - 150), x = area.x + area.w - wide - 44, y = area.y + area.h - 40;
    if (wide < 60) return;
    for (let i = 0; i < wide; i += 1) {
      const c = 4 * Math.round(255 * i / (wide - 1));
      pen.fillStyle = `rgb(${colours[c]}, ${colours[c + 1]}, ${colours[c + 2]})`;
      pen.fillRect(x + i, y, 1.5, 10);
    }
    pen.strokeStyle = soft; pen.lineWidth = 1; pen.strokeRect(x - 0.5, y - 0.5, wide + 1, 11);
    pen.fillStyle = ink; pen.font = `11px ${FONT}`; pen.textAlign = "center"; pen.textBaseline = "alphabetic";
    for (const u of [0, 0.25, 0.5, 0.75, 1]) words(pen, view, `${u}`, x + u * wide, y + 23);
    words(pen, view, "cell density in the slices (fraction of capacity)", x + wide / 2, y - 7);
    for (const level of view.state.levels.filter((l) => l.on)) {
      pen.fillStyle = level.colour;
      pen.beginPath(); pen.moveTo(x + level.density * wide, y + 2); pen.lineTo(x + level.density * wide - 4, y - 4); pen.lineTo(x + level.density * wide + 4, y - 4); pen.fill();
    }
  }

  function panel(pen, view, plane, area) {
    const { state, picture } = view, span = picture.span(area), longer = Math.max(area.w, area.h);
    const middle = [area.x + area.w / 2, area.y + area.h / 2], [x, y] = picture.spot(plane, area, state.cross);
    pen.save();
    pen.beginPath(); pen.rect(area.x, area.y, area.w, area.h); pen.clip();
    pen.strokeStyle = "rgba(255, 255, 255, 0.45)"; pen.lineWidth = 1;
    for (const [x0, y0, x1, y1] of [[area.x, y, x - 9, y], [x + 9, y, area.x + area.w, y], [x, area.y, x, y - 9], [x, y + 9, x, area.y + area.h]]) {
      pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke();
    }
    const text = (words, at, up, align) => {
      pen.textAlign = align; pen.lineWidth = 3; pen.strokeStyle = "rgba(0, 0, 0, 0.75)";
      pen.strokeText(words, at, up);
      pen.fillText(words, at, up);
    };
    pen.fillStyle = "#ffffff"; pen.textBaseline = "middle"; pen.font = `600 12px ${FONT}`;
    const [first, second, low, high] = plane.ends, [left, right] = picture.side(plane) > 0 ? [first, second] : [second, first];
    text(left, area.x + 10, middle[1], "center"); text(right, area.x + area.w - 10, middle[1], "center");
    text(low, middle[0], area.y + area.h - 28, "center"); text(high, middle[0], area.y + 11, "center");
    pen.font = `12px ${FONT}`;
    const place = `${"xyz"[plane.across]} = ${number(state.cross[plane.across], 1)} mm`;
    if (area.w > 120) text(area.w > 210 ? `${plane.name}, ${place}` : place, area.x + 8, area.y + area.h - 12, "left");
    pen.font = `10px ${FONT}`;
    if (plane.right === 0 && state.radiological) text("radiological", area.x + 8, area.y + area.h - (area.w > 120 ? 28 : 12), "left");
    if (state.ruler && state.ruler.plane === PLANES.indexOf(plane)) rule(pen, picture, plane, area, state.ruler, text);
    const long = 20 / span * longer, base = area.y + area.h - 11;
    pen.lineWidth = 3; pen.strokeStyle = "#ffffff";
    pen.beginPath(); pen.moveTo(area.x + area.w - 8 - long, base); pen.lineTo(area.x + area.w - 8, base); pen.stroke();
    pen.font = `10px ${FONT}`;
    text("20 mm", area.x + area.w - 8, base - 9, "right");
    pen.restore();
  }

  function rule(pen, picture, plane, area, { from, to }, text) {
    const [a, b] = [from, to].map((point) => picture.spot(plane, area, point));
    for (const [hue, width] of [["#000000", 4], ["#ffffff", 1.8]]) {
      pen.strokeStyle = hue; pen.lineWidth = width;
      pen.beginPath(); pen.moveTo(...a); pen.lineTo(...b); pen.stroke();
    }
    for (const [x, y] of [a, b]) { pen.fillStyle = "#ffffff"; pen.beginPath(); pen.arc(x, y, 3, 0, 7); pen.fill(); }
    pen.font = `600 12px ${FONT}`;
    text(`${number(Math.hypot(...from.map((x, i) => to[i] - x)), 1)} mm`, (a[0] + b[0]) / 2, Math.min(a[1], b[1]) - 10, "center");
    pen.font = `10px ${FONT}`;
  }

  return { write };
})();
