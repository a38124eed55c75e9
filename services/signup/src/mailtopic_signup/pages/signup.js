// The signup page: address → code → confirmed. The running signup survives a reload: its id, and
// nothing else, is kept in the tab's sessionStorage.

import { newIdempotencyKey, readSignup, resendCode, startSignup, verifyCode } from "./api.js";
import { Language } from "./language.js";
import { strings } from "./strings.js";
import {
  asciiDigits,
  clockTime,
  describeAddressProblem,
  describeCodeProblem,
  describeCommon,
  duration,
} from "./words.js";

const RUNNING = "mailtopic.signup";
const POLL_MS = 1_000;
const POLL_SLOWER_MS = 100; // added with every poll
const POLL_MAX_MS = 5_000;
const LONG_CODE_LENGTH = 16; // of the code in further mails of a day

const byId = (id) => document.getElementById(id);
const setting = (name) => Number(document.querySelector(`meta[name="mailtopic-${name}"]`).content);
const CODE_LENGTH = setting("code-length");
const language = new Language(strings, ({ current, tag }) => {
  const digits = strings[current][`digits.${CODE_LENGTH}`];
  const Digits = digits[0].toUpperCase() + digits.slice(1);
  return { digits, Digits, validity: duration(setting("code-ttl-s"), tag) };
});
const steps = ["address", "code", "done"].map((name) => byId(`${name}-step`));

let signup = null; // {id, email, expiresAtMs, resendAfterMs, state, delivery}
let idempotencyKey = newIdempotencyKey();
let pollTimer = 0;
let polls = 0;
let offline = false;
const fieldErrors = new Map(); // field id → () => text, so that a switch of language renews it

const store = {
  get() {
    try {
      return sessionStorage.getItem(RUNNING);
    } catch {
      return null;
    }
  },
  set(id) {
    try {
      if (id) sessionStorage.setItem(RUNNING, id);
      else sessionStorage.removeItem(RUNNING);
    } catch {
      // a reload then starts over, that is all
    }
  },
};

function showStep(name, focus) {
  for (const step of steps) step.hidden = step.id !== `${name}-step`;
  focus?.focus();
}

// ---- errors at a field ----

function showError(field, describe) {
  const input = byId(field);
  fieldErrors.set(field, describe);
  byId(`${field}-error`).textContent = describe();
  input.setAttribute("aria-invalid", "true");
  input.focus();
  input.select();
}

function clearError(field) {
  fieldErrors.delete(field);
  byId(`${field}-error`).textContent = "";
  byId(field).removeAttribute("aria-invalid");
}

// ---- the code step ----

function deliveryWord() {
  if (offline) return "offline";
  if (signup.state === "locked") return "locked";
  if (signup.state === "expired" || Date.now() >= (signup.expiresAtMs ?? Infinity)) return "expired";
  return Object.hasOwn(strings.en, `delivery.${signup.delivery}`) ? signup.delivery : "queued";
}

function renderLead() {
  const lead = byId("on-its-way");
  if (!signup.email) {
    lead.textContent = language.text("onItsWay");
    return;
  }
  const [before, after] = language.text("onItsWayTo", { email: "\0" }).split("\0");
  const address = document.createElement("strong");
  address.textContent = signup.email;
  lead.replaceChildren(before, address, after);
}

function renderDelivery() {
  const word = deliveryWord();
  const line = byId("delivery");
  const text = language.text(`delivery.${word}`);
  line.dataset.state = word;
  if (line.textContent !== text) line.textContent = text; // a status region speaks on every write
}

function renderResend() {
  const waitS = ((signup.resendAfterMs ?? 0) - Date.now()) / 1_000;
  const button = byId("resend");
  button.disabled = waitS > 0;
  button.textContent =
    waitS > 0 ? language.text("resendIn", { time: clockTime(waitS) }) : language.text("resend");
}

function renderCodeStep() {
  if (!signup) return;
  renderLead();
  renderDelivery();
  renderResend();
}

function adopt(answer) {
  signup = {
    ...signup,
    ...answer,
    id: answer.id ?? signup?.id,
    expiresAtMs: answer.expiresAtMs ?? signup?.expiresAtMs ?? null,
    resendAfterMs: answer.resendAfterMs ?? signup?.resendAfterMs ?? null,
  };
  store.set(signup.id);
}

function waitsForNews() {
  return signup.state === "pending" && ["queued", "deferred", "offline"].includes(deliveryWord());
}

function pollSoon() {
  clearTimeout(pollTimer);
  if (!signup || !waitsForNews()) return;
  pollTimer = setTimeout(poll, Math.min(POLL_MAX_MS, POLL_MS + POLL_SLOWER_MS * polls));
  polls += 1;
}

async function poll() {
  const { id } = signup;
  try {
    const answer = await readSignup(id);
    if (signup?.id !== id) return;
    offline = false;
    adopt(answer);
    if (signup.state === "verified") {
      finish();
      return;
    }
  } catch (problem) {
    if (signup?.id !== id) return;
    if (problem.status === 404) {
      restart(problem);
      return;
    }
    offline = true;
  }
  renderCodeStep();
  pollSoon();
}

function tick() {
  if (!signup) return;
  renderResend();
  renderDelivery();
}

function enterCodeStep() {
  polls = 0;
  clearError("code");
  byId("code").value = "";
  renderCodeStep();
  showStep("code", byId("code"));
  pollSoon();
}

function finish() {
  clearTimeout(pollTimer);
  signup = null;
  store.set(null);
  showStep("done", byId("done-title"));
}

/** Back to the first step; `problem` says there why, if there is something to say. */
function restart(problem = null) {
  clearTimeout(pollTimer);
  const email = signup?.email ?? "";
  signup = null;
  offline = false;
  store.set(null);
  idempotencyKey = newIdempotencyKey();
  clearError("email");
  byId("email").value = email;
  showStep("address", byId("email"));
  byId("email").select();
  if (problem) showError("email", () => describeCommon(problem, language));
}

// ---- what the person does ----

/** Runs `action` unless the button's last action still runs; the button keeps its focus. */
async function once(button, action) {
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  try {
    await action();
  } finally {
    button.ariaBusy = null;
  }
}

async function submitAddress() {
  const email = byId("email").value.trim();
  clearError("email");
  if (!email) {
    showError("email", () => language.text("emailMissing"));
    return;
  }
  try {
    const answer = await startSignup(email, language.current, idempotencyKey);
    idempotencyKey = newIdempotencyKey();
    signup = { email };
    adopt(answer);
    enterCodeStep();
  } catch (problem) {
    // After a lost answer the same key is sent again, so that no second code goes out.
    if (problem.status !== 0) idempotencyKey = newIdempotencyKey();
    showError("email", () => describeAddressProblem(problem, language));
  }
}

async function isVerified() {
  try {
    return (await readSignup(signup.id)).state === "verified";
  } catch {
    return false;
  }
}

async function submitCode() {
  const code = byId("code").value;
  clearError("code");
  if (code.length !== CODE_LENGTH && code.length !== LONG_CODE_LENGTH) {
    showError("code", () => language.text("codeIncomplete"));
    return;
  }
  try {
    await verifyCode(signup.id, code);
    finish();
  } catch (problem) {
    if (problem.status === 409 && (await isVerified())) {
      finish(); // the answer to an earlier try was lost
      return;
    }
    showError("code", () => describeCodeProblem(problem, language));
    if (problem.triesLeft === 0 || problem.kind === "locked") signup.state = "locked";
    if (problem.kind === "expired") signup.state = "expired";
    renderDelivery();
  }
}

async function submitResend() {
  clearError("code");
  try {
    const answer = await resendCode(signup.id);
    adopt(answer);
    enterCodeStep();
  } catch (problem) {
    if (problem.retryAfterS !== null) {
      signup.resendAfterMs = Date.now() + problem.retryAfterS * 1_000;
      renderResend();
    }
    showError("code", () => describeCodeProblem(problem, language));
  }
}

function keepDigits() {
  const input = byId("code");
  const digits = asciiDigits(input.value).slice(0, LONG_CODE_LENGTH);
  if (digits !== input.value) input.value = digits; // so a pasted "123 456" is taken
  clearError("code");
}

function offerInbox() {
  const address = document.querySelector('meta[name="mailtopic-inbox"]').content;
  if (!/^https?:\/\//.test(address)) return; // only where the service names one: the devstack does
  byId("inbox-link").href = address;
  byId("inbox").hidden = false;
}

function onSubmit(formId, action) {
  const form = byId(formId);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    once(form.querySelector("button"), action);
  });
}

onSubmit("address-form", submitAddress);
onSubmit("code-form", submitCode);
byId("email").addEventListener("input", () => {
  idempotencyKey = newIdempotencyKey();
  clearError("email");
});
byId("code").addEventListener("input", keepDigits);
byId("resend").addEventListener("click", (event) => once(event.currentTarget, submitResend));
byId("restart").addEventListener("click", () => restart());
byId("again").addEventListener("click", () => restart());
language.onChange(() => {
  idempotencyKey = newIdempotencyKey(); // the language is part of the request
  renderCodeStep();
  for (const [field, describe] of fieldErrors) byId(`${field}-error`).textContent = describe();
});
offerInbox();
setInterval(tick, 250);

const running = store.get();
if (running) {
  signup = { id: running, email: "", state: "pending", delivery: "queued", expiresAtMs: null, resendAfterMs: null };
  enterCodeStep();
  poll();
}
