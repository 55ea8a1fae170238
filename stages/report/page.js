"use strict";
const across = Number(getComputedStyle(document.documentElement).getPropertyValue("--across"));
const say = (text, parent, tag) => {
  const element = parent.appendChild(document.createElement(tag));
  element.textContent = text;
  return element;
};

// Tables whose headings sort them
const value = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent;
  return text === "" || isNaN(text) ? text : Number(text);
};
const order = (a, b) =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));

for (const table of document.querySelectorAll(".sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      const up = was ? was === "descending" : !head.classList.contains("number");
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const [body] = table.tBodies;
      const rows = [...body.rows].map(row => [value(row, column), row]);
      const failed = ([key]) => key === "nan";  // a trial without a result stays last
      rows.sort((a, b) => failed(a) - failed(b) || (up ? 1 : -1) * order(a[0], b[0]));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

// The search's table shows what its filters let through
const filters = [...document.querySelectorAll(".filters select")];
const total = document.getElementById("shown").textContent.replace(/^\S+ of /, "");
const filter = () => {
  let shown = 0;
  for (const row of document.getElementById("trials").tBodies[0].rows) {
    row.hidden = filters.some(
      ({ value, dataset }) => value && row.cells[dataset.column].dataset.value !== value);
    shown += !row.hidden;
  }
  document.getElementById("shown").textContent = `${shown.toLocaleString("en")} of ${total}`;
};
for (const select of filters) select.addEventListener("change", filter);
document.querySelector(".filters").reset();  // a browser that reloads keeps what was chosen

// A cell of the confusion matrix shows its images
const cells = [...document.querySelectorAll("#matrix button")];
const examples = document.getElementById("examples");
const show = cell => {
  const { t, y, first, shown, count } = cell.dataset;
  for (const other of cells) {
    other.setAttribute("aria-pressed", other === cell);
    other.tabIndex = other === cell ? 0 : -1;
  }
  const hit = t === y, part = Number(shown) < Number(count);
  const what = hit ? `${classes[t]}, named rightly` : `${classes[t]} taken for ${classes[y]}`;
  examples.replaceChildren();
  const title = say(`${what}: ${Number(count).toLocaleString("en")} image${count === "1" ? "" : "s"}`, examples, "h3");
  if (part) {
    const which = hit ? "the surest, then the least sure" : "the surest";
    say(` ${shown} of them, ${which}`, title, "small");
  }
  const list = say("", examples, "ul");
  for (let i = Number(first); i < Number(first) + Number(shown); i++) {
    const item = say("", list, "li");
    const tile = say("", item, "span");
    tile.className = "tile";
    tile.setAttribute("role", "img");
    tile.setAttribute("aria-label", `${classes[t]}, said to be ${classes[y]}`);
    tile.style.setProperty("--x", i % across);
    tile.style.setProperty("--y", Math.floor(i / across));
    say(confidence[i], item, "small");
  }
};
const go = (cell, key) => {
  const { t, y } = cell.dataset;
  const [along, fixed] = key === "ArrowLeft" || key === "ArrowRight" ? ["y", "t"] : ["t", "y"];
  const forward = key === "ArrowRight" || key === "ArrowDown";
  const line = cells.filter(other => other.dataset[fixed] === { t, y }[fixed]);
  const place = line.indexOf(cell) + (forward ? 1 : -1);
  (line[place] ?? cell).focus();
};
for (const cell of cells) {
  cell.addEventListener("click", () => show(cell));
  cell.addEventListener("keydown", event => {
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    go(cell, event.key);
  });
}
const errors = cells.filter(({ dataset }) => dataset.t !== dataset.y);
const size = ({ dataset }) => Number(dataset.count);
const most = (errors.length ? errors : cells).reduce((a, b) => size(b) > size(a) ? b : a);
show(most);
