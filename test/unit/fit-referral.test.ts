import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { fieldsSchema } from "../../src/campaigns/fields.ts";
import { cleanText } from "../../src/campaigns/read-field.ts";
import { fitReferral } from "../../src/referrals/fit-referral.ts";
import type { Referral, ReferredField } from "../../src/referrals/protocol.ts";

const fields = fieldsSchema.parse([
  { key: "name", type: "text", required: true, group: "contact" },
  { key: "phone", type: "phone", country: "GB", group: "contact" },
  { key: "budget", type: "money", currency: "GBP" },
  { key: "rooms", type: "number", min: 1 },
]);

const lead = (given: readonly ReferredField[], contacts: readonly ReferredField[][] = []): Referral["lead"] => ({
  id: "1",
  receivedAt: "2026-11-20T09:00:00Z",
  source: null,
  fields: [...given],
  contacts: [...contacts],
  notes: [],
});

const field = (key: string, value: ReferredField["value"], currency?: string): ReferredField => ({
  ...{ key, value, label: key, type: "text", group: null },
  ...(currency === undefined ? {} : { currency }),
});

describe("a lead of another organisation", () => {
  test("has every field of the campaign, regular, and what does not fit aside", () => {
    const given = [
      field("name", " Grace "),
      field("phone", "07700 900123"),
      field("budget", "10.00"),
      field("rooms", 0),
    ];
    expect(fitReferral(fields, lead([...given, field("colour", true)]))).toEqual({
      fields: { name: "Grace", phone: "+447700900123", budget: 1000, rooms: null },
      contacts: [],
      extra: { rooms: 0, colour: true },
      keptAside: ["rooms", "colour"],
    });
  });

  test.each([
    ["GBP", 1000, []],
    ["EUR", null, ["budget"]],
    [undefined, 1000, []],
  ])("with money in %s has %p", (currency, budget, keptAside) => {
    const fitted = fitReferral(fields, lead([field("budget", "10.00", currency)]));
    expect(fitted).toMatchObject({ fields: { budget }, keptAside });
  });

  test("has contacts with the contact's fields alone", () => {
    const contact = [field("name", "Henry"), field("budget", "1.00")];
    expect(fitReferral(fields, lead([], [contact]))).toMatchObject({
      contacts: [{ name: "Henry", phone: null }],
      extra: { "contacts.0.budget": "1.00" },
    });
  });

  test("loses nothing, whatever it holds: each value is in a field or aside", () => {
    const value = fc.oneof(fc.string(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean());
    const key = fc.oneof(
      fc.constantFrom("name", "phone", "budget", "rooms", "__proto__", "constructor"),
      fc.string({ minLength: 1 }),
    );
    const given = fc.uniqueArray(fc.record({ key, value }), { selector: (one) => one.key, maxLength: 8 });
    fc.assert(
      fc.property(given, (some) => {
        const fitted = fitReferral(fields, lead(some.map((one) => field(one.key, one.value))));
        for (const one of some) {
          const isEmpty = typeof one.value === "string" && cleanText(one.value).trim() === "";
          const isKept = Object.hasOwn(fitted.extra, one.key);
          const isField = Object.hasOwn(fitted.fields, one.key) && fitted.fields[one.key] !== null;
          expect(isKept || isField || isEmpty).toBe(true);
          expect(fitted.keptAside.includes(one.key)).toBe(isKept);
        }
        expect(Object.keys(fitted.fields)).toEqual(fields.map((own) => own.key));
      }),
    );
  });
});
