"use strict";
(() => {
  const root = document.documentElement;
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const system = matchMedia("(prefers-color-scheme: dark)");
  const PRINT_WIDTH = 680;
  let chosen = null;

  // Colours are written as names of CSS variables and looked up in the theme that is shown.
  const painted = (value, look) => {
    if (typeof value === "string") return value.startsWith("--") ? look(value) : value;
    if (Array.isArray(value)) return value.map((item) => painted(item, look));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item, look)]));
    return value;
  };

  const template = (look) => {
    const axis = { gridcolor: look("--grid"), linecolor: look("--grid"), zerolinecolor: look("--grid"), automargin: true,
                   tickcolor: look("--grid"), title: { font: { size: 12 }, standoff: 8 } };
    return { layout: {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis, dragmode: false,
      font: { family: "system-ui, sans-serif", size: 12, color: look("--second") },
      hoverlabel: { bgcolor: look("--surface"), bordercolor: look("--muted"), font: { color: look("--ink") } },
      margin: { l: 8, r: 16, t: 8, b: 8 },
    } };
  };

  const draw = (plot, width) => {
    const styles = getComputedStyle(root);
    const look = (name) => styles.getPropertyValue(name).trim();
    const spec = painted(specs[plot.dataset.figure], look);
    const layout = { ...spec.layout, template: template(look), ...(width ? { width } : { autosize: true }) };
    // Paper does not wait: what is animated into place on a screen (flows are) must be there at once.
    if (width) Plotly.purge(plot);
    const drawn = Plotly.react(plot, spec.data, layout, { displayModeBar: false, responsive: true });
    if (width) for (const flow of plot.querySelectorAll(".sankey-link")) flow.style.opacity = 1;
    return drawn;
  };

  const plots = [...document.querySelectorAll(".plot")];
  const paint = (dark, width) => {
    root.dataset.theme = dark ? "dark" : "light";
    return Promise.all(plots.map((plot) => draw(plot, width)));
  };
  const current = () => (chosen === null ? system.matches : chosen);

  document.getElementById("theme").addEventListener("click", () => { chosen = !current(); paint(chosen); });
  system.addEventListener("change", () => paint(current()));
  addEventListener("beforeprint", () => paint(false, PRINT_WIDTH));
  addEventListener("afterprint", () => paint(current()));

  for (const table of document.querySelectorAll("table")) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => [row.cells[column].dataset.key, row.cells[column].textContent, row]);
      keyed.sort(([a, x], [b, y]) => {
        if (a !== "" && b !== "") return sign * (a - b);
        if (a !== b) return a === "" ? 1 : -1;
        return sign * x.localeCompare(y);
      });
      body.append(...keyed.map(([, , row]) => row));
    }));
  }

  paint(current()).then(() => { root.dataset.ready = "true"; });
})();
