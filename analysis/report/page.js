"use strict";
// The list of runs: filters, sorting, and a run's curve, command and settings when it is opened.
(() => {
  const { runs, settings } = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("run-table");
  const form = document.getElementById("filter");
  const search = document.getElementById("text");
  const shown = document.getElementById("shown");
  const facets = [...form.querySelectorAll("select")];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const column = Object.fromEntries(heads.map((head, position) => [head.dataset.column, position]));
  const textOf = (row, name) => row.cells[column[name]].textContent.trim();
  const numberOf = (row) => Number(row.id.slice("run-".length));
  const words = rows.map((row) => `${row.cells[0].title} ${row.textContent}`.toLowerCase());
  let chosen = null; // the numbers of the runs behind a cell of a table, when one was followed

  // ---- elements

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const drawn = (name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.textContent = text;
    return made;
  };

  // ---- filters

  const filter = () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row) => {
      const number = numberOf(row);
      const fits =
        (chosen === null || chosen.has(number)) &&
        wanted.every((word) => words[number].includes(word)) &&
        facets.every((facet) => !facet.value || textOf(row, facet.dataset.facet) === facet.value);
      row.hidden = !fits;
      if (row.nextSibling?.className === "opened") row.nextSibling.hidden = !fits;
      count += fits;
    });
    shown.value = `${count} of ${rows.length} listed runs${chosen ? ", those behind a cell" : ""}`;
  };
  const show = (numbers, facet, value) => {
    form.reset();
    chosen = numbers;
    const select = facets.find((one) => one.dataset.facet === facet);
    if (select) select.value = value;
    filter();
    document.getElementById("runs").scrollIntoView();
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    chosen = null;
    setTimeout(filter); // the fields are empty only after this event
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-runs], a[data-show]");
    if (!link) return;
    event.preventDefault();
    if (link.dataset.runs) show(new Set(link.dataset.runs.split(" ").map(Number)));
    else show(null, ...link.dataset.show.split("="));
  });

  // ---- sorting

  const compare = (name, sign) => (one, other) => {
    const [a, b] = [one, other].map((row) => {
      const cell = row.cells[column[name]];
      return cell.dataset.sort === undefined ? cell.textContent.trim() : Number(cell.dataset.sort);
    });
    if (a === "" || b === "") return (a === "") - (b === ""); // what is missing comes last either way
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  };
  const sort = (head) => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((one) => one.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    rows.sort(compare(head.dataset.column, ascending ? 1 : -1));
    const opened = new Map(rows.map((row) => [row, row.nextSibling?.className === "opened" ? row.nextSibling : null]));
    table.tBodies[0].replaceChildren(...rows.flatMap((row) => [row, opened.get(row)].filter(Boolean)));
  };
  heads.forEach((head) => {
    const button = element("button", { type: "button", textContent: head.textContent });
    button.addEventListener("click", () => sort(head));
    head.setAttribute("aria-sort", "none");
    head.replaceChildren(button);
  });

  // ---- one run

  const curve = ({ epochs, accuracies }) => {
    const [width, height, left, bottom, top] = [420, 170, 46, 26, 12];
    const [first, last] = [epochs[0], epochs[epochs.length - 1]];
    const [low, high] = [Math.min(...accuracies), Math.max(...accuracies)];
    const x = (epoch) => left + ((epoch - first) / (last - first || 1)) * (width - left - 12);
    const y = (value) => height - bottom - ((value - low) / (high - low || 1)) * (height - bottom - top);
    const points = epochs.map((epoch, i) => `${x(epoch).toFixed(1)} ${y(accuracies[i]).toFixed(1)}`);
    const best = accuracies.indexOf(high);
    const label =
      `Test accuracy over epochs ${first} to ${last}: first ${accuracies[0]} %, ` +
      `highest ${high} % at epoch ${epochs[best]}, last ${accuracies[accuracies.length - 1]} %`;
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    svg.append(
      drawn("line", { x1: left, y1: y(low), x2: width, y2: y(low) }),
      drawn("line", { x1: left, y1: y(high), x2: width, y2: y(high) }),
      drawn("path", { d: `M${points.join("L")}` }),
      drawn("circle", { cx: x(epochs[best]), cy: y(high), r: 4 }),
      drawn("text", { x: left - 6, y: y(high) + 4, "text-anchor": "end" }, high),
      drawn("text", { x: left - 6, y: y(low) + 4, "text-anchor": "end" }, high === low ? "" : low),
      drawn("text", { x: left, y: height - 6 }, `epoch ${first}`),
      drawn("text", { x: width - 12, y: height - 6, "text-anchor": "end" }, last),
    );
    return element("div", {}, element("p", { textContent: `${label}.` }), svg);
  };
  const settingsOf = (number) =>
    settings.flatMap(({ key, values, runs: which }) => {
      const value = values[which.length === 1 ? which[0] : which[number]];
      return value === undefined ? [] : [element("li", { textContent: `${key}: ${value}` })];
    });
  const details = (row) => {
    const number = numberOf(row);
    const run = runs[number];
    const reason = row.querySelector(".reason")?.textContent;
    const code = (text) => element("p", { className: "command" }, element("code", { textContent: text }));
    return element(
      "div",
      { className: "details" },
      ...(reason ? [element("p", { className: "reason", textContent: reason })] : []),
      ...(run.curve ? [curve(run.curve)] : [element("p", { textContent: "No epoch is recorded." })]),
      run.command ? code(run.command) : element("p", { textContent: "Its record does not say which command made it." }),
      code(run.path),
      element("ul", { className: "settings" }, ...settingsOf(number)),
    );
  };
  rows.forEach((row) => {
    const head = row.cells[0];
    const button = element("button", { type: "button", textContent: head.textContent });
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      if (open) row.nextSibling.remove();
      else row.after(element("tr", { className: "opened" }, element("td", { colSpan: heads.length }, details(row))));
    });
    head.replaceChildren(button);
  });

  form.hidden = false;
  filter();
})();
