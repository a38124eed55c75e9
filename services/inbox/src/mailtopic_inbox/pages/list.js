// The list of mails as links. A row's address is the mail's id, so that the browser does the opening.

import { moment, people } from "./reader.js";

const PARTS = [["span", "to"], ["time", "when"], ["span", "subject"], ["span", "snippet"]];

function isToday(text) {
  return new Date(text).toDateString() === new Date().toDateString();
}

function newRow(id) {
  const item = document.createElement("li");
  item.dataset.id = id;
  const link = item.appendChild(document.createElement("a"));
  link.className = "row";
  link.href = `#${encodeURIComponent(id)}`;
  for (const [tag, name] of PARTS) {
    const part = link.appendChild(document.createElement(tag));
    part.className = name;
    if (tag === "span") part.dir = "auto";
  }
  return item;
}

export class MailList {
  #list;
  #language;

  constructor(list, language) {
    this.#list = list;
    this.#language = language;
    list.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Rows of mails that stay are kept as they are, so that focus and scroll position stay too. */
  render(mails) {
    const kept = new Map([...this.#list.children].map((item) => [item.dataset.id, item]));
    let place = this.#list.firstElementChild;
    for (const mail of mails) {
      const item = kept.get(mail.ID) ?? newRow(mail.ID);
      kept.delete(mail.ID);
      this.#fill(item, mail);
      if (item === place) place = place.nextElementSibling;
      else this.#list.insertBefore(item, place);
    }
    for (const item of kept.values()) item.remove();
    this.#list.hidden = mails.length === 0;
  }

  /** Marks the row of the opened mail, if it is on this page. */
  mark(id) {
    for (const item of this.#list.children) {
      if (item.dataset.id === id) item.firstElementChild.setAttribute("aria-current", "true");
      else item.firstElementChild.removeAttribute("aria-current");
    }
  }

  /** Focuses a mail's row; false when the page has none. */
  focus(id) {
    const item = [...this.#list.children].find((each) => each.dataset.id === id);
    item?.firstElementChild.focus();
    return Boolean(item);
  }

  #fill(item, mail) {
    const put = (name, text) => {
      item.querySelector(`.${name}`).textContent = text;
    };
    const when = isToday(mail.Created) ? { timeStyle: "medium" } : { dateStyle: "medium" };
    put("to", people(mail.To));
    put("when", moment(mail.Created, this.#language.tag, when));
    item.querySelector(".when").dateTime = mail.Created;
    put("subject", mail.Subject || this.#language.text("noSubject"));
    put("snippet", mail.Snippet ?? "");
  }

  #move(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const next = step && event.target.closest("li")?.[step];
    if (!next) return;
    event.preventDefault();
    next.firstElementChild.focus();
  }
}
