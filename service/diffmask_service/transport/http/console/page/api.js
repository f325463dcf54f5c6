// Calls of the server, with the tokens that this tab was given.

const SERVICE = "../diffmask.v1.Explainer/";

/** What the server says instead of an answer. */
export class Refusal extends Error {
  constructor(code, message, seconds) {
    super(seconds === undefined ? message : `${message} (try again in ${seconds} s)`);
    this.code = code;
  }

  /** Whether another token may help. */
  get wantsToken() {
    return this.code === "UNAUTHENTICATED" || this.code === "PERMISSION_DENIED";
  }
}

/** The token of one purpose; it lives as long as the tab. */
export class Token {
  constructor(name) {
    this.key = `diffmask-${name}-token`;
  }

  get headers() {
    const token = sessionStorage.getItem(this.key);
    return token ? { authorization: `Bearer ${token}` } : {};
  }

  set value(token) {
    sessionStorage.setItem(this.key, token);
  }
}

export const inferenceToken = new Token("inference");
export const metricsToken = new Token("metrics");

/** Calls a method of the API; messages are those of explain.proto. */
export async function call(method, message, signal) {
  const reply = await send(SERVICE + method, {
    method: "POST",
    headers: { "content-type": "application/json", ...inferenceToken.headers },
    body: JSON.stringify(message),
    signal,
  });
  const content = await reply.json();
  if (!reply.ok) {
    throw new Refusal(content.code, content.message, content.retry_after_seconds);
  }
  return content;
}

/** Returns what /metrics shows. */
export async function readMetrics() {
  const reply = await send("../metrics", { headers: metricsToken.headers });
  if (reply.status === 401) {
    throw new Refusal("UNAUTHENTICATED", "The metrics ask for a token of their own.");
  }
  if (!reply.ok) {
    throw new Refusal("INTERNAL", `The server answered with status ${reply.status}.`);
  }
  return reply.text();
}

/** Returns the float32 values behind base64, little-endian. */
export function floats(text) {
  const bytes = Uint8Array.from(atob(text ?? ""), (char) => char.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) =>
    view.getFloat32(4 * index, true),
  );
}

/** Returns gates as one array of values for each state. */
export function gatesByState(gates) {
  const values = floats(gates.values);
  const [numStates, numTokens] = gates.shape;
  return Array.from({ length: numStates }, (_, state) =>
    values.subarray(state * numTokens, (state + 1) * numTokens),
  );
}

async function send(path, options) {
  try {
    return await fetch(path, { credentials: "omit", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("UNAVAILABLE", "The server does not answer.");
  }
}
