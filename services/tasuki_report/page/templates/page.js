"use strict";
// Draws the charts, again for the night and for paper. What is not open is drawn once it is opened.
(() => {
  const found = JSON.parse(document.getElementById("charts").textContent);
  const night = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const PAPER_WIDTH = 680; // of A4 within its margins, in CSS pixels
  const drawn = new Set();

  const looks = () => ({
    template: found.templates[night.matches && !paper.matches ? "dark" : "light"],
    ...(paper.matches ? { width: PAPER_WIDTH } : { autosize: true }),
  });

  async function draw(place) {
    if (drawn.has(place)) return;
    drawn.add(place);
    const { data, layout } = found.charts[Number(place.dataset.chart)];
    const buttons = [["toImage", "resetScale2d"]];
    const options = { responsive: true, displaylogo: false, modeBarButtons: buttons };
    await Plotly.newPlot(place, data, { ...layout, ...looks() }, options);
  }

  function again() {
    for (const place of drawn) Plotly.relayout(place, { width: null, ...looks() });
  }

  async function drawAll(places) {
    for (const place of places) await draw(place);
  }

  async function start() {
    for (const fold of document.querySelectorAll("details"))
      fold.addEventListener("toggle", () => drawAll(fold.querySelectorAll("[data-chart]")));
    await drawAll(document.querySelectorAll("[data-chart]:not(details:not([open]) *)"));
    night.addEventListener("change", again);
    paper.addEventListener("change", again);
    document.documentElement.dataset.drawn = String(drawn.size);
  }

  start();
})();
