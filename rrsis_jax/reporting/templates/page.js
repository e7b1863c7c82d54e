"use strict";
// Filters live in the address (#category=road&least=0.5), so that a view can be linked.
const form = document.querySelector("#filters");
const samples = [...document.querySelectorAll("[data-sample]")];

function matches(data) {
  const wanted = new FormData(form);
  const same = ["category", "form", "size"].every(
    (name) => !wanted.get(name) || wanted.get(name) === data[name]);
  const words = wanted.get("phrase").trim().toLowerCase();
  const iou = Number(data.iou);
  return same && data.phrase.toLowerCase().includes(words)
    && (wanted.get("least") === "" || iou >= Number(wanted.get("least")))
    && (wanted.get("most") === "" || iou <= Number(wanted.get("most")));
}

function apply() {
  for (const sample of samples) sample.hidden = !matches(sample.dataset);
  for (const section of document.querySelectorAll("[data-section]")) {
    const shown = section.querySelectorAll("[data-sample]:not([hidden])").length;
    section.querySelector("[data-none]").hidden = shown > 0;
  }
  const rows = document.querySelectorAll("tr[data-sample]");
  const shown = [...rows].filter((row) => !row.hidden).length;
  document.querySelector("#shown").textContent = `${shown} of ${rows.length} samples match.`;
}

function toAddress() {
  const set = [...new FormData(form)].filter(([, value]) => value !== "");
  const hash = new URLSearchParams(set).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

function fromAddress() {
  const filters = new URLSearchParams(location.hash.slice(1));
  for (const field of form.elements) if (field.name) field.value = filters.get(field.name) ?? "";
  apply();
}

function sortBy(header) {
  const body = header.closest("table").tBodies[0];
  const column = header.cellIndex;
  const down = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const numeric = header.classList.contains("number");
  const rows = [...body.rows].sort((a, b) => numeric
    ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b)));
  body.append(...(down ? rows.reverse() : rows));
}

for (const change of ["input", "change"]) {
  form.addEventListener(change, () => { toAddress(); apply(); });
}
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(() => { toAddress(); apply(); }));
window.addEventListener("hashchange", fromAddress);
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}
fromAddress();
