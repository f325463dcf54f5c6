// Trying a text: ask, show, hide tokens, verify.

import { Refusal, call, floats } from "./api.js";
import { element, fixed, percent, printable } from "./drawing.js";
import { hiddenMap, inputMap, legend, tokenStrip, verifiedTable } from "./explanation.js";
import { bars, drawBars, headline, inWords } from "./predictions.js";

const GATES = ["GATE_KIND_INPUT", "GATE_KIND_HIDDEN"];
const find = (id) => document.getElementById(id);

export class Trial {
  #model = null;
  #asked = null; // the question whose answer is shown
  #masked = new Set();
  #verifications = [];
  #running = null;
  #onRefusal;

  constructor({ onRefusal }) {
    this.#onRefusal = onRefusal;
    find("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#explain();
    });
    find("ask").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        find("ask").requestSubmit();
      }
    });
    find("strip").addEventListener("keydown", (event) => this.#move(event));
    find("hide-dropped").addEventListener("click", () => this.#hideDropped());
    find("show-all").addEventListener("click", () => this.#mask(new Set()));
    find("verify").addEventListener("click", () => this.#verify());
  }

  /** The model to ask. */
  set model(model) {
    this.#model = model;
    const isQuestion = model.task === "question_answering";
    find("pair").hidden = !model.takes_pairs;
    find("text-pair").required = Boolean(model.takes_pairs);
    find("text-name").textContent = isQuestion ? "Question" : "Text";
    find("pair-name").textContent = isQuestion ? "Context" : "Second text";
    find("mask").replaceChildren(
      element("option", { value: "" }, "the score"),
      ...model.states.map((state) => element("option", { value: state }, printable(state))),
    );
    find("answer").hidden = true;
  }

  /** Shows why there is no answer. */
  fail(error) {
    if (!(error instanceof Refusal)) throw error;
    find("failure").textContent = error.message;
    if (error.wantsToken) this.#onRefusal(error);
  }

  async #explain() {
    if (!this.#model) return;
    const input = { text: find("text").value };
    if (this.#model.takes_pairs) input.text_pair = find("text-pair").value;
    const asked = { model: this.#model, input, truncate: find("truncate").checked };
    const reply = await this.#call(asked, { gates: GATES });
    // An answer to another text must not stand under this one.
    find("answer").hidden = !reply;
    if (reply) this.#show({ ...asked, reply, explanation: reply.explanations[0] });
  }

  async #call(asked, options) {
    // Whatever is asked anew makes the answer that is awaited worthless.
    this.#running?.abort();
    this.#running = new AbortController();
    find("failure").textContent = "";
    try {
      return await call(
        "Explain",
        {
          model: asked.model.identity.id,
          version: asked.model.identity.version,
          inputs: [asked.input],
          options: { truncate: asked.truncate, ...options },
        },
        this.#running.signal,
      );
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
      return null;
    }
  }

  #show(asked) {
    this.#asked = asked;
    this.#masked = new Set();
    this.#verifications = [];
    const { reply, explanation, model } = asked;
    const scores = floats(explanation.scores);
    const threshold = model.hard_mask_threshold;
    const shown = { explanation, states: reply.states, scores, threshold };
    asked.scores = scores;
    this.#showPrediction(explanation.prediction);
    find("cut").hidden = !explanation.is_truncated;
    find("cut").textContent =
      `The text was cut to its first ${explanation.num_tokens} tokens, the most that the` +
      " model takes.";
    find("strip").replaceChildren(
      ...tokenStrip({
        input: asked.input,
        units: explanation.units,
        scores,
        onPress: (index) => this.#toggle(index),
      }),
    );
    find("what-if").textContent = "";
    find("verified").replaceChildren();
    find("input-map").replaceChildren(inputMap(shown));
    find("hidden-map").replaceChildren(hiddenMap(shown));
    find("legend").replaceChildren(legend(threshold));
    find("origin").textContent = origin(reply, explanation);
  }

  #showPrediction(prediction, { before } = {}) {
    const { labels } = this.#asked.model;
    const said = headline(prediction);
    const chance = said.probability === undefined ? "" : percent(said.probability);
    find("verdict").replaceChildren(
      element("strong", {}, said.text),
      element("span", { class: "number" }, chance),
      element("span", { class: "faint" }, `${this.#asked.explanation.num_tokens} tokens`),
    );
    const now = bars(prediction, labels);
    const then = before && bars(before, labels);
    drawBars(find("bars"), now, then?.length === now.length ? then : undefined);
  }

  #toggle(index) {
    const masked = new Set(this.#masked);
    if (!masked.delete(index)) masked.add(index);
    this.#mask(masked);
  }

  #hideDropped() {
    const { scores, model } = this.#asked;
    const dropped = [...scores.keys()].filter((i) => scores[i] < model.hard_mask_threshold);
    this.#mask(new Set(dropped));
  }

  async #mask(masked) {
    this.#masked = masked;
    for (const target of find("answer").querySelectorAll("[data-token]")) {
      const isMasked = masked.has(Number(target.dataset.token));
      if (target.matches("button")) target.setAttribute("aria-pressed", String(isMasked));
      target.classList.toggle("masked", isMasked);
    }
    const before = this.#asked.explanation.prediction;
    if (masked.size === 0) {
      this.#running?.abort();
      this.#showPrediction(before);
      find("what-if").textContent = "";
      return;
    }
    const reply = await this.#call(this.#maskedInput(), {});
    if (!reply) return;
    const { prediction } = reply.explanations[0];
    this.#showPrediction(prediction, { before });
    find("what-if").textContent = this.#comparison(before, prediction);
  }

  #comparison(before, after) {
    const { texts } = this.#asked.explanation.units;
    const names = [...this.#masked].sort((a, b) => a - b).map((i) => printable(texts[i]));
    const hidden = names.length > 4 ? `${names.length} tokens` : names.join(", ");
    return `Without ${hidden}: ${inWords(after)} (${inWords(before)} with every token)`;
  }

  #maskedInput() {
    const input = { ...this.#asked.input, masked_tokens: [...this.#masked] };
    return { ...this.#asked, input };
  }

  async #verify() {
    const state = find("mask").value;
    const reply = await this.#call(this.#maskedInput(), {
      verify: { states: state ? [state] : [] },
    });
    if (!reply) return;
    this.#verifications.push(...reply.explanations[0].verifications);
    find("verified").replaceChildren(verifiedTable(this.#verifications));
  }

  #move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const buttons = [...find("strip").querySelectorAll("button")];
    const index = buttons.indexOf(document.activeElement);
    const ends = { Home: 0, End: buttons.length - 1 };
    const target = buttons[ends[event.key] ?? index + (step ?? NaN)];
    if (!target) return;
    event.preventDefault();
    buttons[index].tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }
}

function origin(reply, explanation) {
  const { id, version, precision } = reply.model;
  const { queue_seconds: waited, infer_seconds: ran } = reply.timings;
  return (
    `${printable(id)}, version ${printable(version)}, ${printable(precision)};` +
    ` ${explanation.num_tokens} tokens, ${fixed(ran, 4)} s in the model after` +
    ` ${fixed(waited, 4)} s in the queue; request ${reply.request_id}`
  );
}
