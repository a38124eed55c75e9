// What the API's refusals are called in the page's language.

/** "0:42", "12:05", "23:59:00". */
export function clockTime(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const parts = [Math.floor(whole / 3_600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
}

/** "10 minutes", "24 hours", "90 seconds": the largest unit of which it is a whole number. */
export function duration(seconds, tag) {
  const units = [["hour", 3_600], ["minute", 60], ["second", 1]];
  const [unit, length] = units.find(([, each]) => seconds % each === 0);
  const style = { style: "unit", unit, unitDisplay: "long" };
  return new Intl.NumberFormat(tag, style).format(seconds / length);
}

/** A text's decimal digits, whatever script they are in, as ASCII: "١٢ ३" is "123". */
export function asciiDigits(text) {
  const digits = Array.from(text).filter((character) => /\p{Nd}/u.test(character));
  return digits.map((digit) => digitValue(digit.codePointAt(0))).join("");
}

// Unicode has the digits of each script in a row, from 0 to 9.
function digitValue(codePoint) {
  let before = 0;
  while (/\p{Nd}/u.test(String.fromCodePoint(codePoint - before - 1))) before += 1;
  return before % 10;
}

function waiting(problem, language, keyWithTime, keyWithout) {
  if (problem.retryAfterS === null) return language.text(keyWithout);
  return language.text(keyWithTime, { time: clockTime(problem.retryAfterS) });
}

/** Words for a problem that is about no field in particular. */
export function describeCommon(problem, language) {
  if (problem.status === 0) return language.text("offline");
  if (problem.status === 404) return language.text("signupGone");
  if (problem.status === 429) return waiting(problem, language, "tooOftenFor", "tooOften");
  return language.text("serverError");
}

export function describeAddressProblem(problem, language) {
  if (problem.status !== 422) return describeCommon(problem, language);
  const said = problem.wordsFor("email");
  // The server's own words are English, and more exact than ours.
  if (language.current !== "en" || !said) return language.text("emailBad");
  return `${said[0].toUpperCase()}${said.slice(1).replace(/\.$/, "")}.`;
}

export function describeCodeProblem(problem, language) {
  const left = problem.triesLeft;
  if (left === 0) return language.text("codeLocked");
  if (left !== null) return language.text("codeWrong", { count: left });
  if (problem.kind === "locked") return language.text("codeLocked");
  if (problem.kind === "new-code-needed") return language.text("codeNeeded");
  if (problem.kind === "already-verified") return language.text("codeUsed");
  if (problem.kind === "expired") return language.text("codeExpired");
  return describeCommon(problem, language);
}
