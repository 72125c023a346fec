// What all pages that try a model share: ask each form the native route, fill its card, keep the verdict and the curl.

const trial = document.getElementById("trial");
export const { root, model, verb, unit, field } = trial.dataset;
const verdict = document.getElementById("verdict");
const PAUSE = 80; // ms in which changes gather
const SHOWN_LABELS = 8;
const cards = [...document.querySelectorAll("#cards .card")];

export const url = (path) => new URL(root + path, location.href).href;

/** A function that has `work(signal)` done soon, and again if it was called meanwhile; its `stop()` forgets about it. */
export function live(work) {
  let [wanted, running, controller] = [false, false, new AbortController()];
  const again = async () => {
    wanted = true;
    if (running) return;
    running = true;
    while (wanted) {
      await new Promise((done) => setTimeout(done, PAUSE));
      wanted = false;
      controller = new AbortController();
      const { signal } = controller;
      await work(signal).catch((error) => signal.aborted || say("Not answered", error.message, true));
    }
    running = false;
  };
  again.stop = () => controller.abort((wanted = false));
  return again;
}

/** Asks one form after another, so that none waits for another's turn. `request()` gives fetch's options. */
export async function ask(request, signal) {
  for (const [place, card] of cards.entries()) {
    const started = performance.now();
    const response = await fetch(url(`${model}/${verb}?form=${card.dataset.form}`), { method: "POST", signal, ...request() });
    const answer = await response.json();
    const took = performance.now() - started;
    if (signal.aborted) return;
    if (!response.ok) throw Object.assign(new Error(answer.error), { status: response.status });
    fill(card, answer, took);
    if (place === 0) say(headline(answer) + (answer.probabilities ? "" : ` ${unit}`), sureness(answer));
  }
}

/** The answer in a line; aria-live reads it out. */
export function say(strong, words, wrong = false) {
  const lines = [["strong", strong], ["span", words]].filter(([, text]) => text).map(([tag, text]) => element(tag, text));
  verdict.replaceChildren(...lines);
  verdict.classList.toggle("wrong", wrong);
}

export function forget() {
  for (const card of cards) fill(card, {}, NaN);
}

/** Shows the command, which is quoted for a shell, and lets it be copied. */
export function showCurl(lines) {
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
  const options = lines.map(([option, value]) => ` \\\n  ${option} ${quoted(value)}`);
  document.getElementById("curl").textContent = `curl ${quoted(url(`${model}/${verb}`))}${options.join("")}`;
}

function fill(card, { model, form, version, ...answer }, took) {
  card.querySelector(".took").textContent = took >= 0 ? `${took.toFixed(1)} ms` : "";
  card.querySelector(".answer").textContent = headline(answer);
  for (const row of card.querySelectorAll(".bars li")) {
    const p = answer.probabilities?.[row.dataset.label];
    row.classList.toggle("best", p !== undefined && row.dataset.label === answer.label);
    row.querySelector("meter").value = p ?? 0;
    row.querySelector("b").textContent = p === undefined ? "" : `${(100 * p).toFixed(1)} %`;
  }
}

function headline(answer) {
  const value = answer.label ?? Object.values(answer)[0] ?? "";
  if (Array.isArray(value) && value.every((one) => one?.label !== undefined && one.score !== undefined)) return labels(value);
  if (typeof value !== "number") return typeof value === "string" ? value : JSON.stringify(value);
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
}

/** What was found, in words: `red 0.98, blue 0.71`. */
function labels(found) {
  const shown = found.slice(0, SHOWN_LABELS).map(({ label, score }) => `${label} ${score.toFixed(2)}`);
  return [...shown, ...(found.length > SHOWN_LABELS ? ["…"] : [])].join(", ") || "nothing";
}

function sureness({ label, probabilities, form }) {
  const p = probabilities?.[label];
  return `${p === undefined ? "" : `${(100 * p).toFixed(1)} % sure, `}says ${form}`;
}

function element(tag, text = "") {
  return Object.assign(document.createElement(tag), { textContent: text });
}

const copy = document.getElementById("copy");
copy.hidden = !navigator.clipboard; // browsers give it to https and localhost only
copy.addEventListener("click", async () => {
  await navigator.clipboard.writeText(document.getElementById("curl").textContent);
  copy.textContent = "Copied";
  setTimeout(() => (copy.textContent = "Copy"), 1500);
});
