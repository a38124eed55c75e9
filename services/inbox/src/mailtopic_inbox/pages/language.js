// Which language the page speaks. Both pages hold this same file.
// A choice made with the switch wins over the browser's languages and is remembered.

const REMEMBERED = "mailtopic.language";

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null; // storage may be forbidden; the page works without it
  }
}

function remember(language) {
  try {
    localStorage.setItem(REMEMBERED, language);
  } catch {
    // not remembered, that is all
  }
}

function initialLanguage(strings) {
  const wanted = [remembered(), ...(navigator.languages ?? [])];
  const known = wanted.map((tag) => String(tag).slice(0, 2).toLowerCase());
  return known.find((tag) => Object.hasOwn(strings, tag)) ?? "en";
}

/**
 * The page's texts. `text(key, values)` fills {name} places; a text with plural forms is an object
 * keyed by the plural category of `values.count`. `common(language)` returns the values that every
 * text may hold. `onChange` listeners run after every switch.
 * Elements with data-text="key" and data-label="key" (for aria-label) are kept translated.
 */
export class Language {
  #strings;
  #listeners = [];
  #common;

  constructor(strings, common = () => ({})) {
    this.#strings = strings;
    this.#common = common;
    this.current = initialLanguage(strings);
    for (const button of document.querySelectorAll("[data-language]")) {
      button.addEventListener("click", () => this.choose(button.dataset.language));
    }
    this.#translate();
  }

  /** For dates and numbers: the page's language with the browser's region, such as en-GB. */
  get tag() {
    return (navigator.languages ?? []).find((tag) => tag.startsWith(`${this.current}-`)) ?? this.current;
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  choose(language) {
    this.current = language;
    remember(language);
    this.#translate();
    for (const listener of this.#listeners) listener();
  }

  text(key, values = {}) {
    let template = this.#strings[this.current][key];
    if (typeof template === "object") {
      template = template[new Intl.PluralRules(this.current).select(values.count)] ?? template.other;
    }
    const all = { ...this.#common(this), ...values };
    return template.replace(/\{(\w+)\}/g, (_, name) => String(all[name]));
  }

  #translate() {
    document.documentElement.lang = this.current;
    document.title = this.text("documentTitle");
    for (const element of document.querySelectorAll("[data-text]")) {
      element.textContent = this.text(element.dataset.text);
    }
    for (const element of document.querySelectorAll("[data-label]")) {
      element.setAttribute("aria-label", this.text(element.dataset.label));
    }
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === this.current));
    }
  }
}
