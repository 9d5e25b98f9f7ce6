import { describe, expect, test } from "@jest/globals";
import { campaignSchema } from "../../src/campaigns/campaign.ts";
import { campaignWarnings } from "../../src/campaigns/campaign-warnings.ts";
import { channelFor } from "../../src/channels/registry.ts";
import { sampleVariables } from "../../src/channels/sample-variables.ts";
import { internetSettingsSchema } from "../../src/channels/settings.ts";
import { renderTemplate, withinRenderBudget } from "../../src/channels/templates.ts";
import { checkDelivery } from "../../src/partners/check-delivery.ts";

/**
 * `npm run hostile` saved templates that loop. Each one had half a second, and whoever renders does nothing else meanwhile:
 * 300 fields of a form made a lead that kept its worker from every other partner for minutes, and for a partner in 20
 * campaigns, saving it kept the API from answering anybody for an hour. So all templates of a request share one budget of
 * time, and so do all the samples that settings are tried on. Still the API answered nobody for the two seconds of one
 * partner, and for two seconds times a hundred when a campaign was saved that routes to a hundred such partners: so others
 * are answered in between, and one budget is for all partners.
 */
describe("templates that are slow together", () => {
  const loop = "{% for i in (1..100) %}{% for j in (1..100) %}{% if lead.id %}{% endif %}{% endfor %}{% endfor %}";
  const settings = internetSettingsSchema.parse({
    method: "post",
    url: "https://partner.example/leads",
    fields: Array.from({ length: 300 }, (_, at) => [`f${at}`, loop]),
  });
  const fields = [{ key: "first_name", type: "text" }];
  const ids = Array.from({ length: 100 }, (_, at) => `01900000-0000-7000-8000-${String(at).padStart(12, "0")}`);

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

  test("are refused when they are saved, for whatever number of campaigns", async () => {
    const campaigns = Array.from({ length: 20 }, (_, at) => ({ name: `Campaign ${at}`, fields }));
    expect(await checkDelivery({ internet: settings, email: null }, campaigns)).not.toEqual([]);
  });

  test("let others be answered while they are tried", async () => {
    const answered: number[] = [];
    const timer = setInterval(() => answered.push(performance.now()), 1);
    await checkDelivery({ internet: settings, email: null }, [{ name: "Campaign", fields }]);
    clearInterval(timer);
    // Two seconds of work, in pieces of at most a quarter of a second.
    expect(answered.length).toBeGreaterThan(4);
  });

  test("leave the next request its whole time", () => {
    const [lead] = sampleVariables(fields);
    channelFor(settings).render(lead, settings);
    const next = internetSettingsSchema.parse({ ...settings, fields: [["f0", "{{ lead.first_name }}"]] });
    expect(channelFor(next).render(lead, next)).toMatchObject({ ok: true });
  });

  test("of all partners of a campaign share one budget too, and whoever was not tried is said not to be", async () => {
    const campaign = campaignSchema.parse({
      name: "Slow",
      timeZone: "Europe/London",
      fields,
      routing: [{ partners: ids.map((partnerId) => ({ partnerId, price: 100 })) }],
    });
    const shared = { type: "partner", active: true, internet: settings, email: null, acceptFirst: null } as const;
    const partners = ids.map((id) => ({ id, ...shared }));
    const warnings = await campaignWarnings(campaign, partners);
    expect(warnings).toHaveLength(ids.length);
    expect(warnings[0]?.message).toMatch(/cannot be delivered to/);
    expect(warnings.at(-1)?.message).toMatch(/was not tried/);
  });
});
