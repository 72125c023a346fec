// A sheet of paper to draw on, and pictures from elsewhere; what is on the sheet is answered while it changes.

import { ask, field, forget, live, model, say, showCurl, url } from "./page.js";

const canvas = document.getElementById("canvas");
const pen = document.getElementById("pen");
const seen = document.getElementById("seen");
const save = document.getElementById("save");
const paper = canvas.getContext("2d", { willReadFrequently: true });
const INK = "#1f1a17";
const WIDTH = 20;
const STEP = 10; // of an arrow key, in canvas pixels
let file = null; // the picture from elsewhere that is on the sheet; null when it was drawn
let drawn = false;
let last = null; // where the pointer was
let at = [canvas.width / 2, canvas.height / 2]; // where the keyboard's pen is

function wipe() {
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.lineCap = paper.lineJoin = "round";
  paper.strokeStyle = INK;
  paper.lineWidth = WIDTH;
  [file, drawn] = [null, false];
}

function clear() {
  answer.stop();
  wipe();
  forget();
  seen.hidden = save.hidden = true;
  say("", "No picture yet.");
  changed();
}

function line(from, to) {
  if (file) wipe();
  drawn = true;
  paper.beginPath();
  paper.moveTo(...from);
  paper.lineTo(...to);
  paper.stroke();
  changed();
}

/** Shows a picture on the sheet as far as this browser can, and asks about the file as it is. */
async function open(picture, name) {
  wipe();
  const opened = (file = new File([picture], name || "picture.png", { type: picture.type }));
  const bitmap = await createImageBitmap(picture).catch(() => null);
  if (file !== opened) return; // cleared or replaced meanwhile
  if (bitmap) {
    const scale = Math.min(canvas.width / bitmap.width, canvas.height / bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    paper.drawImage(bitmap, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  }
  changed();
}

/** What is on the sheet, as a file. Not toBlob: browsers put that off until they are idle. */
function picture() {
  if (file) return file;
  const bytes = atob(canvas.toDataURL("image/png").split(",")[1]);
  return new File([Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))], "picture.png", { type: "image/png" });
}

function form(content) {
  const body = new FormData();
  body.append(field, content);
  return { body };
}

const answer = live(async (signal) => {
  const content = picture();
  URL.revokeObjectURL(save.href);
  save.href = URL.createObjectURL(content);
  save.download = content.name;
  save.hidden = false;
  showCurl([["-F", `${field}=@${content.name}`]]);
  const response = await fetch(url(`ui/${model}/seen`), { method: "POST", signal, ...form(content) });
  seen.hidden = !response.ok;
  try {
    if (response.ok) show(await response.blob());
    await ask(() => form(content), signal);
  } catch (error) {
    if (!signal.aborted) forget();
    throw error;
  }
});

function show(blob) {
  URL.revokeObjectURL(seen.src);
  seen.src = URL.createObjectURL(blob);
}

function changed() {
  document.getElementById("invitation").hidden = drawn || file !== null;
  if (drawn || file) answer();
}

const place = (event) => {
  const sheet = canvas.getBoundingClientRect();
  return [((event.clientX - sheet.left) * canvas.width) / sheet.width, ((event.clientY - sheet.top) * canvas.height) / sheet.height];
};

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  pen.hidden = true;
  last = place(event);
  line(last, last);
});
canvas.addEventListener("pointermove", (event) => {
  if (!last) return;
  const points = event.getCoalescedEvents?.() ?? [];
  for (const point of points.length ? points : [event]) line(last, (last = place(point)));
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  if (["Delete", "Backspace", "Escape"].includes(event.key)) clear();
  if (!(event.key in ARROWS)) return;
  event.preventDefault();
  const to = at.map((value, axis) => Math.min(Math.max(value + STEP * ARROWS[event.key][axis], WIDTH), canvas.width - WIDTH));
  if (!event.shiftKey) line(at, to);
  at = to;
  showPen();
});
canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && showPen());
canvas.addEventListener("blur", () => (pen.hidden = true));

function showPen() {
  pen.hidden = false;
  pen.style.left = `${(100 * at[0]) / canvas.width}%`;
  pen.style.top = `${(100 * at[1]) / canvas.height}%`;
}

const input = document.getElementById("file");
input.addEventListener("change", () => {
  if (input.files[0]) open(input.files[0], input.files[0].name);
  input.value = ""; // so that the same file may be opened again
});
document.getElementById("clear").addEventListener("click", clear);
document.getElementById("form").addEventListener("submit", (event) => event.preventDefault());
document.querySelector(".examples").addEventListener("click", async (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  open(await (await fetch(link.href)).blob(), link.dataset.name.split("/").pop());
});
for (const kind of ["dragover", "drop", "paste"]) {
  document.addEventListener(kind, (event) => {
    const [dropped] = (event.dataTransfer ?? event.clipboardData)?.files ?? [];
    if (kind !== "paste") event.preventDefault();
    document.getElementById("sheet").classList.toggle("over", kind === "dragover");
    if (kind !== "dragover" && dropped) open(dropped, dropped.name);
  });
}
document.addEventListener("dragleave", () => document.getElementById("sheet").classList.remove("over"));
wipe();
