"use strict";
// Samples: search, filters, keyboard, and the marks that show where an answer leaves the reference.
(() => {
  const list = document.getElementById("sample-list");
  if (!list) return;
  const BATCH = 25;
  const MOST_DIFF_CHARACTERS = 8000;
  const search = document.getElementById("sample-search");
  const count = document.getElementById("sample-count");
  const more = document.getElementById("more-samples");
  const chips = [...document.querySelectorAll("[data-outcome-filter]")];
  const tagSelects = [...document.querySelectorAll("[data-tag-filter]")];
  const number = new Intl.NumberFormat("en");
  const samples = [...list.children].map((element) => ({ element, outcome: element.dataset.outcome, tags: null, text: null }));
  let matching = samples;
  let limit = BATCH;

  const searched = (element) => [...element.querySelectorAll("pre, .sample-meta")].map((part) => part.textContent).join("\n");
  const textOf = (sample) => (sample.text ??= searched(sample.element).toLowerCase());
  const tagsOf = (sample) => (sample.tags ??= new Set((sample.element.dataset.tags || "").split("\n")));

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const outcomes = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true").map((chip) => chip.dataset.outcomeFilter);
    const tags = tagSelects.filter((select) => select.value).map((select) => `${select.dataset.tagFilter}=${select.value}`);
    matching = samples.filter(
      (sample) =>
        (!outcomes.length || outcomes.includes(sample.outcome)) &&
        tags.every((tag) => tagsOf(sample).has(tag)) &&
        words.every((word) => textOf(sample).includes(word)),
    );
    limit = BATCH;
    show();
  }

  function show() {
    const visible = new Set(matching.slice(0, limit));
    for (const sample of samples) sample.element.hidden = !visible.has(sample);
    count.textContent = `${number.format(matching.length)} of ${number.format(Number(list.dataset.total))} samples`;
    const left = matching.length - visible.size;
    more.parentElement.hidden = left <= 0;
    more.textContent = `Show ${number.format(Math.min(left, BATCH * 4))} more of ${number.format(left)}`;
  }

  function move(step) {
    const place = matching.findIndex((sample) => sample.element.contains(document.activeElement));
    const next = Math.min(Math.max(place + step, 0), matching.length - 1);
    if (!matching[next]) return;
    if (next >= limit) {
      limit += BATCH;
      show();
    }
    const summary = matching[next].element.querySelector("summary");
    summary.focus({ preventScroll: true });
    summary.scrollIntoView({ block: "nearest" });
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, textarea, [contenteditable]");
    if (event.key === "Escape" && event.target === search) {
      search.value = "";
      filter();
      search.blur();
      return;
    }
    if (event.target === search && (event.key === "ArrowDown" || event.key === "Enter")) {
      event.preventDefault();
      search.blur();
      move(1);
      return;
    }
    if (typing) return;
    const inList = list.contains(event.target);
    if (event.key === "/") search.focus();
    else if (event.key === "j" || (inList && event.key === "ArrowDown")) move(1);
    else if (event.key === "k" || (inList && event.key === "ArrowUp")) move(-1);
    else if (inList && event.key === "Escape") event.target.closest("details.sample").open = false;
    else return;
    event.preventDefault();
  }

  // Words split at punctuation too, and Chinese at every character: JSON and unspaced text differ in small places.
  const pieces = (text) => text.match(/\p{Script=Han}|[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}\s]/gu) ?? [];

  function mark(element, reference) {
    const answer = element.textContent;
    if (answer === reference || answer.length + reference.length > MOST_DIFF_CHARACTERS) return;
    const parts = Diff.diffArrays(pieces(reference), pieces(answer), { timeout: 200 });
    if (!parts) return;
    element.replaceChildren(
      ...parts.map((part) => {
        const text = part.value.join("");
        if (!part.added && !part.removed) return document.createTextNode(text);
        const piece = document.createElement(part.added ? "ins" : "del");
        piece.textContent = text;
        return piece;
      }),
    );
  }

  list.addEventListener(
    "toggle",
    (event) => {
      const sample = event.target;
      if (!sample.open || sample.dataset.marked || !sample.matches(".sample")) return;
      sample.dataset.marked = "yes";
      const known = samples.find((one) => one.element === sample);
      if (known) textOf(known); // the search looks at the answer as given, not at the marked text
      const reference = sample.querySelector("[data-reference]").textContent;
      for (const answer of sample.querySelectorAll("[data-answer]")) mark(answer, reference);
    },
    true,
  );
  search.addEventListener("input", filter);
  for (const select of tagSelects) select.addEventListener("change", filter);
  for (const chip of chips)
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      filter();
    });
  more.addEventListener("click", () => {
    const first = limit;
    limit += BATCH * 4;
    show();
    matching[first]?.element.querySelector("summary").focus();
  });
  document.addEventListener("keydown", onKey);
  show();
  list.dataset.ready = "yes"; // until now the style sheet kept all but the first batch out of the layout
})();

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
    const chart = data.training[Number(figure.dataset.index)];
    const rows = chart.points.map(([seed, name, step, value]) => ({ seed, name, step, value }));
    const best = chart.best.map(([seed, step, value]) => ({ seed, step, value }));
    const seeds = [...new Set(rows.map((row) => row.seed))];
    const color = (row) => `var(--series-${(seeds.indexOf(row.seed) % SERIES) + 1})`;
    const dev = rows.filter((row) => row.name === "dev_loss");
    const train = rows.filter((row) => row.name !== "dev_loss");
    const line = (part, options) =>
      Plot.line(part, { x: "step", y: "value", z: (row) => `${row.seed} ${row.name}`, stroke: color, ...options });
    const plot = Plot.plot({
      width,
      height: 300,
      marginLeft: 48,
      marginRight: 24,
      style: { fontSize: "12px" },
      color: { type: "identity" },
      x: { label: "step", tickFormat: (step) => (Number.isInteger(step) ? step.toLocaleString("en") : "") },
      y: { label: "loss (nats a token)", grid: true, zero: true, nice: true },
      marks: [
        line(train, { strokeWidth: 1.3, strokeOpacity: 0.55 }),
        line(dev, { strokeWidth: 2.2, strokeDasharray: "5 3" }),
        Plot.dot(dev, { x: "step", y: "value", r: 2.5, fill: color }),
        Plot.dot(best, { x: "step", y: "value", r: 7, stroke: color, strokeWidth: 2, fill: "var(--surface)" }),
        Plot.dot(best, { x: "step", y: "value", r: 3, fill: color }),
        Plot.tip(rows, Plot.pointer({ x: "step", y: "value", title: (row) => `seed ${row.seed} · ${row.name.replace("_", " ")}\nstep ${row.step.toLocaleString("en")}: ${row.value.toFixed(3)}` })),
      ],
    });
    const keys = [
      [`<path d="M0 5H26" stroke-width="1.5" ${stroke}/>`, "training loss", "var(--muted)"],
      [`<path d="M0 5H26" stroke-width="2.2" stroke-dasharray="5 3" ${stroke}/>`, "dev loss", "var(--muted)"],
      [`<circle cx="13" cy="5" r="4" stroke-width="1.6" ${stroke}/><circle cx="13" cy="5" r="1.6" fill="currentColor"/>`, "best step, kept", "var(--muted)"],
      ...seeds.map((seed) => ['<rect width="26" height="10" rx="3" fill="currentColor"/>', `seed ${seed}`, color({ seed })]),
    ];
    return [legend(keys), plot];
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

  const draw = { training, serving };
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
