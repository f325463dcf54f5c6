// The Prometheus text format, and the arithmetic of counters and histograms.

const LINE = /^(?<name>[a-zA-Z_:][\w:]*)(?:\{(?<labels>.*)\})? (?<value>\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { n: "\n", '"': '"', "\\": "\\" };

/** One reading of /metrics. */
export class Reading {
  /** Parses the text; seconds says when it was read. */
  constructor(text, seconds) {
    this.seconds = seconds;
    this.samples = text
      .split("\n")
      .map((line) => LINE.exec(line))
      .filter(Boolean)
      .map(({ groups }) => ({
        name: groups.name,
        labels: parseLabels(groups.labels ?? ""),
        value: Number(groups.value.replace("Inf", "Infinity")),
      }));
  }

  /** Returns the samples of a name whose labels have these values. */
  find(name, wanted = {}) {
    return this.samples.filter(
      (sample) =>
        sample.name === name &&
        Object.entries(wanted).every(([label, value]) => sample.labels[label] === value),
    );
  }

  /** Returns their sum. */
  sum(name, wanted) {
    return this.find(name, wanted).reduce((total, { value }) => total + value, 0);
  }
}

/** Returns how much a counter grew; all of it where there is no earlier reading. */
export function growth(name, wanted, now, then) {
  const before = then?.sum(name, wanted) ?? 0;
  const after = now.sum(name, wanted);
  // A server that began anew counts from zero.
  return after < before ? after : after - before;
}

/** Returns a quantile of what a histogram saw between two readings; NaN for nothing. */
export function quantile(share, name, wanted, now, then) {
  const buckets = now
    .find(`${name}_bucket`, wanted)
    .map(({ labels }) => ({
      bound: labels.le === "+Inf" ? Infinity : Number(labels.le),
      count: growth(`${name}_bucket`, { ...wanted, le: labels.le }, now, then),
    }))
    .sort((a, b) => a.bound - b.bound);
  const total = buckets.at(-1)?.count ?? 0;
  if (total === 0) return NaN;
  const rank = share * total;
  const index = buckets.findIndex(({ count }) => count >= rank);
  const lower = index > 0 ? buckets[index - 1] : { bound: 0, count: 0 };
  const upper = buckets[index];
  // As Prometheus does: what lies over the last bound is known to be over it, no more.
  if (upper.bound === Infinity) return lower.bound;
  const within = (rank - lower.count) / (upper.count - lower.count);
  return lower.bound + within * (upper.bound - lower.bound);
}

function parseLabels(text) {
  const pairs = [...text.matchAll(LABEL)].map(([, name, value]) => [
    name,
    value.replace(/\\(.)/g, (_, char) => ESCAPED[char] ?? char),
  ]);
  return Object.fromEntries(pairs);
}
