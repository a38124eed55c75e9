// The inbox page: a list of mails, newest first, that follows the server, and one opened mail whose
// id is the address's #hash, so that links, history and reload work.

import { Language } from "./language.js";
import { MailList } from "./list.js";
import { PAGE_SIZE, deleteMails, listMails, readMail, watch } from "./mailbox.js";
import { Reader, people } from "./reader.js";
import { strings } from "./strings.js";

const byId = (id) => document.getElementById(id);
const language = new Language(strings);
const reader = new Reader(language);
const list = new MailList(byId("mails"), language);

let page = { total: 0, start: 0, messages: [] };
let loaded = false;
let wantedStart = 0;
let channel = "connecting"; // how news come: live, connecting or polling
let away = false; // the last request got no answer
let refreshing = null; // the running refresh, if any
let refreshAgain = false;
let shownId = openedId();

// ---- the list ----

function renderFrame() {
  const { total, start, messages } = page;
  byId("count").textContent = loaded ? String(total) : "";
  byId("delete-all").hidden = total === 0;
  byId("empty").hidden = !loaded || total > 0;
  byId("paging").hidden = total <= PAGE_SIZE;
  byId("newer").disabled = start === 0;
  byId("older").disabled = start + messages.length >= total;
  byId("range").textContent = language.text("range", {
    first: start + 1,
    last: start + messages.length,
    total,
  });
  byId("hint").hidden = total === 0 || openedId() !== "";
  renderChannel();
}

function renderChannel() {
  const word = away ? "away" : channel;
  byId("link-state").dataset.state = word;
  byId("link-state").textContent = language.text(word);
}

function setAway(isAway) {
  away = isAway;
  renderChannel();
}

function announceNews(before) {
  const known = new Set(before.messages.map((mail) => mail.ID));
  const news = page.start === 0 ? page.messages.find((mail) => !known.has(mail.ID)) : null;
  if (!news) return;
  byId("news").textContent = language.text("newMail", { to: people(news.To), subject: news.Subject });
}

async function load() {
  const before = page;
  page = await listMails(wantedStart);
  if (page.messages.length === 0 && page.total > 0) {
    wantedStart = 0; // what was on the wanted page is gone
    page = await listMails(wantedStart);
  }
  away = false;
  if (loaded && page.start === before.start) announceNews(before);
  loaded = true;
  list.render(page.messages);
  list.mark(openedId());
  renderFrame();
}

async function loadUntilQuiet() {
  do {
    refreshAgain = false;
    try {
      await load();
    } catch {
      setAway(true);
    }
  } while (refreshAgain);
  refreshing = null;
}

/** Loads the wanted page; calls that come while a load runs share one more load after it. */
function refresh() {
  if (refreshing) refreshAgain = true;
  refreshing ??= loadUntilQuiet();
  return refreshing;
}

async function turnTo(start) {
  wantedStart = Math.max(0, start);
  await refresh();
  byId("box-title").focus();
  window.scrollTo(0, 0);
}

// ---- the opened mail ----

function openedId() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

async function showOpened() {
  const id = openedId();
  document.body.classList.toggle("reading", id !== "");
  list.mark(id);
  byId("hint").hidden = page.total === 0 || id !== "";
  if (!id) {
    reader.close();
    return;
  }
  try {
    const mail = await readMail(id);
    if (openedId() === id) reader.show(mail); // unless another one was opened meanwhile
  } catch {
    setAway(true);
  }
}

async function followHash() {
  const closedId = shownId;
  shownId = openedId();
  await showOpened();
  if (shownId) reader.focus();
  else if (!list.focus(closedId)) byId("box-title").focus();
}

// ---- what the person does ----

function askToDelete() {
  byId("confirm-text").textContent = language.text("confirmText", { count: page.total });
  byId("confirm").returnValue = "";
  byId("confirm").showModal();
}

async function deleteIfConfirmed() {
  if (byId("confirm").returnValue !== "delete") return;
  try {
    await deleteMails();
  } catch {
    setAway(true);
    return;
  }
  history.pushState(null, "", location.pathname + location.search);
  shownId = "";
  wantedStart = 0;
  await Promise.all([showOpened(), refresh()]);
  byId("news").textContent = language.text("deleted");
  byId("box-title").focus();
}

function showHowToSend() {
  const named = document.querySelector('meta[name="mailtopic-signup"]').content;
  const known = /^https?:\/\//.test(named); // the devstack names its signup page
  const signup = known ? named : "http://127.0.0.1:8080/"; // its default port
  byId("signup-link").href = signup;
  byId("signup-link").hidden = !known;
  byId("command").textContent = [
    "curl -H 'content-type: application/json' \\",
    `  -d '{"email":"you@example.com"}' \\`,
    `  ${signup}v1/signups`,
  ].join("\n");
}

window.addEventListener("hashchange", followHash);
byId("back").addEventListener("click", (event) => {
  event.preventDefault();
  location.hash = "";
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && openedId() && !byId("confirm").open) location.hash = "";
});
byId("newer").addEventListener("click", () => turnTo(page.start - PAGE_SIZE));
byId("older").addEventListener("click", () => turnTo(page.start + PAGE_SIZE));
byId("delete-all").addEventListener("click", askToDelete);
byId("confirm").addEventListener("close", deleteIfConfirmed);
language.onChange(() => {
  list.render(page.messages);
  renderFrame();
  reader.translate();
});

showHowToSend();
renderFrame();
showOpened();
watch(refresh, (state) => {
  channel = state;
  renderChannel();
});
