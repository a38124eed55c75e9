// Mails read by postal-mime: file names on standard input, a line of JSON for each.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import PostalMime from "postal-mime";

// The line end before a boundary is the boundary's (RFC 2046 §5.1.1); this parser keeps it.
const body = (text) => (text ?? "").replace(/\n$/, "");

for await (const name of createInterface({ input: process.stdin })) {
  const mail = await PostalMime.parse(readFileSync(name));
  const said = {
    subject: mail.subject,
    to: mail.to[0].address,
    text: body(mail.text),
    html: body(mail.html),
  };
  process.stdout.write(JSON.stringify(said) + "\n");
}
