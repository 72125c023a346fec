// A form of fields that answers while it is changed.

import { ask, forget, live, model, say, showCurl, url } from "./page.js";

const form = document.getElementById("form");
const fields = [...form.querySelectorAll(".field")].map((box) => ({
  box,
  name: box.dataset.name,
  type: box.dataset.type,
  input: box.querySelector("[id^=field-]"),
  slider: box.querySelector(".slider"),
  unknown: box.querySelector(".unknown input"),
}));

/** The form as JSON has it; an empty field is left out, so that the service says what is missing. */
function payload() {
  return Object.fromEntries(fields.map((field) => [field.name, valueOf(field)]).filter(([, value]) => value !== undefined));
}

function valueOf({ type, input, unknown }) {
  if (unknown && (unknown.checked || input.value === "")) return null;
  if (type === "bool") return input.checked;
  if (type === "str") return input.value;
  if (input.value === "") return undefined;
  return type === "choice" ? input.value : Number(input.value);
}

function show(values) {
  for (const { name, type, input, slider, unknown } of fields) {
    const value = values[name];
    if (unknown) unknown.checked = value == null;
    if (type === "bool") input.checked = value === true;
    else if (type === "choice" && value != null) choose(input, value);
    else if (value != null) input.value = value;
    if (slider && value != null) slider.value = value;
  }
  changed();
}

/** Selects a word, or the word of a code. */
function choose(select, value) {
  const named = ({ value: word, dataset }) => word === value || dataset.code === String(value);
  select.selectedIndex = [...select.options].findIndex(named);
}

/** Puts each complaint of the service under the field that it begins with, and the rest into the answer's place. */
function complain(message = "") {
  const complaints = message.split("; ").filter(Boolean);
  for (const { box, name, input } of fields) {
    const mine = complaints.filter((words) => words.startsWith(`${name} is `));
    box.classList.toggle("wrong", mine.length > 0);
    box.querySelector(".error").textContent = mine.join("; ");
    input.toggleAttribute("aria-invalid", mine.length > 0);
  }
}

const answer = live(async (signal) => {
  const body = JSON.stringify(payload());
  try {
    await ask(() => ({ body, headers: { "content-type": "application/json" } }), signal);
    complain();
  } catch (error) {
    if (error.status !== 400) throw error;
    forget();
    complain(error.message);
    say("Something is not right", error.message, true);
  }
});

function changed() {
  for (const { box, input, slider, unknown } of fields) {
    if (!unknown) continue;
    input.disabled = unknown.checked;
    if (slider) slider.disabled = unknown.checked;
    box.classList.toggle("is-unknown", unknown.checked);
  }
  const spaced = JSON.stringify(payload(), null, 1).replaceAll(/\n */g, " ");
  showCurl([["-H", "Content-Type: application/json"], ["-d", spaced]]);
  answer();
}

for (const { input, slider } of fields) {
  if (!slider) continue;
  slider.addEventListener("input", () => (input.value = slider.value));
  input.addEventListener("input", () => (slider.value = input.value));
  const [low, high] = (slider.dataset.usual ?? "").split(" ").map(Number);
  const place = (value) => `${(100 * (value - slider.min)) / (slider.max - slider.min)}%`;
  if (high > low) for (const [name, value] of [["--low", low], ["--high", high]]) slider.style.setProperty(name, place(value));
}

form.addEventListener("input", changed);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  changed();
});
form.querySelector(".examples").addEventListener("click", async (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  show(link.dataset.payload ? JSON.parse(link.dataset.payload) : (await (await fetch(url(`${model}/random`))).json()).payload);
});
changed();
