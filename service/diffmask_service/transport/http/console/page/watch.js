// Watching the server: what /metrics shows, over the last minutes.

import { Refusal, metricsToken, readMetrics } from "./api.js";
import { chart } from "./chart.js";
import { breakable, cell, element, fixed, printable, scrolling, shade } from "./drawing.js";
import { Reading, growth, quantile } from "./prometheus.js";

const PERIOD_SECONDS = 2;
const SPAN_SECONDS = 300;
const MIN_SPAN_SECONDS = 60;
// Rates and quantiles are those of the last readings, not of the last alone.
const SMOOTHING = 5;
const KINDS = ["input", "hidden"];
const SHARES = {
  "gates kept": "diffmask_gate_kept_tokens_total",
  "mean gate": "diffmask_gate_openness_total",
};
const find = (id) => document.getElementById(id);
const two = (value) => String(Number(value.toPrecision(2)));

export class Watch {
  #readings = [];
  #model = null;
  #isOpen = false;
  #isPaused = false;
  #timer = null;

  constructor() {
    find("pause").addEventListener("click", ({ target }) => {
      this.#isPaused = !this.#isPaused;
      target.setAttribute("aria-pressed", String(this.#isPaused));
      this.#read();
    });
    find("window").addEventListener("change", () => this.#draw());
    find("metrics-access").addEventListener("submit", (event) => {
      event.preventDefault();
      metricsToken.value = event.target.elements.token.value.trim();
      event.target.reset();
      event.target.hidden = true;
      this.#read();
    });
    document.addEventListener("visibilitychange", () => this.#read());
  }

  /** Whether anybody looks. */
  set isOpen(isOpen) {
    this.#isOpen = isOpen;
    this.#read();
  }

  /** The model to watch. */
  set model(model) {
    this.#model = model;
    this.#draw();
  }

  async #read() {
    clearTimeout(this.#timer);
    if (!this.#isOpen || this.#isPaused || document.hidden) return;
    try {
      const text = await readMetrics();
      this.#readings.push(new Reading(text, performance.now() / 1000));
      find("watch-failure").textContent = "";
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.wantsToken) return this.#askForToken(error);
      find("watch-failure").textContent = error.message;
    }
    const oldest = performance.now() / 1000 - SPAN_SECONDS;
    this.#readings = this.#readings.filter(({ seconds }) => seconds >= oldest);
    this.#draw();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#read(), 1000 * PERIOD_SECONDS);
  }

  #askForToken(refusal) {
    const form = find("metrics-access");
    form.hidden = false;
    form.querySelector(".reason").textContent = refusal.message;
    form.elements.token.focus();
  }

  get #labels() {
    const { id: model, version } = this.#model.identity;
    return { model, version };
  }

  #draw() {
    if (!this.#model || this.#readings.length === 0) return;
    find("charts").replaceChildren(...this.#charts());
    find("sparsity").replaceChildren(this.#sparsity());
    find("drift").replaceChildren(this.#drift());
  }

  #charts() {
    const labels = this.#labels;
    const readings = this.#readings;
    const now = readings.at(-1).seconds;
    const seconds = readings.map((reading) => now - reading.seconds);
    const frame = { seconds, span: Math.max(MIN_SPAN_SECONDS, seconds[0]) };
    const each = (figure) =>
      readings.map((reading, index) => {
        const then = readings[Math.max(0, index - SMOOTHING)];
        return index === 0 ? NaN : figure(reading, then);
      });
    const rate = (name, wanted = {}) =>
      each(
        (reading, then) =>
          growth(name, { ...labels, ...wanted }, reading, then) / (reading.seconds - then.seconds),
      );
    const latency = (share) =>
      each((reading, then) =>
        quantile(share, "diffmask_request_duration_seconds", labels, reading, then),
      );
    const level = (name) => readings.map((reading) => reading.sum(name, labels));
    return [
      chart({
        title: "Throughput, texts a second",
        lines: { "": rate("diffmask_texts_total") },
        show: two,
        ...frame,
      }),
      chart({
        title: "Latency of a request",
        lines: { median: latency(0.5), p95: latency(0.95) },
        show: (seconds) => `${two(1000 * seconds)} ms`,
        ...frame,
      }),
      chart({
        title: "In progress, tokens",
        lines: { "": level("diffmask_queue_tokens") },
        show: two,
        ...frame,
      }),
      chart({
        title: "Refused and failed a second",
        lines: {
          refused: rate("diffmask_rejected_requests_total"),
          failed: rate("diffmask_requests_total", { outcome: "failed" }),
        },
        show: two,
        ...frame,
      }),
    ];
  }

  #sparsity() {
    const now = this.#readings.at(-1);
    const isMinute = find("window").value === "minute";
    const then = isMinute
      ? this.#readings.find(({ seconds }) => seconds >= now.seconds - 60)
      : undefined;
    const tokens = "diffmask_gate_tokens_total";
    const states = unique(now.find(tokens, this.#labels), "state");
    const columns = KINDS.flatMap((kind) =>
      Object.entries(SHARES).map(([title, name]) => ({ kind, title, name })),
    );
    const share = (name, wanted) =>
      growth(name, wanted, now, then) / growth(tokens, wanted, now, then);
    const rows = states.map((state) =>
      columns.map(({ kind, name, title }) => {
        const value = share(name, { ...this.#labels, state, kind });
        return Number.isNaN(value) ? element("td", {}, "–") : cell(value, title);
      }),
    );
    const headings = columns.map(({ kind, title }) => `${kind}: ${title}`);
    return stateTable("Sparsity", headings, states, rows);
  }

  #drift() {
    const now = this.#readings.at(-1);
    const name = "diffmask_state_drift_ratio";
    const series = now.find(name, this.#labels);
    if (series.length === 0) {
      return element("p", { class: "faint" }, "The bundle holds no reference to drift from.");
    }
    const texts = now.sum("diffmask_drift_texts", { ...this.#labels, kind: "input" });
    if (texts === 0) {
      const note = "No figures yet: they come once enough texts were explained.";
      return element("p", { class: "faint" }, note);
    }
    const states = unique(series, "state");
    const columns = unique(series, "kind").flatMap((kind) =>
      unique(series, "figure").map((figure) => ({ kind, figure })),
    );
    const rows = states.map((state) =>
      columns.map((wanted) => driftCell(now.sum(name, { ...this.#labels, state, ...wanted }))),
    );
    const headings = columns.map(({ kind, figure }) => `${kind}: ${spell(figure)}`);
    const note = `Shift over what chance explains; above 1 is a shift. It rests on ${texts} texts.`;
    return element(
      "div",
      {},
      element("p", { class: "faint" }, note),
      stateTable("Drift", headings, states, rows),
    );
  }
}

function driftCell(ratio) {
  const isShifted = ratio > 1;
  const made = element("td", { title: `drift ratio: ${fixed(ratio, 4)}` }, fixed(ratio, 2));
  if (isShifted) made.classList.add("shifted");
  return shade(made, Math.min(1, Math.max(0, ratio)));
}

function stateTable(label, headings, states, rows) {
  const head = element(
    "tr",
    {},
    element("td"),
    ...headings.map((name) => element("th", { scope: "col" }, name)),
  );
  const body = states.map((state, index) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, ...breakable(state)),
      ...rows[index],
    ),
  );
  const table = element(
    "table",
    { class: "map hidden" },
    element("thead", {}, head),
    element("tbody", {}, ...body),
  );
  return scrolling(`${label} of each state`, table);
}

function spell(name) {
  return printable(name).replaceAll("_", " ");
}

function unique(series, label) {
  return [...new Set(series.map(({ labels }) => labels[label]))];
}
