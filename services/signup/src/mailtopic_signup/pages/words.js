// What the API's refusals are called in the page's language.

export function clockTime(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Words for a problem that is about no field in particular. */
export function describeCommon(problem, language) {
  if (problem.status === 0) return language.text("offline");
  if (problem.status === 429 && problem.retryAfterS !== null) {
    return language.text("tooOftenFor", { time: clockTime(problem.retryAfterS) });
  }
  if (problem.status === 429) return language.text("tooOften");
  if (problem.status === 404) return language.text("signupGone");
  return language.text("serverError");
}

export function describeAddressProblem(problem, language) {
  if (problem.status === 422 || problem.status === 400) {
    const said = problem.wordsFor("email");
    // The server's own words are English and more exact than ours.
    return language.current === "en" && said ? said : language.text("emailBad");
  }
  return describeCommon(problem, language);
}

export function describeCodeProblem(problem, language) {
  const left = problem.triesLeft;
  if (left === 0) return language.text("codeLocked");
  if (problem.status === 422 && left !== null) return language.text("codeWrong", { count: left });
  if (problem.status === 422) return language.text("codeWrongPlain");
  if (problem.status === 409) return language.text("codeUsed");
  if (problem.status === 410) return language.text("codeExpired");
  return describeCommon(problem, language);
}
