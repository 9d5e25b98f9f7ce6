import { expect, test } from "@jest/globals";
import { emailChannel, emailSettingsSchema } from "../../src/channels/email.ts";
import { moneyDecimals, moneyFields } from "../../src/channels/money-fields.ts";
import { sampleVariables } from "../../src/channels/sample-variables.ts";

const fields = [
  { key: "cover", type: "money", currency: "GBP" },
  { key: "loan", type: "money", currency: "JPY" },
  { key: "fee", type: "money", decimals: 3 },
  { key: "rooms", type: "number" },
  { key: "gift", type: "money", currency: "EUR" },
];

test("the mail that lists a lead's fields writes money for people, with its currency's decimals", () => {
  const [sample] = sampleVariables(fields);
  const lead = { ...sample.lead, cover: 125_000, loan: 125_000, fee: 1250, rooms: 3, gift: null };
  const rendered = emailChannel.render({ ...sample, lead }, emailSettingsSchema.parse({ to: ["a@example.com"] }));
  if (!rendered.ok || rendered.request.kind !== "mail") throw new Error(JSON.stringify(rendered));
  const { text, html } = rendered.request;
  expect(text).toContain("Cover: 1250.00 GBP\nLoan: 125000 JPY\nFee: 1.250\nRooms: 3\n");
  expect(html).toContain(">1250.00 GBP</td>");
  expect(text).not.toContain("Gift");
});

test("the decimals are those of the field, else of its currency, else two", () => {
  expect([
    moneyDecimals({}),
    moneyDecimals({ currency: "JPY" }),
    moneyDecimals({ currency: "JPY", decimals: 2 }),
  ]).toEqual([2, 0, 2]);
  expect(moneyFields(fields)).toMatchObject({
    cover: { decimals: 2, currency: "GBP" },
    fee: { decimals: 3, currency: null },
  });
});
