"use strict";
// Draws the figures of the page, follows light and dark, and moves the maps through the rounds.
const figures = JSON.parse(document.getElementById("figures").textContent);
const plots = [...document.querySelectorAll(".plot")];
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

function template(dark) {
  const ink = dark ? "#d5dae1" : "#2b3441", grid = dark ? "#323b47" : "#e6e9ee", line = dark ? "#56616f" : "#b9c0ca";
  const axis = { title: { font: { size: 13 } }, gridcolor: grid, zerolinecolor: line, linecolor: line, tickcolor: line, showline: true, ticks: "outside", ticklen: 4 };
  return { layout: {
    font: { family: 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif', size: 13, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis,
    hoverlabel: { bgcolor: dark ? "#262e38" : "#ffffff", bordercolor: line, font: { color: ink } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink },
  } };
}

function allRounds(rounds) {
  return rounds[0].groups.map((_, g) => ({
    x: rounds.flatMap((r) => r.groups[g].x),
    y: rounds.flatMap((r) => r.groups[g].y),
    customdata: rounds.flatMap((r) => r.groups[g].customdata),
  }));
}

function showRound(plot, round) {
  // Vehicles are the last traces of a map; a method that had no such round shows none.
  const figure = figures[plot.dataset.figure];
  if (!figure.rounds.length) return;
  const one = figure.rounds.find((r) => r.round === round);
  const groups = round === null ? allRounds(figure.rounds) : one ? one.groups : null;
  const first = figure.data.length - figure.rounds[0].groups.length;
  const nobody = { x: [null], y: [null], customdata: [] };  // keeps the legend, and so the map's size, as it is
  for (let i = first; i < figure.data.length; i++) {
    const group = groups ? groups[i - first] : nobody;
    Object.assign(figure.data[i], group.x.length ? group : nobody);
  }
  Plotly.redraw(plot);
}

for (const plot of plots) {
  const figure = figures[plot.dataset.figure];
  figure.layout.template = template(prefersDark.matches);
  Plotly.newPlot(plot, figure.data, figure.layout, {
    responsive: true, displaylogo: false, toImageButtonOptions: { format: "svg", filename: plot.dataset.name },
    displayModeBar: "hover", modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  });
}

const maps = plots.filter((plot) => figures[plot.dataset.figure].rounds);
const slider = document.getElementById("map-round");
if (slider) {
  const rounds = [...new Set(maps.flatMap((plot) => figures[plot.dataset.figure].rounds.map((r) => r.round)))].sort((a, b) => a - b);
  const show = () => {
    const round = Number(slider.value) === 0 ? null : rounds[Number(slider.value) - 1];
    document.getElementById("map-round-name").textContent = round === null ? "all rounds" : `round ${round}`;
    slider.setAttribute("aria-valuetext", round === null ? "all rounds" : `round ${round}`);
    maps.forEach((plot) => showRound(plot, round));
  };
  slider.max = String(rounds.length);
  slider.addEventListener("input", show);
  show();
}

const recolour = (dark) => plots.forEach((plot) => Plotly.relayout(plot, { template: template(dark) }));
prefersDark.addEventListener("change", (event) => recolour(event.matches));
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  recolour(false);
});
window.addEventListener("afterprint", () => recolour(prefersDark.matches));
