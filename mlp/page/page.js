"use strict";
// What is seen and touched: the picture, the answer, the path to it, and the neurons of layer 1.

const SCALE = 12;   // how many times a pixel of the picture is enlarged, for lines between pixels
const SHOWN = 6;    // neurons a layer in the path
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const network = new Network(data.steps, new Float32Array(bytes(data.weights).buffer));
const [rows, columns] = data.shape, size = rows * columns;
const hidden = network.layers.length - 1;
const dark = matchMedia("(prefers-color-scheme: dark)");
const $$ = id => document.getElementById(id);

let base = new Uint8Array(size);  // the picture as it was chosen
let image = base.slice();         // … with what was drawn on it
let chosen = null;                // the class to explain, or null for the most probable one
let neuron = null;                // the neuron of layer 1 to look at, or null for the strongest one
let cursor = null;                // the pixel that is pointed at
let now, before;                  // what the network makes of image and base

const element = (name, properties = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};
const percent = p => (100 * p).toFixed(1) + " %";
const signed = v => (v < 0 ? "−" : "+") + Math.abs(v).toFixed(2);
const plain = v => (v < 0 ? "−" : "") + Math.abs(v).toFixed(2);
const argmax = values => values.indexOf(Math.max(...values));
const strongest = (values, count) => [...values.keys()]
  .filter(i => values[i] !== 0).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, count);

// --- drawing numbers as images

const grey = v => [v, v, v];
// From blue over the ground's colour to red; v from -1 to 1
function diverging(v) {
  const [middle, end] = dark.matches
    ? [[29, 33, 40], v > 0 ? [255, 122, 98] : [98, 176, 255]]
    : [[247, 247, 247], v > 0 ? [178, 24, 43] : [33, 102, 172]];
  return middle.map((m, i) => m + (end[i] - m) * Math.min(1, Math.abs(v)));
}
function paint(canvas, values, colour) {
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
  for (let i = 0; i < size; i++) pixels.data.set([...colour(values[i]), 255], 4 * i);
  context.putImageData(pixels, 0, 0);
}
function paintSigned(canvas, values) {
  const most = values.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-12);
  paint(canvas, values, v => diverging(v / most));
}
const weightsOf = j => {
  const { W, outputs } = network.layers[0];
  return Float64Array.from({ length: size }, (_, i) => W[i * outputs + j]);
};

// --- the picture

const canvas = $$("picture");
canvas.width = columns * SCALE;
canvas.height = rows * SCALE;

function drawPicture() {
  const context = canvas.getContext("2d");
  for (let i = 0; i < size; i++) {
    context.fillStyle = `rgb(${grey(image[i])})`;
    context.fillRect((i % columns) * SCALE, Math.floor(i / columns) * SCALE, SCALE, SCALE);
  }
  if (cursor !== null) {
    const x = (cursor % columns) * SCALE, y = Math.floor(cursor / columns) * SCALE;
    context.lineWidth = 2;
    for (const [colour, inset] of [["#000", 0], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.strokeRect(x + inset, y + inset, SCALE - 2 * inset, SCALE - 2 * inset);
    }
  }
}

// What the pixel that is pointed at is worth: the answer if it were black, and if it were white
function describePixel() {
  const k = argmax(now.probabilities), p = now.probabilities[k];
  if (cursor === null) { $$("pixel").textContent = "Point at a pixel to see what it is worth."; return; }
  const level = image[cursor], other = level < 128 ? 255 : 0;
  const changed = image.slice();
  changed[cursor] = other;
  const q = network.forward(changed).probabilities[k];
  const row = Math.floor(cursor / columns) + 1, column = cursor % columns + 1;
  const what = Math.abs(q - p) < 0.0005 ? `would stay at ${percent(p)}`
    : `would ${q > p ? "rise" : "fall"} from ${percent(p)} to ${percent(q)}`;
  $$("pixel").textContent = `Row ${row}, column ${column}: brightness ${level}. `
    + `Were it ${other}, ${data.classes[k]} ${what}.`;
}

function brush(level) {
  const reach = Number($$("brush").value);
  const row = Math.floor(cursor / columns), column = cursor % columns;
  for (let r = Math.max(0, row - reach); r <= Math.min(rows - 1, row + reach); r++) {
    for (let c = Math.max(0, column - reach); c <= Math.min(columns - 1, column + reach); c++) {
      image[r * columns + c] = level;
    }
  }
  update();
}
const level = () => Number($$("brightness").value);

function point(event) {
  const box = canvas.getBoundingClientRect();
  const place = (at, length, count) => Math.max(0, Math.min(count - 1, Math.floor(at / length * count)));
  const column = place(event.clientX - box.left - canvas.clientLeft, canvas.clientWidth, columns);
  const row = place(event.clientY - box.top - canvas.clientTop, canvas.clientHeight, rows);
  $$("pixel").setAttribute("aria-live", "off");
  const next = row * columns + column, last = cursor;
  cursor = next;
  if (!(event.buttons & 1)) { drawPicture(); describePixel(); return; }
  const from = event.type === "pointermove" && last !== null ? last : next;
  const [r0, c0] = [Math.floor(from / columns), from % columns];
  const steps = Math.max(Math.abs(row - r0), Math.abs(column - c0), 1);
  for (let s = 1; s <= steps; s++) {  // a quick stroke leaves no gaps
    cursor = Math.round(r0 + (row - r0) * s / steps) * columns + Math.round(c0 + (column - c0) * s / steps);
    brush(level());
  }
}
canvas.addEventListener("pointerdown", event => { canvas.setPointerCapture(event.pointerId); point(event); });
canvas.addEventListener("pointermove", point);
canvas.addEventListener("pointerleave", () => {
  if (document.activeElement !== canvas) cursor = null;
  drawPicture();
  describePixel();
});
canvas.addEventListener("focus", () => { cursor ??= Math.floor(rows / 2) * columns + Math.floor(columns / 2); drawPicture(); describePixel(); });
canvas.addEventListener("blur", () => { cursor = null; drawPicture(); describePixel(); });
canvas.addEventListener("keydown", event => {
  const row = Math.floor(cursor / columns), column = cursor % columns;
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  $$("pixel").setAttribute("aria-live", "polite");
  if (moves[event.key]) {
    const r = Math.max(0, Math.min(rows - 1, row + moves[event.key][0]));
    const c = Math.max(0, Math.min(columns - 1, column + moves[event.key][1]));
    cursor = r * columns + c;
    drawPicture();
    describePixel();
  } else if (event.key === " ") brush(level());
  else if (event.key === "Delete" || event.key === "Backspace") brush(0);
  else return;
  event.preventDefault();
});

$$("brightness").addEventListener("input", () => { $$("level").value = level(); });
$$("restore").addEventListener("click", () => { image = base.slice(); update(); });
$$("clear").addEventListener("click", () => { show(new Uint8Array(size)); });

function show(pixels) {
  base = pixels;
  image = base.slice();
  chosen = neuron = null;
  $$("message").textContent = "";
  for (const button of $$("samples").children) button.setAttribute("aria-pressed", button.pixels === pixels);
  before = network.forward(base);
  update();
}

async function open(file) {
  let picture;
  try {
    picture = await decode(file);
  } catch {
    $$("message").textContent = `${file.name}: not readable as a picture`;
    return;
  }
  try {
    const { image: made, inverted } =
      imageOf(picture.rgba, picture.width, picture.height, data.shape, $$("invert").value);
    show(made);
    $$("message").textContent = file.name + (inverted ? ": darker than its ground, so negated" : "");
  } catch (error) {
    $$("message").textContent = `${file.name}: ${error.message}`;
  }
}
let opened = null;  // the last file, to be prepared again if `invert` changes
const take = file => { if (file) { opened = file; return open(file); } };
$$("file").addEventListener("change", event => take(event.target.files[0]));
$$("invert").addEventListener("change", () => take(opened));
for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(type, event => {
    event.preventDefault();
    document.body.classList.toggle("dropping", type === "dragenter" || type === "dragover");
    if (type === "drop") take(event.dataTransfer.files[0]);
  });
}

// --- the answer

const bars = data.classes.map((name, k) => {
  const bar = element("i"), mark = element("b", { hidden: true });
  const share = element("span", { className: "percent" }), change = element("span", { className: "change" });
  const button = element("button", { type: "button" },
    element("span", { textContent: name }), element("span", { className: "track" }, bar, mark), share, change);
  button.addEventListener("click", () => { chosen = k; update(); });
  $$("classes").append(element("li", {}, button));
  return { bar, mark, share, change, button };
});

function drawAnswer(k) {
  const edited = image.some((level, i) => level !== base[i]);
  const top = argmax(now.probabilities);
  $$("verdict").textContent = `${data.classes[top]}, ${percent(now.probabilities[top])}`;
  bars.forEach(({ bar, mark, share, change, button }, i) => {
    const p = now.probabilities[i], was = before.probabilities[i], points = 100 * (p - was);
    bar.style.width = `${100 * p}%`;
    mark.hidden = !edited || Math.abs(points) < 0.05;
    mark.style.left = `calc(${100 * was}% - 1px)`;
    share.textContent = percent(p);
    change.textContent = edited && Math.abs(points) >= 0.05
      ? (points < 0 ? "▼ " : "▲ ") + Math.abs(points).toFixed(1) : "";
    button.setAttribute("aria-pressed", i === k);
  });
}

function drawInfluence(k, gradients) {
  const name = data.classes[k];
  paintSigned($$("influence"), gradients[0]);
  $$("influence").setAttribute("aria-label", `The influence of each pixel on the score of ${name}`);
  $$("influence-text").innerHTML = "What a brighter pixel does to the score of <b></b>: "
    + '<b class="plus">red raises it</b>, <b class="minus">blue lowers it</b>. '
    + "Draw where a colour is strong, and the answer moves.";
  $$("influence-text").querySelector("b").textContent = name;
}

// --- the path

const SVG = "http://www.w3.org/2000/svg";
const svg = (name, attributes = {}, text = "") => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
};
const colourOf = v => (v > 0 ? "var(--plus)" : "var(--minus)");
const asUrl = (values, drawn) => {
  const tile = document.createElement("canvas");
  drawn(tile, values);
  return tile.toDataURL();
};

function drawPath(k, gradients) {
  // what counts in a hidden layer: a neuron's value times what the score gains by it
  const top = Array.from({ length: hidden }, (_, l) =>
    strongest(now.x[l + 1].map((v, i) => v * gradients[l + 1][i]), SHOWN));
  const width = Math.max(340, Math.min(1100, $$("graph").clientWidth)), narrow = width < 600;
  const tile = narrow ? 38 : 46, gap = 16, height = SHOWN * (tile + gap) + 40;
  const first = narrow ? tile + 24 : (width - 84) / (hidden + 1);  // where layer 1 begins
  const x = l => l === 0 ? 0 : first + (l - 1) * (width - 84 - first) / hidden;
  const y = (i, count) => 28 + (height - 40) * (i + 0.5) / count;
  const graph = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `The neurons that count most for ${data.classes[k]}; the same in words follows` });
  const edges = svg("g"), nodes = svg("g"), lines = [];
  graph.append(edges, nodes);
  const edge = (x0, y0, x1, y1, value, most) => edges.append(svg("path", { class: "edge",
    d: `M${x0},${y0} C${(x0 + x1) / 2},${y0} ${(x0 + x1) / 2},${y1} ${x1},${y1}`,
    stroke: colourOf(value), "stroke-width": Math.max(0.4, 7 * Math.abs(value) / most) }));

  const middle = y(0, 1), head = (l, text) =>
    nodes.append(svg("text", { x: x(l) + (l % (hidden + 1) ? tile / 2 : 0) + (l > hidden ? 6 : 0), y: 14,
      class: "muted", "text-anchor": l % (hidden + 1) ? "middle" : "start" }, text));
  head(0, "picture");
  nodes.append(svg("image", { x: 0, y: middle - tile / 2, width: tile, height: tile,
    href: asUrl(image, (c, v) => paint(c, v, grey)) }),
  svg("rect", { class: "frame", x: 0, y: middle - tile / 2, width: tile, height: tile }));

  top.forEach((list, l) => {
    head(l + 1, narrow ? `layer ${l + 1}` : `neurons of layer ${l + 1}`);
    const strongestValue = Math.max(...list.map(i => Math.abs(now.x[l + 1][i])), 1e-9);
    list.forEach((i, at) => {
      const cx = x(l + 1), cy = y(at, list.length), value = now.x[l + 1][i];
      if (l === 0) {
        nodes.append(svg("image", { x: cx, y: cy - tile / 2, width: tile, height: tile, href: asUrl(weightsOf(i), paintSigned) }),
          svg("rect", { class: "frame", x: cx, y: cy - tile / 2, width: tile, height: tile }));
        edge(tile, middle, cx, cy, value, 2.2 * strongestValue);
      } else {
        nodes.append(svg("circle", { cx: cx + tile / 2, cy, r: tile / 2.6, fill: "var(--card)", stroke: "var(--muted)" }),
          svg("text", { x: cx + tile / 2, y: cy + 4, "text-anchor": "middle" }, plain(value)));
      }
      nodes.append(svg("text", { x: cx + tile / 2, y: cy + tile / 2 + 11, "text-anchor": "middle", class: "muted" },
        l === 0 ? `${i}: ${plain(value)}` : `${i}`));
    });
  });

  // the links between what is shown, each layer to the next, and the last to the class's score
  for (let l = 1; l <= hidden; l++) {
    const { W, outputs } = network.layers[l];
    const next = l < hidden ? top[l] : [k];
    const links = top[l - 1].flatMap((i, a) => next.map((j, b) => ({ i, j, a, b, value: now.x[l][i] * W[i * outputs + j] })));
    const most = Math.max(...links.map(link => Math.abs(link.value)), 1e-9);
    for (const { i, j, a, b, value } of links) {
      const inset = l === 1 ? 0 : tile / 2 - tile / 2.6;
      const x1 = l < hidden ? x(l + 1) + tile / 2 - tile / 2.6 : x(hidden + 1);
      edge(x(l) + tile - inset, y(a, top[l - 1].length), x1, l < hidden ? y(b, next.length) : middle, value, most);
      lines.push([value, `layer ${l}, neuron ${i}`, l < hidden ? `layer ${l + 1}, neuron ${j}` : `score of ${data.classes[k]}`]);
    }
  }
  head(hidden + 1, "score");
  const last = now.z[hidden][k];
  nodes.append(svg("text", { x: x(hidden + 1) + 6, y: middle - 2, "font-weight": "bold" }, data.classes[k]),
    svg("text", { x: x(hidden + 1) + 6, y: middle + 14 }, plain(last)),
    svg("text", { x: x(hidden + 1) + 6, y: middle + 30 }, `so ${percent(now.probabilities[k])}`));
  $$("graph").replaceChildren(graph);

  const rowsOf = lines.sort((a, b) => Math.abs(b[0]) - Math.abs(a[0])).slice(0, 12).map(([value, from, to]) =>
    element("tr", {}, element("td", { textContent: from }), element("td", { textContent: `${value > 0 ? "adds" : "subtracts"} ${Math.abs(value).toFixed(2)}` }),
      element("td", { textContent: to })));
  $$("words").replaceChildren(element("table", {}, element("tr", {},
    ...["From", "passes on", "to"].map(textContent => element("th", { textContent, scope: "col" }))), ...rowsOf));
  for (const place of document.querySelectorAll(".chosen")) place.textContent = data.classes[k];
}

// --- the neurons of layer 1

const fires = v => v > (network.layers[0].activation === "sigmoid" ? 0.5 : 0);
const tiles = hidden < 1 ? [] : Array.from({ length: network.layers[0].outputs }, (_, j) => {
  const drawn = element("canvas"), bar = element("i");
  const button = element("button", { type: "button", role: "radio" }, drawn, bar);
  button.addEventListener("click", () => { neuron = j; update(); });
  button.addEventListener("keydown", event => {
    const across = getComputedStyle($$("tiles")).gridTemplateColumns.split(" ").length;
    const next = j + ({ ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key] ?? 0);
    if (next === j || !tiles[next]) return;
    event.preventDefault();
    neuron = next;
    update();
    tiles[next].button.focus();
  });
  $$("tiles").append(button);
  return { drawn, bar, button };
});

function drawNeurons() {
  const values = now.x[1], most = Math.max(...values, 1e-9), fired = [...values].filter(fires).length;
  const at = neuron ?? argmax(values);
  $$("fired").textContent = `${fired} of ${values.length} fire at this picture.`;
  tiles.forEach(({ bar, button }, j) => {
    bar.style.width = `${100 * Math.max(0, values[j]) / most}%`;
    button.classList.toggle("silent", !fires(values[j]));
    button.setAttribute("aria-checked", j === at);
    button.setAttribute("aria-label", `Neuron ${j}: ${fires(values[j]) ? plain(values[j]) : "silent"}`);
    button.tabIndex = j === at ? 0 : -1;
  });

  const weights = weightsOf(at), product = weights.map((w, i) => w * now.x[0][i]);
  const total = product.reduce((a, b) => a + b, 0), { b, activation } = network.layers[0];
  $$("neuron-title").textContent = `Neuron ${at}`;
  paintSigned($$("neuron-weights"), weights);
  paint($$("neuron-picture"), image, grey);
  paintSigned($$("neuron-product"), product);
  $$("sum").textContent = `All pixels together ${plain(total)}, and its bias ${signed(b[at])}: ${plain(now.z[0][at])}. `
    + (activation === "relu" ? (values[at] > 0 ? `That is above zero, so it fires with ${plain(values[at])}.`
      : "That is not above zero, so it is silent.")
      : activation ? `Its value is ${plain(values[at])}.` : "");
  const { W, outputs } = network.layers[1];
  const passed = Float64Array.from({ length: outputs }, (_, j) => values[at] * W[at * outputs + j]);
  const called = j => hidden === 1 ? data.classes[j] : `neuron ${j}`;
  const list = strongest(passed, 4).map(j => `${called(j)} (${signed(passed[j])})`);
  $$("outgoing").textContent = list.length
    ? `It passes most on to ${hidden === 1 ? "the scores of" : "layer 2:"} ${list.join(", ")}.` : "It passes nothing on.";
}

// --- all together

function update() {
  now = network.forward(image);
  const k = chosen ?? argmax(now.probabilities), gradients = network.backward(now, k);
  drawPicture();
  describePixel();
  drawAnswer(k);
  drawInfluence(k, gradients);
  if (hidden) { drawPath(k, gradients); drawNeurons(); }
}
function redraw() {
  tiles.forEach(({ drawn }, j) => paintSigned(drawn, weightsOf(j)));
  update();
}
dark.addEventListener("change", redraw);
addEventListener("resize", update);

const sizes = [size, ...network.layers.map(layer => layer.outputs)];
$$("summary").textContent = `A network of ${network.layers.length} layers, ${sizes.join(" → ")}, tells ${data.classes.length} kinds of garments apart.`;
if (!hidden) for (const id of ["path", "neurons"]) $$(id).hidden = true;
data.samples.forEach((text, i) => {
  const pixels = bytes(text), drawn = element("canvas");
  paint(drawn, pixels, grey);
  const button = element("button", { type: "button", "aria-label": `Sample ${i + 1}` }, drawn);
  button.pixels = pixels;
  button.addEventListener("click", () => show(pixels));
  $$("samples").append(button);
});
base = $$("samples").firstChild?.pixels ?? base;
show(base);
redraw();
