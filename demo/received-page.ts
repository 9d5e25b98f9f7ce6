import { escapeMarkup, type PartnerFormat } from "./partner-formats.ts";
import type { ReceivedLead, Totals } from "./partner-server.ts";

const shownLeads = 20;

interface Part {
  readonly format: PartnerFormat;
  readonly totals: Readonly<Totals>;
  readonly leads: readonly ReceivedLead[];
}

/** A page for people: what each partner got last. Everything on it came from outside and is escaped. */
export function receivedPage(parts: readonly Part[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5">
<title>Demo partners</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { border-top: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top }
</style>
</head>
<body>
<h1>What the demo partners received</h1>
${parts.map(section).join("\n")}
</body>
</html>
`;
}

function section({ format, totals, leads }: Part): string {
  const counts = Object.entries(totals).map(([name, count]) => `${count} ${name}`);
  const rows = leads.slice(-shownLeads).reverse().map(row);
  return `<h2>${format}</h2>
<p>${counts.join(", ")}</p>
<table>
<tr><th>Time</th><th>Answer</th><th>Lead</th></tr>
${rows.join("\n")}
</table>`;
}

function row({ receivedAt, decision, fields }: ReceivedLead): string {
  const answer =
    decision.kind === "accepted" ? `accepted, ${decision.reference}` : `${decision.kind}: ${decision.reason}`;
  const values = fields.map(([name, value]) => `${name}: ${value}`).join(" · ");
  return `<tr><td>${receivedAt}</td><td>${escapeMarkup(answer)}</td><td>${escapeMarkup(values)}</td></tr>`;
}
