"use strict";
// Makes the headings of every table buttons that sort it; without this the tables are complete, in the study's order.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = Array.from(table.querySelectorAll("thead [data-column]"));
  if (body.rows.length < 2) continue;
  for (const heading of headings) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort(body, Number(heading.dataset.column), descending);
    });
  }
}

function sort(body, column, descending) {
  // A row that follows another, such as a failed run under its method, moves with it.
  const groups = [];
  for (const row of body.rows) {
    if (row.classList.contains("follows") && groups.length) groups[groups.length - 1].push(row);
    else groups.push([row]);
  }
  const keys = new Map(groups.map((group) => [group, key(group[0].cells[column])]));
  groups.sort((first, second) => compare(keys.get(first), keys.get(second), descending));
  body.append(...groups.flat());
}

function key(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  return cell.textContent.trim().toLowerCase();
}

// Numbers before words, and what is missing always last.
function compare(first, second, descending) {
  if (first === "" || second === "") return (first === "") - (second === "");
  const sign = descending ? -1 : 1;
  if (typeof first === "number" && typeof second === "number") return sign * (first - second);
  if (typeof first !== typeof second) return typeof first === "number" ? -1 : 1;
  return sign * first.localeCompare(second, "en", { numeric: true });
}
