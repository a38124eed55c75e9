// The signup API as this page uses it. Every failure arrives as a Problem; status 0 means that no
// answer came at all. Server times are turned into this device's time by the Date header.

const REQUEST_TIMEOUT_MS = 15_000;

export class Problem extends Error {
  constructor(status, body = {}, retryAfterS = null) {
    super(body.title ?? `status ${status}`);
    this.status = status;
    this.body = body;
    this.retryAfterS = retryAfterS;
  }

  /** The last word of the problem's type, such as "wrong-code" or "too-soon". */
  get kind() {
    return String(this.body.type ?? "").split(":").pop();
  }

  get triesLeft() {
    return Number.isInteger(this.body.tries_left) ? this.body.tries_left : null;
  }

  /** What the server says about one field: English text or null. */
  wordsFor(field) {
    const errors = Array.isArray(this.body.errors) ? this.body.errors : [];
    return errors.find((error) => error.field === field)?.message || null;
  }
}

function clockSkewMs(response) {
  const serverNow = Date.parse(response.headers.get("date") ?? "");
  const skew = serverNow - Date.now();
  // The Date header has whole seconds; a smaller difference is rounding.
  return Math.abs(skew) > 2_000 ? skew : 0;
}

function localTimeMs(text, skewMs) {
  const time = Date.parse(text ?? "");
  return Number.isNaN(time) ? null : time - skewMs;
}

async function call(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body ? { "content-type": "application/json", ...headers } : headers,
      body: body ? JSON.stringify(body) : undefined,
      cache: "no-store",
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
  } catch {
    throw new Problem(0);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const retryAfterS = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
    throw new Problem(response.status, answer, Number.isNaN(retryAfterS) ? null : retryAfterS);
  }
  const skewMs = clockSkewMs(response);
  return {
    id: answer.challenge_id,
    state: answer.state ?? "pending",
    delivery: answer.delivery ?? "queued",
    expiresAtMs: localTimeMs(answer.expires_at, skewMs),
    resendAfterMs: localTimeMs(answer.resend_after, skewMs),
  };
}

const signupPath = (id) => `v1/signups/${encodeURIComponent(id)}`;

export const startSignup = (email, locale, idempotencyKey) =>
  call("POST", "v1/signups", { email, locale }, { "idempotency-key": idempotencyKey });
export const readSignup = (id) => call("GET", signupPath(id));
export const verifyCode = (id, code) => call("POST", `${signupPath(id)}/verify`, { code });
export const resendCode = (id) => call("POST", `${signupPath(id)}/resend`);

/** A key that stays the same while one request is repeated after a lost answer. */
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
