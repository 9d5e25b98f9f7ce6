import { describe, expect, test } from "@jest/globals";
import { leadReferredAlerts } from "../../src/alerts/insert-alerts.ts";
import { leadContact } from "../../src/alerts/lead-contact.ts";
import type { Field } from "../../src/campaigns/fields.ts";
import { partnerSchema } from "../../src/partners/partner.ts";

const noAlerts = partnerSchema.shape.alerts.parse({});

const fields: readonly Field[] = [
  { key: "mobile", type: "phone" },
  { key: "landline", type: "phone" },
  { key: "mail", type: "email" },
];

describe("The contact that an alert names", () => {
  test("has its first and last name, and the first phone and email by the type of the field", () => {
    const values = {
      first_name: "Zoë",
      last_name: "O'Brien",
      mobile: null,
      landline: "+442079460000",
      mail: "z@example.com",
    };
    expect(leadContact(fields, values)).toEqual({
      name: "Zoë O'Brien",
      phone: "+442079460000",
      email: "z@example.com",
    });
  });

  test.each([
    [{ first_name: "Zoë" }, "Zoë"],
    [{ first_name: null, last_name: "O'Brien" }, "O'Brien"],
    [{ name: "Zoë O'Brien" }, "Zoë O'Brien"],
    [{ full_name: "Zoë O'Brien" }, "Zoë O'Brien"],
    [{ first_name: "  ", name: "Zoë O'Brien" }, "Zoë O'Brien"],
    [{ company: "Acme" }, null],
    [{}, null],
  ])("is named from %j", (values, name) => {
    expect(leadContact(fields, values).name).toBe(name);
  });

  test("takes one line, whatever the lead holds", () => {
    expect(leadContact([], { name: "Zoë\r\n\u0007 O'Brien\u2028" }).name).toBe("Zoë O'Brien");
  });
});

describe("A partner that got a lead is told", () => {
  const partner = {
    id: "p",
    organisationId: "o",
    name: "Acme",
    contact: { name: null, email: "leads@acme.test", phone: "+442079460000", transferPhone: null },
    alerts: { ...noAlerts, leadReferredSms: true, leadReferredEmail: true },
    delivery: { internet: null, email: null },
  };
  const told = (changes: Partial<typeof partner>) =>
    leadReferredAlerts({ ...partner, ...changes }, { id: "d", leadId: "l" }).map(({ key, recipient }) => [
      key,
      recipient,
    ]);

  test("by SMS and email where it wants both", () => {
    expect(told({})).toEqual([
      ["lead-referred-sms-d", "+442079460000"],
      ["lead-referred-email-d", "leads@acme.test"],
    ]);
  });

  test("by neither where it wants none", () => {
    expect(told({ alerts: noAlerts })).toEqual([]);
  });

  test("only where it can be reached", () => {
    expect(told({ contact: { name: null, email: null, phone: null, transferPhone: null } as never })).toEqual([]);
  });
});
