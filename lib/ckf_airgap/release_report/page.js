
"use strict";
const search = document.getElementById("search");
const rows = Array.from(document.querySelectorAll("tbody tr"));

// Shows the rows that have every word of the search.
function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    count += row.hidden ? 0 : 1;
  }
  document.getElementById("found").textContent = `${count} of ${rows.length} rows`;
}

function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.number === undefined ? cell.textContent : Number(cell.dataset.number);
}

function compare(first, second) {
  if (typeof first === "number" && typeof second === "number") return first - second;
  return String(first).localeCompare(String(second), "en");
}

function sort(head) {
  const body = head.closest("table").tBodies[0];
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const column = head.cellIndex;
  const sorted = Array.from(body.rows).sort((a, b) => compare(value(a, column), value(b, column)));
  body.append(...(ascending ? sorted : sorted.reverse()));
}

search.addEventListener("input", filter);
for (const head of document.querySelectorAll("thead th")) {
  head.querySelector("button").addEventListener("click", () => sort(head));
}
filter();
