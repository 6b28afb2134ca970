// Draws the charts of a report from the numbers in #data: curves by step, and a sweep's score by its axes.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const several = data.runs.length > 1;
const HEIGHT = 250;
const MARGIN = { top: 14, right: 14, bottom: 26, left: 58 };
const APART = 12; // pixels between the points of a line that are drawn as dots, too
const ROWS = 5; // of a grid, about
const TOLD = 12; // runs of a readout
const SPIKE = 30; // times the median: the axis is logarithmic at first
const DASHES = ["", "7 3", "2 3", "8 3 2 3"];

// What all charts share. `span` is the part that was zoomed to, null for all of it.
const view = { hidden: new Set(), smoothing: 0, span: null, unit: "step" };
const charts = [];

// ---- numbers

function short(value) {
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  if (size !== 0 && (size <= 1e-3 || size >= 1e9)) return trim(value.toExponential(3));
  if (size >= 1e4) return Math.round(value).toLocaleString("en");
  return trim(value.toPrecision(size >= 1000 ? 5 : 4));
}

// The same on an axis, where there is less room.
function brief(value) {
  const size = Math.abs(value);
  return size >= 1e5 && size < 1e15 ? value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 3 }) : short(value);
}

function trim(text) {
  return text.replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "");
}

// Round numbers between two, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let i = first; i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// Powers of ten between two, with 2 and 5 times them where there are few; round numbers within one power.
function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  if (decades < 1) return ticks(low, high, count).filter((value) => value > 0);
  const every = Math.ceil(decades / count);
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += every)
    for (const m of decades < 3 ? [1, 2, 5] : [1]) found.push(Number((m * 10 ** power).toPrecision(3)));
  return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

// A scale from values to pixels, with room at both ends where asked for.
function scale(low, high, from, to, log = false, room = 0) {
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) * 0.1 || 1), high + (Math.abs(high) * 0.1 || 1)];
  const way = log ? Math.log10 : (value) => value;
  const pad = (way(high) - way(low)) * room;
  const start = way(low) - pad;
  const length = way(high) + pad - start;
  const place = (value) => from + ((way(value) - start) / length) * (to - from);
  place.value = (pixel) => start + ((pixel - from) / (to - from)) * length; // of a linear scale
  place.ends = log ? [10 ** start, 10 ** (start + length)] : [start, start + length];
  return place;
}

// An exponential mean over the points before, whose weight falls by e each `width` steps.
function smoothed(x, y, width) {
  const means = [];
  let [sum, weight] = [0, 0];
  y.forEach((value, i) => {
    const fade = i ? Math.exp((x[i - 1] - x[i]) / width) : 0;
    [sum, weight] = [sum * fade, weight * fade];
    if (typeof value === "number") [sum, weight] = [sum + value, weight + 1];
    means.push(weight ? sum / weight : "nan");
  });
  return means;
}

// The index of the number in rising `x` that is nearest to `at`.
function nearest(x, at) {
  let [low, high] = [0, x.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (x[middle] < at) low = middle;
    else high = middle;
  }
  return at - x[low] <= x[high] - at ? low : high;
}

// ---- elements

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function button(text, press, pressed) {
  const made = element("button", { type: "button" }, text);
  if (pressed !== undefined) made.setAttribute("aria-pressed", pressed);
  made.addEventListener("click", press);
  return made;
}

function swatch(line) {
  const stroke = { x1: 0, x2: 18, y1: 5, y2: 5, class: `line c${line.color}`, "stroke-dasharray": DASHES[line.dash] };
  return svg("svg", { width: 18, height: 10, "aria-hidden": "true" }, svg("line", stroke));
}

// The size of a plot; paper that is narrower than the screen has it smaller.
function box(width) {
  return { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` };
}

// A dot at each of the points of a line.
function dots(points, radius, kind) {
  return points.map(([x, y]) => svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: radius, class: kind }));
}

// The frame of a plot: grid, labels of both axes, what x is. Labels of x that would overlap are left out.
function frame(x, y, xTicks, yTicks, width, unit) {
  const bottom = HEIGHT - MARGIN.bottom;
  const parts = [svg("text", { x: MARGIN.left - 20, y: bottom + 18, class: "left" }, unit)];
  for (const value of yTicks) {
    const place = y(value).toFixed(1);
    parts.push(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: place, y2: place, class: "grid" }));
    parts.push(svg("text", { x: MARGIN.left - 8, y: place, dy: "0.32em", class: "tick left" }, brief(value)));
  }
  let end = -Infinity;
  for (const [value, text] of xTicks) {
    const half = text.length * 3.4;
    const place = Math.min(x(value), width - half);
    if (place - half < end + 6) continue;
    end = place + half;
    parts.push(svg("text", { x: place.toFixed(1), y: bottom + 18, class: "tick middle" }, text));
  }
  parts.push(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: bottom, y2: bottom, class: "axis" }));
  return parts;
}

// ---- curves

// A curve as it is drawn: one number of one run.
class Line {
  constructor(run, index, name, place) {
    const curve = run.curves[name];
    Object.assign(this, { run, name, y: curve.y, rows: curve.n });
    this.x = risen(curve.x);
    this.mean = curve.mx ? { x: risen(curve.mx), y: curve.my } : this;
    this.key = several ? index : name;
    this.label = several ? run.label : name;
    [this.color, this.dash] = several ? [run.color, run.dash] : [place % 8, (place >> 3) % 4];
    this.best = name === data.metric ? run.best : null;
    this.isNoisy = data.noisy.includes(name);
  }

  get factor() {
    return view.unit === "epoch" ? this.run.epochs : 1;
  }

  // The smoothed line, null where it is drawn as it is. `length` is that of the whole run.
  smooth(length) {
    if (!view.smoothing || !this.isNoisy) return null;
    const { x, y } = this.mean;
    return { x, y: smoothed(x, y, (view.smoothing / 100) * length) };
  }
}

// Whether a spike leaves nothing to be seen of the rest of values that are above zero.
function isSpiky(values) {
  const sorted = values.filter((value) => typeof value === "number").sort((one, other) => one - other);
  return sorted[0] > 0 && sorted.at(-1) > SPIKE * sorted[(sorted.length - 1) >> 1];
}

function risen(differences) {
  let sum = 0;
  return differences.map((difference) => (sum += difference));
}

class Chart {
  constructor(figure, names) {
    this.figure = figure;
    this.lines = data.runs.flatMap((run, index) =>
      names.flatMap((name, place) => (run.curves[name] ? [new Line(run, index, name, place)] : [])));
    this.log = isSpiky(this.lines.filter((line) => line.isNoisy).flatMap((line) => line.y));
    this.hidden = several ? view.hidden : new Set();
    this.plot = element("div", { class: "plot" });
    this.readout = element("div", { class: "readout", hidden: "" });
    this.plot.append(this.readout);
    figure.append(this.plot);
    this.addTools();
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => cross(null));
    this.plot.addEventListener("pointerdown", (event) => this.press(event));
    this.plot.addEventListener("pointerup", (event) => this.release(event));
    this.plot.addEventListener("dblclick", () => zoom(null));
  }

  addTools() {
    const tools = element("div", { class: "tools" });
    if (!several && this.lines.length > 1)
      for (const line of this.lines) {
        const toggle = button("", () => {
          flip(this.hidden, line.key, toggle);
          this.draw();
        }, true);
        toggle.className = "key";
        toggle.append(swatch(line), line.label);
        tools.append(toggle);
      }
    if (this.lines.some((line) => line.y.some((value) => value > 0))) {
      const toggle = button("log", () => {
        this.log = !this.log;
        toggle.setAttribute("aria-pressed", this.log);
        this.draw();
      }, this.log);
      toggle.className = "log";
      toggle.title = "logarithmic axis";
      tools.append(toggle);
    }
    this.figure.querySelector("figcaption").append(tools);
  }

  get visible() {
    return this.lines.filter((line) => !this.hidden.has(line.key));
  }

  draw() {
    const width = this.plot.clientWidth;
    const bottom = HEIGHT - MARGIN.bottom;
    const whole = extent();
    const [left, right] = view.span ?? whole;
    this.x = scale(left, right, MARGIN.left, width - MARGIN.right);
    const drawable = (value) => typeof value === "number" && (!this.log || value > 0);
    let [low, high] = [Infinity, -Infinity];
    for (const line of this.visible)
      line.y.forEach((value, i) => {
        const at = line.x[i] * line.factor;
        if (!drawable(value) || at < left || at > right) return;
        low = Math.min(low, value);
        high = Math.max(high, value);
      });
    const none = low > high;
    if (none) [low, high] = [1, 10];
    this.y = scale(low, high, bottom, MARGIN.top, this.log, 0.04);
    const yTicks = none ? [] : this.log ? logTicks(...this.y.ends, ROWS) : ticks(...this.y.ends, ROWS);
    const xTicks = ticks(left, right, width / 65).map((value) => [value, value.toLocaleString("en")]);
    const clip = `clip-${charts.indexOf(this)}`;
    const inner = svg("g", { "clip-path": `url(#${clip})` });
    const inside = { x: MARGIN.left - 7, y: 0, width: Math.max(0, width - MARGIN.left - MARGIN.right + 14), height: bottom + 1 };
    for (const line of this.visible) inner.append(...this.curve(line, drawable, whole));
    inner.append(...this.marks(bottom));
    this.cursor = svg("line", { y1: MARGIN.top, y2: bottom, class: "cursor", visibility: "hidden" });
    this.chosen = svg("rect", { y: MARGIN.top, height: bottom - MARGIN.top, class: "chosen", visibility: "hidden" });
    const drawn = svg("svg", { ...box(width), role: "img", "aria-label": this.figure.dataset.title },
      svg("clipPath", { id: clip }, svg("rect", inside)),
      ...frame(this.x, this.y, xTicks, yTicks, width, view.unit), inner, this.chosen, this.cursor);
    if (none) drawn.append(svg("text", { x: width / 2, y: HEIGHT / 2, class: "tick middle" }, "nothing to draw"));
    this.plot.querySelector(":scope > svg")?.remove();
    this.plot.prepend(drawn);
  }

  // A line, as it is and smoothed, with what it has of dots, values that are not finite, and its best step.
  curve(line, drawable, whole) {
    const smooth = line.smooth((whole[1] - whole[0]) / line.factor);
    line.smoothed = smooth;
    const place = (at, value) => [this.x(at * line.factor), this.y(value)];
    const points = line.x.flatMap((at, i) => (drawable(line.y[i]) ? [place(at, line.y[i])] : []));
    const style = { class: `line c${line.color}`, "stroke-dasharray": DASHES[line.dash] };
    const parts = [svg("path", { ...style, d: this.path(line, drawable, place), ...(smooth && { class: `${style.class} faint` }) })];
    if (smooth) parts.push(svg("path", { ...style, d: this.path(smooth, drawable, place) }));
    if (points.length * APART < this.plot.clientWidth && !smooth) parts.push(...dots(points, 2.5, `dot c${line.color}`));
    line.y.forEach((value, i) => {
      if (typeof value !== "string") return;
      const mark = svg("text", { x: this.x(line.x[i] * line.factor).toFixed(1), y: MARGIN.top, class: "broken" }, "×");
      mark.append(svg("title", {}, `${line.label}: ${value} at step ${line.x[i]}`));
      parts.push(mark);
    });
    const best = line.best === null ? -1 : line.x.lastIndexOf(line.best);
    if (best >= 0 && drawable(line.y[best])) {
      const [circle] = dots([place(line.best, line.y[best])], 5.5, `best c${line.color}`);
      circle.append(svg("title", {}, `best: ${short(line.y[best])} at step ${line.best}`));
      parts.push(circle);
    }
    return parts;
  }

  path({ x, y }, drawable, place) {
    let isDown = false;
    return x.map((at, i) => {
      if (!drawable(y[i])) return (isDown = false) || "";
      const [across, up] = place(at, y[i]);
      const pen = isDown ? "L" : "M";
      isDown = true;
      return `${pen}${across.toFixed(1)} ${up.toFixed(1)}`;
    }).join("");
  }

  // Where one run saved, and where it went on after a stop.
  marks(bottom) {
    if (several) return [];
    const [run] = data.runs;
    const factor = view.unit === "epoch" ? run.epochs : 1;
    return run.marks.map(([what, step]) => {
      const at = this.x(step * factor);
      const shape = what === "checkpoint"
        ? svg("path", { d: `M${at - 4} ${bottom}h8l-4 -7z`, class: "checkpoint" })
        : svg("line", { x1: at, x2: at, y1: MARGIN.top, y2: bottom, class: "resumed" });
      shape.append(svg("title", {}, `${what} at step ${step}`));
      return shape;
    });
  }

  // The pointer is over the chart: the values there, and while it is pressed the span that is chosen.
  point(event) {
    const box = this.plot.getBoundingClientRect();
    const [across, down] = [event.clientX - box.left, event.clientY - box.top];
    const [low, high] = this.x.ends;
    const at = Math.min(high, Math.max(low, this.x.value(across)));
    if (this.start !== undefined) {
      const [from, to] = [this.start, at].map(this.x).sort((a, b) => a - b);
      for (const [key, value] of Object.entries({ x: from, width: to - from, visibility: "visible" })) this.chosen.setAttribute(key, value);
    }
    const found = this.visible.filter((line) => line.x.length).map((line) => {
      const index = nearest(line.x, at / line.factor);
      const value = line.y[index];
      const far = typeof value === "number" && Number.isFinite(this.y(value)) ? Math.abs(this.y(value) - down) : Infinity;
      return { line, value, step: line.x[index], off: Math.abs(line.x[index] * line.factor - at), far };
    });
    if (!found.length) return cross(null);
    const { line, step } = found.reduce((one, other) => (other.off < one.off ? other : one));
    cross(step * line.factor);
    this.tell(found, line, step, across);
  }

  tell(found, snapped, step, across) {
    const near = found.reduce((one, other) => (other.far < one.far ? other : one));
    const rows = found.sort((one, other) => one.far - other.far).slice(0, TOLD);
    rows.sort((one, other) => (other.value > one.value ? 1 : other.value < one.value ? -1 : 0));
    const epoch = snapped.run.epochs ? ` · epoch ${short(step * snapped.run.epochs)}` : "";
    const table = element("table");
    for (const { line, value, step: own } of rows) {
      const at = line.smoothed && nearest(line.smoothed.x, own);
      const mean = line.smoothed ? ` (${short(line.smoothed.y[at])})` : "";
      const row = element("tr", several && line === near.line ? { class: "near" } : {},
        element("td", {}, swatch(line)), element("td", {}, line.label),
        element("td", { class: "number" }, short(value) + mean),
        element("td", { class: "own" }, own === step ? "" : `step ${own.toLocaleString("en")}`));
      table.append(row);
    }
    const more = found.length > rows.length ? [element("p", {}, `and ${found.length - rows.length} more`)] : [];
    this.readout.replaceChildren(element("p", {}, `step ${step.toLocaleString("en")}${epoch}`), table, ...more);
    this.readout.hidden = false;
    // A long one would hide the lines that it is of.
    this.readout.style.top = `${this.readout.offsetHeight > HEIGHT / 2 ? HEIGHT + 4 : 6}px`;
    const width = this.plot.clientWidth;
    const beside = across < width / 2 ? across + 18 : across - 18 - this.readout.offsetWidth;
    this.readout.style.left = `${Math.max(0, Math.min(width - this.readout.offsetWidth, beside))}px`;
  }

  press(event) {
    if (event.button !== 0 || event.pointerType === "touch") return;
    this.start = this.x.value(event.clientX - this.plot.getBoundingClientRect().left);
    this.plot.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  release(event) {
    if (this.start === undefined) return;
    const ends = [this.start, this.x.value(event.clientX - this.plot.getBoundingClientRect().left)];
    const [from, to] = ends.map((end) => Math.min(this.x.ends[1], Math.max(this.x.ends[0], end))).sort((a, b) => a - b);
    this.start = undefined;
    this.chosen.setAttribute("visibility", "hidden");
    if (this.x(to) - this.x(from) > 8) zoom([from, to]);
  }
}

// ---- what charts share

// The first and the last step, or epoch, of all curves.
function extent() {
  let [low, high] = [Infinity, -Infinity];
  for (const chart of charts)
    for (const { x, factor } of chart.visible) {
      low = Math.min(low, x[0] * factor);
      high = Math.max(high, x.at(-1) * factor);
    }
  return low > high ? [0, 1] : [low, high];
}

// A line at one place in all charts; null: none, and no values.
function cross(at) {
  for (const chart of charts) {
    if (at === null) chart.readout.hidden = true;
    chart.cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at === null) continue;
    chart.cursor.setAttribute("x1", chart.x(at));
    chart.cursor.setAttribute("x2", chart.x(at));
  }
}

function zoom(span) {
  view.span = span;
  document.getElementById("unzoom").hidden = span === null;
  drawAll();
}

function drawAll() {
  for (const chart of charts) chart.draw();
}

function flip(hidden, key, toggle) {
  const isShown = hidden.delete(key) || !hidden.add(key);
  toggle.setAttribute("aria-pressed", isShown);
}

function addControls(place) {
  const slider = element("input", { type: "range", min: 0, max: 10, step: 0.25, value: 0, id: "smoothing" });
  const said = element("output", {}, "off");
  slider.addEventListener("input", () => {
    view.smoothing = Number(slider.value);
    said.textContent = view.smoothing ? `over ${view.smoothing} % of the steps` : "off";
    drawAll();
  });
  const noisy = charts.some((chart) => chart.lines.some((line) => line.isNoisy && line.rows > 2));
  if (noisy) place.append(element("label", {}, "smoothing ", slider, said));
  if (data.runs.every((run) => run.epochs)) {
    const unit = button("by epoch", () => {
      view.unit = view.unit === "step" ? "epoch" : "step";
      unit.setAttribute("aria-pressed", view.unit === "epoch");
      zoom(null);
    }, false);
    place.append(unit);
  }
  const whole = button("whole run", () => zoom(null));
  Object.assign(whole, { id: "unzoom", hidden: true });
  place.append(whole, element("span", { class: "hint" }, "drag over a chart to zoom in"));
  if (several) addLegend(place);
}

// A switch for each run; a second click on a switch shows that run alone.
function addLegend(place) {
  const legend = element("div", { class: "legend" });
  const toggles = data.runs.map((run, index) => {
    if (!run.on) view.hidden.add(index);
    const toggle = button("", () => {
      flip(view.hidden, index, toggle);
      drawAll();
    }, run.on);
    toggle.className = "key";
    toggle.title = `${run.id}: a double click shows it alone`;
    toggle.append(swatch(run), run.label);
    toggle.addEventListener("dblclick", () => show((other) => other === index));
    return toggle;
  });
  const show = (isShown) => {
    toggles.forEach((toggle, index) => {
      view.hidden[isShown(index) ? "delete" : "add"](index);
      toggle.setAttribute("aria-pressed", isShown(index));
    });
    drawAll();
  };
  place.append(button("all", () => show(() => true)), button("none", () => show(() => false)));
  legend.append(...toggles);
  place.append(legend);
}

// ---- a sweep's axes

// The score of each job by the value of one key, with the mean and the deviation of each value.
function drawAxis(figure, axis) {
  const plot = figure.querySelector(".plot") ?? figure.appendChild(element("div", { class: "plot" }));
  const width = plot.clientWidth;
  const isOrdered = axis.kind !== "category";
  const [from, to] = [MARGIN.left, width - MARGIN.right];
  const places = isOrdered ? axis.values : axis.values.map((_, index) => index);
  const x = isOrdered
    ? scale(places[0], places.at(-1), from, to, axis.kind === "log", 0.08)
    : scale(-0.5, places.length - 0.5, from, to);
  const scores = axis.points.map(([, score]) => score);
  const edges = axis.means.flatMap(([, mean, sd]) => [mean - (sd ?? 0), mean + (sd ?? 0)]);
  const y = scale(Math.min(...scores, ...edges), Math.max(...scores, ...edges), HEIGHT - MARGIN.bottom, MARGIN.top, false, 0.08);
  const own = places.map((place, index) => [place, axis.labels[index]]);
  const round = () => (axis.kind === "log" ? logTicks(...x.ends, width / 90) : ticks(...x.ends, width / 90)).map((value) => [value, short(value)]);
  const drawn = svg("svg", { ...box(width), role: "img", "aria-label": figure.dataset.title },
    ...frame(x, y, isOrdered && own.length > 8 ? round() : own, ticks(...y.ends, ROWS), width, ""));
  const middle = axis.means.map(([place, mean]) => [x(place), y(mean)]);
  if (isOrdered) drawn.append(svg("polyline", { points: middle.map((point) => point.join(" ")).join(","), class: "line c0 thin" }));
  for (const [place, mean, sd, count] of axis.means) {
    const parts = sd === null ? [] : [svg("path", { d: `M${x(place)} ${y(mean - sd)}V${y(mean + sd)}`, class: "line c0 bar" })];
    parts.push(svg("path", { d: `M${x(place) - 9} ${y(mean)}h18`, class: "line c0 mean" }));
    const told = sd === null ? short(mean) : `mean ${short(mean)} ± ${short(sd)}, of ${count}`;
    drawn.append(svg("g", {}, svg("title", {}, told), ...parts));
  }
  axis.points.forEach(([place, score, label]) => {
    const [dot] = dots([[x(place), y(score)]], 4, "job");
    dot.append(svg("title", {}, `${label}: ${short(score)}`));
    drawn.append(dot);
  });
  plot.replaceChildren(drawn);
}

// ---- the page

for (const figure of document.querySelectorAll("figure[data-chart]"))
  charts.push(new Chart(figure, data.charts[Number(figure.dataset.chart)]));
const axes = [...document.querySelectorAll("figure[data-axis]")];
const controls = document.getElementById("controls");
if (controls && charts.length) addControls(controls);

let width = 0;
new ResizeObserver(() => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  drawAll();
  for (const figure of axes) drawAxis(figure, data.axes[Number(figure.dataset.axis)]);
}).observe(document.body);
