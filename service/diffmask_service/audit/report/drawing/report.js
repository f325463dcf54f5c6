"use strict";
// Without this script the page shows the same: it only sorts and searches tables.
const value = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
};
const compare = (a, b) =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    if (!heading.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
      for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", direction < 0 ? "descending" : "ascending");
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(
        (a, b) => direction * compare(value(a, column), value(b, column))));
    });
  });
}
for (const table of document.querySelectorAll("table.searchable")) {
  const label = document.createElement("label");
  label.className = "search";
  label.append("find");
  const field = document.createElement("input");
  field.type = "search";
  label.append(field);
  table.parentElement.before(label);
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    for (const row of table.tBodies[0].rows)
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
}
