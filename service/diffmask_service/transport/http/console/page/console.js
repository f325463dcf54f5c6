// The page: which view is open, which model and token are used.

import { Refusal, call, inferenceToken } from "./api.js";
import { element, printable } from "./drawing.js";
import { Trial } from "./trial.js";
import { Watch } from "./watch.js";

const find = (id) => document.getElementById(id);
const views = { "#try": find("try"), "#watch": find("watch") };
const models = new Map();
const trial = new Trial({ onRefusal: askForToken });
const watch = new Watch();

function openView() {
  const open = location.hash in views ? location.hash : "#try";
  for (const [hash, section] of Object.entries(views)) section.hidden = hash !== open;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === open) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  watch.isOpen = open === "#watch";
}

async function loadModels() {
  let reply;
  try {
    reply = await call("ListModels", {});
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.wantsToken) askForToken(error);
    else trial.fail(error);
    return;
  }
  if (reply.models.length === 0) {
    trial.fail(new Refusal("UNAVAILABLE", "No model is loaded yet; reload the page soon."));
  }
  models.clear();
  for (const model of reply.models) {
    const { id, version } = model.identity;
    models.set(`${id}/${version}`, model);
  }
  const options = [...models.keys()].map((name) =>
    element("option", { value: name }, printable(name)),
  );
  find("model").replaceChildren(...options);
  chooseModel();
}

function chooseModel() {
  const model = models.get(find("model").value);
  if (!model) return;
  trial.model = model;
  watch.model = model;
}

function askForToken(refusal) {
  const form = find("access");
  form.hidden = false;
  form.querySelector(".reason").textContent = refusal.message;
  form.elements.token.focus();
}

find("access").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  inferenceToken.value = form.elements.token.value.trim();
  form.reset();
  form.hidden = true;
  loadModels();
});
find("model").addEventListener("change", chooseModel);
window.addEventListener("hashchange", openView);
openView();
loadModels();
