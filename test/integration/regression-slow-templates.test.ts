import { describe, expect, test } from "@jest/globals";
import { channelFor } from "../../src/channels/registry.ts";
import { sampleVariables } from "../../src/channels/sample-variables.ts";
import { internetSettingsSchema } from "../../src/channels/settings.ts";
import { renderTemplate, withinRenderBudget } from "../../src/channels/templates.ts";
import { checkDelivery } from "../../src/partners/check-delivery.ts";

/**
 * `npm run hostile` saved templates that loop. Each one had half a second, and whoever renders does nothing else meanwhile:
 * 300 fields of a form made a lead that kept its worker from every other partner for minutes, and for a partner in 20
 * campaigns, saving it kept the API from answering anybody for an hour. So all templates of a request share one budget of
 * time, and so do all the samples that settings are tried on.
 */
describe("templates that are slow together", () => {
  const loop = "{% for i in (1..100) %}{% for j in (1..100) %}{% if lead.id %}{% endif %}{% endfor %}{% endfor %}";
  const settings = internetSettingsSchema.parse({
    method: "post",
    url: "https://partner.example/leads",
    fields: Array.from({ length: 300 }, (_, at) => [`f${at}`, loop]),
  });
  const fields = [{ key: "first_name", type: "text" }];

  test("do not render", () => {
    const [lead] = sampleVariables(fields);
    const rendered = channelFor(settings).render(lead, settings);
    expect(rendered).toMatchObject({ ok: false, reason: expect.stringContaining("limit exceeded") });
  });

  test("share one budget, within the budget outside of theirs", () => {
    const [lead] = sampleVariables(fields);
    const render = () => renderTemplate("{{ lead.first_name }}", "text", lead).ok;
    expect(withinRenderBudget(60_000, render)).toBe(true);
    expect(withinRenderBudget(0, render)).toBe(false);
    expect(withinRenderBudget(0, () => withinRenderBudget(60_000, render))).toBe(false);
    expect(render()).toBe(true);
  });

  test("are refused when they are saved, for whatever number of campaigns", () => {
    const campaigns = Array.from({ length: 20 }, (_, at) => ({ name: `Campaign ${at}`, fields }));
    expect(checkDelivery({ internet: settings, email: null }, campaigns)).not.toEqual([]);
  });

  test("leave the next request its whole time", () => {
    const [lead] = sampleVariables(fields);
    channelFor(settings).render(lead, settings);
    const next = internetSettingsSchema.parse({ ...settings, fields: [["f0", "{{ lead.first_name }}"]] });
    expect(channelFor(next).render(lead, next)).toMatchObject({ ok: true });
  });
});
