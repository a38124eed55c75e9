// The inbox server's API (the subset of Mailpit's that MailTopic needs) and its events.

export const PAGE_SIZE = 25;
const REQUEST_TIMEOUT_MS = 15_000;
const POLL_MS = 3_000;

async function call(method, path) {
  const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  const response = await fetch(path, { method, cache: "no-store", signal });
  if (!response.ok) throw Object.assign(new Error(`status ${response.status}`), { status: response.status });
  return response;
}

/** One page of mails, newest first: {total, start, messages}. */
export const listMails = async (start) =>
  (await call("GET", `api/v1/messages?start=${start}&limit=${PAGE_SIZE}`)).json();

/** One mail with its Text and HTML; null when it is not there (any more). */
export async function readMail(id) {
  try {
    return await (await call("GET", `api/v1/message/${encodeURIComponent(id)}`)).json();
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

export const deleteMails = () => call("DELETE", "api/v1/messages");

/**
 * Calls `onNews` when something may have changed, at least once after every (re)connection.
 * Uses the server's events; a server without them is asked every few seconds instead.
 * `onState` gets "live", "connecting" or "polling".
 */
export function watch(onNews, onState) {
  const events = new EventSource("api/v1/events");
  events.addEventListener("open", () => {
    onState("live");
    onNews();
  });
  events.addEventListener("message", onNews);
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CONNECTING) {
      onState("connecting"); // the browser tries again by itself
      return;
    }
    onState("polling");
    onNews();
    setInterval(onNews, POLL_MS);
  });
}
