// One opened mail. What a mail says is shown as text only; its HTML lives in a sandboxed frame.

const byId = (id) => document.getElementById(id);

/** "Name <address>" of one or several people, as plain text. */
export function people(list) {
  return [list ?? []]
    .flat()
    .map(({ Name: name, Address: address }) => (name ? `${name} <${address}>` : address))
    .join(", ");
}

export function moment(text, tag, options) {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? "" : new Intl.DateTimeFormat(tag, options).format(date);
}

// The frame's sandbox already stops scripts, forms and pop-ups; this policy also stops everything
// that would leave this host, such as tracking images. A mail's own styles override the plain look.
const FRAME_HEAD = `<!doctype html><html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
  body { margin: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #1d1c1a; overflow-wrap: anywhere; }
  img { max-width: 100%; }
</style></head><body>`;

export class Reader {
  #language;
  #mail = null;
  #open = false;

  constructor(language) {
    this.#language = language;
  }

  close() {
    this.#open = false;
    this.#mail = null;
    byId("mail").hidden = true;
    this.#frame("");
  }

  /** Shows a mail, or says that it is gone when it is null. */
  show(mail) {
    this.#open = true;
    this.#mail = mail;
    byId("letter").hidden = !mail;
    byId("mail").hidden = false;
    byId("html-section").hidden = !mail?.HTML;
    this.#frame(mail?.HTML ? FRAME_HEAD + mail.HTML : "");
    this.translate();
  }

  /** A new frame for every mail: a navigation inside the old one would enter the tab's history. */
  #frame(html) {
    const frame = byId("html").cloneNode();
    frame.srcdoc = html;
    byId("html").replaceWith(frame);
  }

  focus() {
    byId("subject").focus();
  }

  translate() {
    if (!this.#open) return;
    const text = (key) => this.#language.text(key);
    const mail = this.#mail;
    byId("subject").textContent = mail ? mail.Subject || text("noSubject") : text("gone");
    byId("html").title = text("htmlPart");
    if (!mail) return;
    byId("from").textContent = people(mail.From);
    byId("to").textContent = people(mail.To);
    byId("date").textContent = moment(mail.Date, this.#language.tag, {
      dateStyle: "long",
      timeStyle: "medium",
    });
    byId("text").textContent = mail.Text?.trimEnd() || text("noText");
  }
}
