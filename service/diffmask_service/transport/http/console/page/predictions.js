// Predictions of every task in words and in bars.

import { floats } from "./api.js";
import { element, fixed, percent, printable } from "./drawing.js";

/** Returns what the model said, and its probability where it is one. */
export function headline(prediction) {
  const { label_set: set, value, tags, span } = prediction;
  if (set) return { text: printable(set.labels.join(", ")) || "no label" };
  if (value) return { text: String(Number(value.value.toPrecision(4))) };
  if (tags) return { text: printable(tags.labels.join(" ")) };
  if (span) {
    const text = span.no_answer ? "no answer" : printable(span.text);
    return { text, probability: span.probability };
  }
  const probability = prediction.probabilities[prediction.label_index];
  return { text: printable(prediction.label), probability };
}

/** Returns a prediction in one line. */
export function inWords(prediction) {
  const { text, probability } = headline(prediction);
  return probability === undefined ? text : `${text} ${percent(probability)}`;
}

/** Returns name, value and choice of each probability; none where there are not several. */
export function bars(prediction, labels) {
  const { label_set: set, value, tags, span } = prediction;
  if (value || span) return [];
  if (tags) return ofWords(tags);
  const chosen = set ? set.label_indices : [prediction.label_index];
  return (set ?? prediction).probabilities.map((probability, index) => ({
    name: printable(labels[index]),
    value: probability,
    isChosen: chosen.includes(index),
  }));
}

/** Fills a list with bars; a mark stands where each of them was before. */
export function drawBars(list, shown, before) {
  const rows = shown.flatMap(({ name, value, isChosen }, index) => {
    const ink = element("i");
    ink.style.setProperty("--p", fixed(value, 4));
    const track = element("dd", { class: "track" }, ink);
    if (before) {
      const mark = element("b");
      mark.style.setProperty("--p", fixed(before[index].value, 4));
      track.append(mark);
    }
    const chosen = isChosen ? "chosen" : "";
    return [
      element("dt", { class: chosen }, name),
      track,
      element("dd", { class: `number ${chosen}` }, percent(value)),
    ];
  });
  list.replaceChildren(...rows);
}

function ofWords(tags) {
  const values = floats(tags.probabilities);
  const numLabels = values.length / tags.labels.length;
  return tags.labels.map((label, index) => ({
    name: printable(`${tags.words.texts[index]}  ${label}`),
    value: Math.max(...values.subarray(index * numLabels, (index + 1) * numLabels)),
    isChosen: false,
  }));
}
