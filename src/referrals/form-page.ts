import type { Field } from "../campaigns/fields.ts";
import type { FieldProblem } from "../campaigns/normalise-fields.ts";
import { escapeHtml, htmlPage, htmlPagePolicy } from "../http/html-page.ts";
import type { InboundForm } from "./inbound.ts";

/** The pages of an inbound's form: plain HTML without scripts, which other sites may show within theirs. */

export interface FormPage {
  readonly form: InboundForm;
  /** Where it is sent to. */
  readonly action: string;
  readonly fields: readonly Field[];
  /** Made for each form that is shown: sent twice, it is one lead. */
  readonly submission: string;
  readonly values: Readonly<Record<string, string>>;
  readonly problems: readonly FieldProblem[];
}

/** Fields stand under this in what is sent, so that no key is mistaken for ours. */
export const fieldPrefix = "field.";

/** Nobody sees it; what fills it in is no person. */
export const trapName = "leave_empty";

const style = `
body { font-family: system-ui, sans-serif; font-size: 16px; color: #1f2933; margin: 16px; max-width: 30em; }
label { display: block; margin: 12px 0 4px; }
input, select, textarea { box-sizing: border-box; width: 100%; padding: 8px; font: inherit; border: 1px solid #9aa5b1; border-radius: 4px; }
button { margin-top: 16px; padding: 10px 20px; font: inherit; border: 0; border-radius: 4px; background: #1f4e79; color: #fff; }
.problem { color: #b3261e; margin: 4px 0 0; }
.extra { position: absolute; left: -10000px; }
`;

/** What a browser may do with these pages, and which sites may show them. */
export function formPolicy(sites: readonly string[]): string {
  return htmlPagePolicy(style, sites);
}

export function formPage({ form, action, fields, submission, values, problems }: FormPage): string {
  const title = form.title ?? "Your enquiry";
  const rows = fields.map((field) => {
    const problem = problems.find((one) => one.field === field.key);
    return fieldRow(field, values[field.key] ?? "", problem?.message ?? null);
  });
  return page(
    title,
    `<form method="post" action="${escapeHtml(action)}" accept-charset="utf-8">
<input type="hidden" name="submission" value="${escapeHtml(submission)}">
<div class="extra" aria-hidden="true"><label>Leave this empty <input name="${trapName}" tabindex="-1" autocomplete="off"></label></div>
${rows.join("\n")}
<button type="submit">Send</button>
</form>`,
  );
}

/** A page that says one thing. */
export function messagePage(title: string, message: string): string {
  return page(title, `<p>${escapeHtml(message)}</p>`);
}

function page(title: string, content: string): string {
  return htmlPage(style, title, content);
}

function fieldRow(field: Field, value: string, problem: string | null): string {
  const label = escapeHtml(field.label ?? field.key.replaceAll("_", " "));
  const id = escapeHtml(`${fieldPrefix}${field.key}`);
  const shared = `id="${id}" name="${id}"${field.required === true ? " required" : ""}`;
  const said = problem === null ? "" : `\n<p class="problem">${label} ${escapeHtml(problem)}</p>`;
  return `<label for="${id}">${label}</label>\n${inputOf(field, shared, value)}${said}`;
}

function inputOf(field: Field, shared: string, value: string): string {
  switch (field.type) {
    case "choice":
      return select(shared, field.choices, value);
    case "boolean":
      return select(shared, ["yes", "no"], value);
    case "text":
      if ((field.maxLength ?? 0) > 500) return `<textarea ${shared} rows="4">${escapeHtml(value)}</textarea>`;
      return input(shared, "text", value);
    case "email":
      return input(shared, "email", value);
    case "phone":
      return input(shared, "tel", value);
    case "date":
      return input(shared, "date", value);
    default:
      return input(shared, "text", value);
  }
}

function input(shared: string, type: string, value: string): string {
  return `<input ${shared} type="${type}" value="${escapeHtml(value)}">`;
}

function select(shared: string, choices: readonly string[], value: string): string {
  const options = ["", ...choices].map((choice) => {
    const chosen = choice === value ? " selected" : "";
    return `<option value="${escapeHtml(choice)}"${chosen}>${escapeHtml(choice)}</option>`;
  });
  return `<select ${shared}>${options.join("")}</select>`;
}
