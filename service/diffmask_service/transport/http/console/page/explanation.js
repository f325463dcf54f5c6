// The explanation of one text: its tokens to press, its heat maps, its verifications.

import { gatesByState } from "./api.js";
import {
  breakable,
  cell,
  element,
  fixed,
  percent,
  printable,
  scrolling,
  shade,
} from "./drawing.js";
import { inWords } from "./predictions.js";

// With more states than this, columns are drawn narrower.
const MANY_STATES = 10;

/** Returns one paragraph for each text, each token a button to press. */
export function tokenStrip({ input, units, scores, onPress }) {
  // Offsets are code points.
  const texts = [input.text, input.text_pair].filter((each) => each !== undefined);
  const segments = texts.map((each) => [...each]);
  const rows = segments.map(() => element("p", { class: "strip" }));
  const done = segments.map(() => 0);
  let present = 0;
  const show = (segment, end) => {
    const between = segments[segment].slice(done[segment], end).join("");
    rows[segment].append(printable(between));
    done[segment] = Math.max(done[segment], end);
  };
  units.texts.forEach((spelled, index) => {
    const isSpecial = units.is_special[index];
    present = isSpecial ? present : units.segments[index];
    // A template's tokens stand before and after a text.
    if (isSpecial && index > 0) show(present, segments[present].length);
    if (!isSpecial) show(present, units.starts[index]);
    const end = isSpecial ? done[present] : units.ends[index];
    const written = segments[present].slice(done[present], end).join("");
    done[present] = Math.max(done[present], end);
    const text = printable(written || spelled);
    rows[present].append(tokenButton({ text, index, isSpecial, score: scores[index], onPress }));
  });
  segments.forEach((each, segment) => show(segment, each.length));
  return rows;
}

function tokenButton({ text, index, isSpecial, score, onPress }) {
  const name = `${text}, score ${fixed(score, 2)}`;
  const button = element(
    "button",
    {
      type: "button",
      class: isSpecial ? "token special" : "token",
      title: `score ${fixed(score, 4)}`,
      "aria-label": name,
      "aria-pressed": "false",
      tabindex: index === 0 ? 0 : -1,
      "data-token": index,
    },
    text,
  );
  button.addEventListener("click", () => onPress(index));
  return shade(button, score);
}

/** Returns the tokens-by-states heat map of the input gates, with the score. */
export function inputMap({ explanation, states, scores, threshold }) {
  const gates = gatesByState(explanation.input_gates);
  const row = (index) => {
    const values = gates.map((each) => each[index]);
    const edge = values.findIndex((value) => value < threshold);
    const note =
      edge < 0
        ? element("td", { class: "note never" }, "kept throughout")
        : element("td", { class: "note" }, printable(states[edge]));
    return [
      cell(scores[index], "score", "score"),
      ...values.map((value, state) => cell(value, states[state], state === edge ? "edge" : "")),
      note,
    ];
  };
  const headings = ["score", ...states, "droppable from"];
  return map({ label: "Input gates", kind: "map", headings, row, explanation, states });
}

/** Returns the tokens-by-states heat map of the hidden gates. */
export function hiddenMap({ explanation, states, threshold }) {
  const gates = gatesByState(explanation.hidden_gates);
  const row = (index) =>
    gates.map((values, state) =>
      cell(values[index], states[state], values[index] >= threshold ? "kept" : ""),
    );
  return map({
    label: "Hidden gates",
    kind: "map hidden",
    headings: states,
    row,
    explanation,
    states,
  });
}

function map({ label, kind, headings, row, explanation, states }) {
  const { units } = explanation;
  const head = element(
    "tr",
    {},
    element("td"),
    ...headings.map((name) => element("th", { scope: "col" }, ...breakable(name))),
  );
  const rows = units.texts.map((text, index) =>
    element(
      "tr",
      { class: units.is_special[index] ? "special" : "", "data-token": index },
      element("th", { scope: "row", title: printable(text) }, printable(text)),
      ...row(index),
    ),
  );
  const wide = states.length > MANY_STATES ? " wide" : "";
  const table = element(
    "table",
    { class: kind + wide },
    element("thead", {}, head),
    element("tbody", {}, ...rows),
  );
  return scrolling(`${label}, tokens by states`, table);
}

/** Returns the explanation of colours and marks. */
export function legend(threshold) {
  const sample = (mark, text) =>
    element("span", {}, element("i", { class: `sample ${mark}` }), text);
  return element(
    "div",
    { class: "legend faint" },
    element("span", {}, "0", element("i", { class: "ramp" }), "1  expected gate value"),
    sample("edge", `droppable from here (input gate under ${threshold})`),
    sample("kept", `state needed (hidden gate ${threshold} or more)`),
  );
}

/** Returns the table of verifications. */
export function verifiedTable(verifications) {
  const headings = ["mask", "tokens kept", "prediction", "from kept tokens", "divergence"];
  const rows = verifications.map((item) =>
    element(
      "tr",
      {},
      element("td", {}, printable(item.state) || "score"),
      element("td", {}, percent(item.kept_share)),
      item.is_agreeing
        ? element("td", {}, "holds")
        : element("td", { class: "warning" }, "changes"),
      element("td", {}, inWords(item.prediction)),
      element("td", {}, `${fixed(item.divergence, 4)} nats`),
    ),
  );
  const head = element(
    "tr",
    {},
    ...headings.map((name) => element("th", { scope: "col" }, name)),
  );
  return scrolling("Verifications", element("table", { class: "plain" }, head, ...rows));
}
