import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { templateFilters } from "../../src/channels/filters.ts";
import { sampleVariables } from "../../src/channels/sample-variables.ts";
import { renderTemplate } from "../../src/channels/templates.ts";
import { projectRoot } from "../../src/project-root.ts";

const page = readFileSync(join(projectRoot, "docs", "template-variables.md"), "utf8");

const [sample] = sampleVariables([]);
const variables = {
  ...sample,
  lead: {
    first_name: "zoë",
    comment: "  Call me,  please  ",
    phone: "+442079460000",
    born: "1980-03-09",
    received_at: "2026-07-01T22:30:00.000Z",
    cover: 1250,
    company: null,
  },
  contacts: [{ first_name: "Alex" }, { first_name: "Kim" }],
};

const examples = [...page.matchAll(/^\| `(.*[}%]})` +\| `(.*)` +\|$/gm)].map(([, template = "", printed = ""]) => [
  template.replaceAll("\\|", "|"),
  printed,
]);

test.each(examples)("the page about templates is right: %s prints %s", (template, printed) => {
  expect(renderTemplate(template, "text", variables)).toEqual({ ok: true, text: printed });
});

test("the page shows every filter", () => {
  const shown = examples.map(([template]) => template).join("\n");
  const missing = [...templateFilters.keys()].filter((name) => !new RegExp(`\\| ${name}\\b`).test(shown));
  expect(missing).toEqual([]);
});

test("the page names every variable", () => {
  for (const [group, values] of Object.entries({ ...sample, contacts: {} }))
    for (const key of Object.keys(values)) expect(page).toContain(`\`${group}.${key}\``);
});
