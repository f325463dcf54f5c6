// Elements, numbers and colours, as the page of `diffmask explain --html` has them.

const SVG = "http://www.w3.org/2000/svg";
// Where light ink begins to stand out better than dark ink, in either colour scheme.
const DEEP = 0.58;
// Rounds as Python does, which `toFixed` does not: gates of 0.125 are no rarity.
const FORMATS = [0, 1, 2, 3, 4].map(
  (digits) =>
    new Intl.NumberFormat("en", {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
      roundingMode: "halfEven",
      useGrouping: false,
    }),
);

/** Returns an element; children that are no elements become text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Returns an element of a drawing. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/** Returns a number with so many decimal places. */
export function fixed(value, digits) {
  return FORMATS[digits].format(value);
}

/** Returns a value in [0, 1] in three characters. */
export function number(value) {
  const text = fixed(value, 2);
  return text === "1.00" ? "1.0" : text.slice(1);
}

/** Returns a share in [0, 1] in percent. */
export function percent(value) {
  return `${fixed(100 * value, 1)}%`;
}

/** Gives an element the ground that stands for a value in [0, 1]. */
export function shade(target, value) {
  target.classList.add("shade");
  target.classList.toggle("deep", value > DEEP);
  target.style.setProperty("--p", fixed(value, 4));
  return target;
}

/** Returns a text in which nothing turns the reading order. */
export function printable(text) {
  return text.replace(/\s/gu, " ").replace(/(?![\u200c\u200d])\p{C}/gu, "\ufffd");
}

/** Returns a name of a state that may wrap after a "_". */
export function breakable(name) {
  const [first, ...rest] = printable(name).split("_");
  return [first, ...rest.flatMap((part) => ["_", element("wbr"), part])];
}

/** Returns a table's cell with a value in [0, 1] as colour and number. */
export function cell(value, name, mark = "") {
  const title = `${name}: ${fixed(value, 4)}`;
  const made = element("td", { title, ...(mark && { class: mark }) }, number(value));
  return shade(made, value);
}

/** Returns a table that scrolls by itself when it is too wide. */
export function scrolling(label, table) {
  return element("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
