import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { type Installation, openInstallation } from "../helpers/installation.ts";
import { type JsonPartners, startJsonPartners } from "../helpers/json-partners.ts";

/** The whole way of a lead, on a real database and real HTTP partners; only the clock is set by the test. */

const fields = [
  { key: "first_name", type: "text", required: true, group: "contact" },
  { key: "email", type: "email", group: "contact" },
  { key: "postcode", type: "postcode", country: "GB" },
];

let partners: JsonPartners;
let installations: Installation[] = [];

beforeAll(async () => {
  partners = await startJsonPartners();
});
afterEach(async () => {
  await Promise.all(installations.map(async (installation) => installation.close()));
  installations = [];
});
afterAll(async () => partners.stop());

async function open(at = "2026-03-04T10:00:00Z"): Promise<Installation> {
  const installation = await openInstallation({ at, environment: { HANDOFF_ALLOW_HOSTS: partners.host } });
  installations.push(installation);
  return installation;
}

let names = 0;
/** A name that no other partner has: answers and requests are kept by name. */
function unique(name: string): string {
  names += 1;
  return `${name}${names}`;
}

async function addPartner(installation: Installation, name: string, document: Record<string, unknown> = {}) {
  return installation.addPartner({ name, internet: partners.internet(name), creditLimit: 1_000_000, ...document });
}

const routed = (...partnerIds: string[]) => [
  { method: "priority", partners: partnerIds.map((partnerId, index) => ({ partnerId, priority: index, price: 1000 })) },
];

async function receive(installation: Installation, campaignId: string, raw: Record<string, unknown>): Promise<string> {
  const intake = await installation.receive(campaignId, raw);
  if (intake.kind !== "answered") throw new Error(intake.reason);
  return intake.answer.leadId;
}

const leadOf = async (installation: Installation, id: string) =>
  installation.inOrganisation(async (transaction) =>
    transaction.selectFrom("leads").selectAll().where("id", "=", id).executeTakeFirstOrThrow(),
  );
const deliveriesOf = async (installation: Installation, leadId: string) =>
  installation.inOrganisation(async (transaction) =>
    transaction.selectFrom("deliveries").selectAll().where("leadId", "=", leadId).orderBy("id").execute(),
  );
const fundsOf = async (installation: Installation, partnerId: string) => {
  const rows = await installation.inOrganisation(async (transaction) =>
    transaction.selectFrom("accounts").select(["kind", "balanceMinor"]).where("partnerId", "=", partnerId).execute(),
  );
  return Object.fromEntries(rows.map((row) => [row.kind, row.balanceMinor]));
};
const usageOf = async (installation: Installation, partnerId: string) =>
  installation.inOrganisation(async (transaction) =>
    transaction
      .selectFrom("limitUsage")
      .select(["dayLeads", "monthLeads", "totalLeads", "daySpendMinor"])
      .where("partnerId", "=", partnerId)
      .where("campaignId", "is", null)
      .executeTakeFirstOrThrow(),
  );

describe("a lead that is accepted", () => {
  test("is sold once, charged once, and its attempt is kept", async () => {
    const installation = await open();
    const name = unique("acme");
    const partnerId = await addPartner(installation, name);
    const campaignId = await installation.addCampaign({ name: "Home", fields, routing: routed(partnerId) });
    const leadId = await receive(installation, campaignId, { first_name: "Zoë", email: "zoe@example.com" });
    await installation.settle();
    expect(await leadOf(installation, leadId)).toMatchObject({ state: "sold", soldCount: 1, dueAt: null });
    expect(await deliveriesOf(installation, leadId)).toMatchObject([
      { state: "delivered", partnerId, priceMinor: 1000 },
    ]);
    expect(partners.requestsOf(name)).toMatchObject([{ body: { id: leadId, name: "Zoë" } }]);
    expect(await fundsOf(installation, partnerId)).toMatchObject({ funds: -1000, reserved: 0, revenue: 1000 });
    expect(await usageOf(installation, partnerId)).toEqual({
      dayLeads: 1,
      monthLeads: 1,
      totalLeads: 1,
      daySpendMinor: 1000,
    });
    await installation.settle();
    expect(partners.requestsOf(name)).toHaveLength(1);
  });
});

describe("a lead that is refused", () => {
  test("goes on to the next partner, and place and money go back to whence they came", async () => {
    const installation = await open();
    const [first, second] = [unique("first"), unique("second")];
    partners.answer(first, "reject");
    const firstId = await addPartner(installation, first);
    const secondId = await addPartner(installation, second);
    const campaignId = await installation.addCampaign({ name: "Home", fields, routing: routed(firstId, secondId) });
    const leadId = await receive(installation, campaignId, { first_name: "Ann" });
    await installation.settle();
    const deliveries = await deliveriesOf(installation, leadId);
    expect(deliveries).toMatchObject([
      { state: "rejected", partnerId: firstId, reason: "not our area" },
      { state: "delivered", partnerId: secondId },
    ]);
    expect(await fundsOf(installation, firstId)).toMatchObject({ funds: 0, reserved: 0, revenue: 0 });
    expect(await usageOf(installation, firstId)).toEqual({
      dayLeads: 0,
      monthLeads: 0,
      totalLeads: 0,
      daySpendMinor: 0,
    });
  });

  test("by everybody is unsold, with the reason", async () => {
    const installation = await open();
    const name = unique("no");
    partners.answer(name, "reject");
    const campaignId = await installation.addCampaign({
      name: "Home",
      fields,
      routing: routed(await addPartner(installation, name)),
    });
    const leadId = await receive(installation, campaignId, { first_name: "Ann" });
    await installation.settle();
    expect(await leadOf(installation, leadId)).toMatchObject({ state: "unsold", stateReason: { code: "all_refused" } });
  });
});
