import type { TestClient } from "./api.ts";

/** Documents that the API takes as they are; a test changes what it is about. */
export function partnerDocument(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    name: "Acme",
    timeZone: "Europe/London",
    currency: "GBP",
    leadValue: 1250,
    internet: jsonDelivery(),
    ...changes,
  };
}

export function jsonDelivery(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    method: "json",
    url: "https://acme.test/leads",
    body: '{"name":"{{ lead.first_name }}"}',
    auth: { type: "bearer", token: "open-sesame-4711" },
    ...changes,
  };
}

export const contactFields = [
  { key: "first_name", label: "First name", type: "text", required: true, group: "contact" },
  { key: "email", type: "email", group: "contact" },
  { key: "phone", type: "phone", country: "GB", group: "contact" },
  { key: "postcode", type: "postcode", country: "GB" },
];

export function campaignDocument(
  partnerIds: readonly string[] = [],
  changes: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const partners = partnerIds.map((partnerId) => ({ partnerId, price: 1250 }));
  return {
    name: "Home insurance",
    timeZone: "Europe/London",
    fields: contactFields,
    duplicates: { match: ["email", "phone"], mode: "any", days: 30 },
    routing: partnerIds.length === 0 ? [] : [{ method: "priority", partners }],
    ...changes,
  };
}

/** Adds a partner and gives its id. */
export async function addPartner(client: TestClient, changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
  return (await client.call("POST", "/v1/partners", partnerDocument(changes))).text("id");
}

/** Adds a campaign and gives its id and intake key. */
export async function addCampaign(
  client: TestClient,
  partnerIds: readonly string[] = [],
  changes: Readonly<Record<string, unknown>> = {},
): Promise<{ readonly id: string; readonly intakeKey: string }> {
  const answer = await client.call("POST", "/v1/campaigns", campaignDocument(partnerIds, changes));
  return { id: answer.text("id"), intakeKey: answer.text("intakeKey") };
}
