import { describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, openDatabase } from "../../src/db/database.ts";
import { readIntakeCampaign } from "../../src/leads/intake-campaign.ts";
import { receiveLead } from "../../src/leads/receive-lead.ts";
import { type Seller, useSellers } from "../helpers/seller.ts";

/** What becomes of a lead when it comes in; what the API says about it is tested with the API. */

const sellers = useSellers();

const leadsOf = async (seller: Seller, campaignId: string) =>
  seller.inOrganisation(async (transaction) =>
    transaction.selectFrom("leads").selectAll().where("campaignId", "=", campaignId).orderBy("id").execute(),
  );

describe("a lead that comes in", () => {
  test("is regular, with its contacts, and what the campaign does not know is kept aside", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([]);
    await seller.receive(campaignId, {
      first_name: " Zoë ",
      email: "Zoe@Example.com",
      phone: "020 7946 0001",
      cover: "1,250.50",
      pet: "cat",
      contacts: [{ first_name: "Ben", email: "ben@example.com" }],
    });
    const [lead] = await leadsOf(seller, campaignId);
    expect(lead).toMatchObject({
      state: "received",
      fields: { first_name: "Zoë", phone: "+442079460001", cover: 125_050 },
      extra: { pet: "cat" },
      dueAt: lead?.receivedAt,
    });
    const contacts = await seller.inOrganisation(async (transaction) =>
      transaction
        .selectFrom("contacts")
        .select(["position", "fields"])
        .where("leadId", "=", lead?.id ?? "")
        .execute(),
    );
    expect(contacts).toMatchObject([{ position: 1, fields: { first_name: "Ben", email: "ben@example.com" } }]);
  });

  test("and is invalid is kept as such, every problem named, and goes to nobody", async () => {
    const seller = await sellers.open();
    const buyer = await seller.partner();
    const campaignId = await seller.campaign([buyer]);
    const intake = await seller.receive(campaignId, { email: "nobody", phone: "12", postcode: "??" });
    expect(intake).toMatchObject({ kind: "answered", answer: { status: "invalid" } });
    await seller.settle();
    const [lead] = await leadsOf(seller, campaignId);
    expect(lead).toMatchObject({ state: "invalid", dueAt: null, extra: { email: "nobody" } });
    const problems = Object(lead?.stateReason).problems as { field: string }[];
    expect(problems.map(({ field }) => field).toSorted()).toEqual(["email", "first_name", "phone", "postcode"]);
    expect(sellers.partners.requestsOf(buyer.name)).toEqual([]);
  });

  test("at a campaign that is switched off is refused, and nothing is stored", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([]);
    await seller.changeCampaign(campaignId, { active: false });
    const intake = await seller.receive(campaignId, { first_name: "Ann" });
    expect(intake).toEqual({ kind: "refused", reason: "campaign_inactive" });
    expect(await leadsOf(seller, campaignId)).toEqual([]);
  });

  test("never goes back to the partner that introduced it", async () => {
    const seller = await sellers.open();
    const [introducer, other] = [await seller.partner({ type: "both" }), await seller.partner()];
    const campaignId = await seller.campaign([introducer, other]);
    const campaign = await readIntakeCampaign(seller.context, seller.organisationId, campaignId);
    if (campaign === null) throw new Error("no campaign");
    const entrance = { campaign, intakeKeyId: null, introducerId: introducer.id };
    await receiveLead(seller.context, entrance, { raw: { first_name: "Ann" }, idempotencyKey: null, source: null });
    await seller.settle();
    expect(sellers.partners.requestsOf(introducer.name)).toEqual([]);
    expect(sellers.partners.requestsOf(other.name)).toHaveLength(1);
  });
});

describe("leads that come at the same time", () => {
  test("share a transaction, and one that cannot be stored is refused alone", async () => {
    const seller = await sellers.open();
    const campaignId = await seller.campaign([]);
    // PostgreSQL keeps no NUL: such a key comes past the API's own check only by a fault of ours.
    const keyOf = (index: number) => (index === 7 ? "a\0b" : `key ${index}`);
    const intakes = await Promise.allSettled(
      Array.from({ length: 20 }, async (_, index) =>
        seller.receive(campaignId, { first_name: `Ann ${index}` }, keyOf(index)),
      ),
    );
    expect(intakes.flatMap(({ status }, index) => (status === "rejected" ? [index] : []))).toEqual([7]);
    expect(await leadsOf(seller, campaignId)).toHaveLength(19);
  });

  test("and are answered are in the database, whatever connection is cut meanwhile", async () => {
    const seller = await sellers.open({ environment: { DATABASE_POOL_SIZE: "4" } });
    const campaignId = await seller.campaign([]);
    const owner = openDatabase(createPool(seller.databaseUrl, "owner", 1));
    const cutting = setInterval(() => {
      sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' limit 1`
        .execute(owner)
        .catch(() => undefined);
    }, 15);
    const answered: string[] = [];
    let failed = 0;
    for (let round = 0; round < 20; round += 1) {
      const intakes = await Promise.allSettled(
        Array.from({ length: 10 }, async (_, index) =>
          seller.receive(campaignId, { first_name: `Ann ${round} ${index}` }),
        ),
      );
      for (const intake of intakes) {
        if (intake.status === "rejected") failed += 1;
        else if (intake.value.kind === "answered") answered.push(intake.value.answer.leadId);
      }
    }
    clearInterval(cutting);
    await owner.destroy();
    const stored = new Set(
      (await leadsOf(seller, campaignId).catch(async () => leadsOf(seller, campaignId))).map(({ id }) => id),
    );
    expect(answered.filter((id) => !stored.has(id))).toEqual([]);
    expect(answered.length + failed).toBe(200);
    expect(failed).toBeGreaterThan(0);
  });
});
