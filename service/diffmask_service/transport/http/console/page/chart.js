// Lines over time, from zero up.

import { drawn, element } from "./drawing.js";

const WIDTH = 320;
const HEIGHT = 96;
const STEPS = [1, 2, 5, 10];

/** Returns a figure of one or more lines.
 *
 * `lines` maps each name to its values, oldest first; NaN leaves a gap. `show` writes a
 * value with its unit, `seconds` says how long ago each value was read.
 */
export function chart({ title, lines, seconds, span, show }) {
  const finite = Object.values(lines).flat().filter(Number.isFinite);
  const top = roundUp(Math.max(0, ...finite));
  const last = Object.entries(lines).map(([name, values]) => [name, values.at(-1)]);
  const said = last.map(([name, value]) => `${name} ${write(value, show)}`.trim());
  const paths = Object.values(lines).map((values, index) =>
    drawn("path", { class: `line line-${index}`, d: path(values, seconds, span, top) }),
  );
  return element(
    "figure",
    { class: "chart" },
    element("figcaption", {}, title),
    drawn(
      "svg",
      {
        viewBox: `0 -4 ${WIDTH} ${HEIGHT + 8}`,
        role: "img",
        "aria-label": `${title}: ${said.join(", ")}`,
      },
      drawn("path", { class: "axis", d: `M0 0H${WIDTH}M0 ${HEIGHT}H${WIDTH}` }),
      drawn("text", { x: 0, y: 12 }, finite.length > 0 ? show(top) : ""),
      drawn("text", { x: 0, y: HEIGHT - 4 }, `${Math.round(span)} s ago`),
      ...paths,
    ),
    element(
      "p",
      { class: "key" },
      ...last.map(([name, value], index) =>
        element(
          "span",
          {},
          element("i", { class: `swatch line-${index}` }),
          name ? `${name} ` : "",
          element("strong", { class: "number" }, write(value, show)),
        ),
      ),
    ),
  );
}

function write(value, show) {
  return Number.isFinite(value) ? show(value) : "–";
}

function path(values, seconds, span, top) {
  let isDown = false;
  return values
    .map((value, index) => {
      const command = isDown ? "L" : "M";
      isDown = Number.isFinite(value);
      if (!isDown) return "";
      const x = WIDTH * (1 - seconds[index] / span);
      const y = HEIGHT * (1 - value / top);
      return `${command}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join("");
}

function roundUp(value) {
  if (value === 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * STEPS.find((step) => step * unit >= value);
}
