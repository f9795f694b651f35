"use strict";
// Charts: drawn at the width of their figure, in the page's own colours, again whenever the width changes.
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  const SERIES = 5;
  const svg = (markup) => new DOMParser().parseFromString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 26 10" aria-hidden="true">${markup}</svg>`, "image/svg+xml").documentElement;
  const stroke = 'fill="none" stroke="currentColor"';

  function legend(entries) {
    const box = document.createElement("div");
    box.className = "chart-legend";
    for (const [markup, text, color] of entries) {
      const entry = document.createElement("span");
      const swatch = svg(markup);
      swatch.style.color = color;
      entry.append(swatch, text);
      box.append(entry);
    }
    return box;
  }

  function training(figure, width) {
    const panels = data.training[Number(figure.dataset.index)];
    const named = (points) => points.map(([seed, step, value]) => ({ seed, step, value }));
    const seeds = [...new Set(panels.flatMap((panel) => [...panel.train, ...panel.dev]).map(([seed]) => seed))];
    const steps = panels.flatMap((panel) => [...panel.train, ...panel.dev]).map(([, step]) => step);
    const color = (row) => `var(--series-${(seeds.indexOf(row.seed) % SERIES) + 1})`;
    const line = (part, options) => Plot.line(part, { x: "step", y: "value", z: "seed", stroke: color, ...options });
    const told = (rows, kind) => rows.map((row) => ({ ...row, title: `seed ${row.seed} · ${kind}\nstep ${row.step.toLocaleString("en")}: ${row.value.toFixed(3)}` }));
    const plots = panels.map((panel, place) => {
      const [train, dev, best] = [panel.train, panel.dev, panel.best].map(named);
      const measure = panel.measure.replaceAll("_", " ");
      return Plot.plot({
        width,
        height: place === 0 ? 300 : 180,
        marginLeft: 48,
        marginRight: 24,
        style: { fontSize: "12px" },
        color: { type: "identity" },
        x: { label: "step", domain: [Math.min(...steps), Math.max(...steps)], tickFormat: (step) => (Number.isInteger(step) ? step.toLocaleString("en") : "") },
        y: { label: panel.label, grid: true, zero: true, nice: true },
        marks: [
          line(train, { strokeWidth: 1.3, strokeOpacity: 0.55 }),
          line(dev, { strokeWidth: 2.2, strokeDasharray: "5 3" }),
          Plot.dot(dev, { x: "step", y: "value", r: 2.5, fill: color }),
          Plot.dot(best, { x: "step", y: "value", r: 7, stroke: color, strokeWidth: 2, fill: "var(--surface)" }),
          Plot.dot(best, { x: "step", y: "value", r: 3, fill: color }),
          Plot.tip([...told(train, `training ${measure}`), ...told(dev, `dev ${measure}`)], Plot.pointer({ x: "step", y: "value", title: "title" })),
        ],
      });
    });
    const keys = [
      [`<path d="M0 5H26" stroke-width="1.5" ${stroke}/>`, "training", "var(--muted)"],
      [`<path d="M0 5H26" stroke-width="2.2" stroke-dasharray="5 3" ${stroke}/>`, "dev", "var(--muted)"],
      [`<circle cx="13" cy="5" r="4" stroke-width="1.6" ${stroke}/><circle cx="13" cy="5" r="1.6" fill="currentColor"/>`, "best step, kept", "var(--muted)"],
      ...seeds.map((seed) => ['<rect width="26" height="10" rx="3" fill="currentColor"/>', `seed ${seed}`, color({ seed })]),
    ];
    return [legend(keys), ...plots];
  }

  function serving(figure, width) {
    const { metric, better, percent, points } = data.serving;
    const scale = percent ? 100 : 1;
    const rows = points.map((row) => ({ ...row, mean: row.mean * scale, low: row.low === null ? null : row.low * scale, high: row.high === null ? null : row.high * scale }));
    const color = (row) => (row.role === "tuned" ? "var(--tuned)" : "var(--baseline)");
    const plot = Plot.plot({
      width,
      height: 280,
      marginLeft: 48,
      marginRight: 90,
      marginTop: 28,
      style: { fontSize: "12px" },
      color: { type: "identity" },
      x: { label: "tokens for one answer, in and out", zero: true, nice: true },
      y: { label: `${metric}${percent ? " (%)" : ""}, ${better} is better`, grid: true, nice: true },
      marks: [
        Plot.ruleX(rows.filter((row) => row.low !== null && row.high !== null), { x: "tokens", y1: "low", y2: "high", stroke: color, strokeWidth: 3, strokeOpacity: 0.5 }),
        Plot.dot(rows, { x: "tokens", y: "mean", r: 5.5, fill: color, symbol: (row) => (row.role === "tuned" ? "square" : "circle"), stroke: "var(--surface)" }),
        Plot.text(rows, { x: "tokens", y: "mean", text: "system", dx: 10, textAnchor: "start", fill: "var(--ink)", stroke: "var(--surface)", strokeWidth: 4 }),
      ],
    });
    const keys = [
      ['<circle cx="13" cy="5" r="4.5" fill="currentColor"/>', "baseline", "var(--baseline)"],
      ['<rect x="8.5" y=".5" width="9" height="9" fill="currentColor"/>', "tuned", "var(--tuned)"],
    ];
    return [legend(keys), plot];
  }

  function curve(figure, width) {
    const { metric, unit, better, baseline, baseline_mean: before, at_least: margin, points, drawn } = data.curve;
    const scale = unit === "%" ? 100 : 1;
    const scaled = (row) => ({ ...row, mean: row.mean * scale, low: (row.low ?? row.mean) * scale, high: (row.high ?? row.mean) * scale });
    const dots = points.map(scaled);
    const line = drawn.map(scaled);
    const last = Math.max(...dots.map((row) => row.examples));
    const seen = Math.max(...line.map((row) => row.examples).filter((examples) => examples <= last)); // where the forecast begins
    const wanted = before * scale + (better === "higher" ? 1 : -1) * margin * scale;
    const lowest = Math.min(before * scale, wanted, ...dots.map((row) => row.low), ...line.map((row) => row.mean));
    const highest = Math.max(before * scale, wanted, ...dots.map((row) => row.high), ...line.map((row) => row.mean));
    const room = 0.08 * (highest - lowest || 1);
    const level = [{ value: before * scale, text: baseline }, ...(margin ? [{ value: wanted, text: "wanted" }] : [])];
    const right = Math.max(last, ...line.map((row) => row.examples));
    const plot = Plot.plot({
      width,
      height: 330,
      marginBottom: 42,
      marginLeft: 48,
      marginRight: 24,
      marginTop: 28,
      style: { fontSize: "12px" },
      x: { type: "log", label: "training examples", tickFormat: (n) => (/^[125]0*$/.test(String(n)) ? n.toLocaleString("en") : ""), grid: false },
      y: { label: `${metric}${unit ? ` (${unit})` : ""}, ${better} is better`, domain: [lowest - room, highest + room], grid: true },
      marks: [
        Plot.areaY(line, { x: "examples", y1: "low", y2: "high", fill: "var(--tuned)", fillOpacity: 0.13, clip: true }),
        Plot.line(line.filter((row) => row.examples <= last), { x: "examples", y: "mean", stroke: "var(--tuned)", strokeWidth: 2 }),
        Plot.line(line.filter((row) => row.examples >= seen), { x: "examples", y: "mean", stroke: "var(--tuned)", strokeWidth: 2, strokeDasharray: "5 4" }),
        Plot.ruleY(level, { y: "value", stroke: "var(--baseline)", strokeWidth: 1.5, strokeDasharray: (row) => (row.text === "wanted" ? "2 4" : null) }),
        Plot.text(level, { x: () => right, y: "value", text: "text", dy: -7, textAnchor: "end", fill: "var(--muted)", stroke: "var(--surface)", strokeWidth: 4 }),
        Plot.ruleX(dots, { x: "examples", y1: "low", y2: "high", stroke: "var(--tuned)", strokeWidth: 3, strokeOpacity: 0.5 }),
        Plot.dot(dots, { x: "examples", y: "mean", r: 5, fill: "var(--tuned)", stroke: "var(--surface)" }),
        Plot.tip(dots, Plot.pointer({ x: "examples", y: "mean", title: (row) => `${row.examples.toLocaleString("en")} examples\n${row.mean.toFixed(1)} [${row.low.toFixed(1)}, ${row.high.toFixed(1)}]` })),
      ],
    });
    const keys = [
      ['<circle cx="13" cy="5" r="4.5" fill="currentColor"/>', "measured", "var(--tuned)"],
      ...(line.length ? [[`<path d="M0 5H26" stroke-width="2" ${stroke}/>`, "fit", "var(--tuned)"], [`<path d="M0 5H26" stroke-width="2" stroke-dasharray="5 4" ${stroke}/>`, "forecast", "var(--tuned)"]] : []),
      [`<path d="M0 5H26" stroke-width="1.5" ${stroke}/>`, `best baseline, ${baseline}`, "var(--baseline)"],
    ];
    return [legend(keys), plot];
  }

  function sequential(figure, width) {
    const { metric, unit, threshold, peeks, of } = data.sequential;
    const scale = unit === "%" ? 100 : 1;
    const rows = peeks.map((row) => ({ samples: row.samples, difference: row.difference * scale, low: row.low === null ? null : row.low * scale, high: row.high === null ? null : row.high * scale }));
    const bounded = rows.filter((row) => row.low !== null && row.high !== null);
    const plot = Plot.plot({
      width,
      height: 240,
      marginLeft: 48,
      marginRight: 24,
      marginTop: 28,
      style: { fontSize: "12px" },
      x: { label: "holdout samples evaluated", domain: [0, of], tickFormat: (n) => n.toLocaleString("en") },
      y: { label: `difference in ${metric}${unit === "%" ? " (pts)" : unit ? ` (${unit})` : ""}`, grid: true, nice: true },
      marks: [
        Plot.areaY(bounded, { x: "samples", y1: "low", y2: "high", fill: "var(--tuned)", fillOpacity: 0.15 }),
        Plot.ruleY([0], { stroke: "var(--axis)", strokeDasharray: "3 3" }),
        Plot.ruleY([threshold * scale], { stroke: "var(--ink)", strokeWidth: 2 }),
        Plot.line(rows, { x: "samples", y: "difference", stroke: "var(--tuned)", strokeWidth: 2 }),
        Plot.dot(rows, { x: "samples", y: "difference", r: 3, fill: "var(--tuned)" }),
      ],
    });
    const keys = [
      ['<rect width="26" height="10" rx="3" fill="currentColor" fill-opacity=".25"/>', "always-valid interval", "var(--tuned)"],
      [`<path d="M0 5H26" stroke-width="2" ${stroke}/>`, "threshold", "var(--ink)"],
    ];
    return [legend(keys), plot];
  }

  const draw = { training, serving, curve, sequential };
  const redraw = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const width = Math.floor(contentRect.width);
      if (width < 1 || Number(target.dataset.width) === width) continue;
      target.dataset.width = width;
      target.replaceChildren(...draw[target.dataset.chart](target, width));
    }
  });
  for (const figure of document.querySelectorAll("[data-chart]")) redraw.observe(figure);
})();
