import { afterAll, afterEach, beforeAll, expect } from "@jest/globals";
import type { Selectable } from "kysely";
import { type CampaignPatch, changeCampaign } from "../../src/campaigns/store-campaign.ts";
import type { DeliveryRow, Tables } from "../../src/db/tables.ts";
import { type IntakeCampaign, readIntakeCampaign } from "../../src/leads/intake-campaign.ts";
import { receiveLead } from "../../src/leads/receive-lead.ts";
import type { PartnerDocument } from "../../src/partners/partner.ts";
import { changePartner } from "../../src/partners/store-partner.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { type Installation, type InstallationOptions, openInstallation, openTwinInstallation } from "./installation.ts";
import { type JsonPartners, startJsonPartners } from "./json-partners.ts";

/** A seller of leads in an installation of its own, and how to look at what became of everything. */
export interface Seller extends Installation {
  /** A partner on the real HTTP server, at its own path, with plenty of credit. */
  partner(document?: Record<string, unknown>, internet?: Record<string, unknown>): Promise<Buyer>;
  /** A campaign whose routing is one group of these partners in this order, at 10.00 a lead, or as given. */
  campaign(buyers: readonly Buyer[], document?: Record<string, unknown>): Promise<string>;
  /** Takes in a lead that is like no other, and gives its id. */
  lead(campaignId: string, raw?: Record<string, unknown>): Promise<string>;
  /** Takes in many at once; they arrive in the order of their ids. */
  leads(campaignId: string, count: number): Promise<readonly string[]>;
  /** Decides the leads that are due, and sends nothing. */
  route(campaignId: string): Promise<void>;
  change(buyer: Buyer, patch: Partial<PartnerDocument>): Promise<void>;
  changeCampaign(campaignId: string, patch: CampaignPatch): Promise<void>;
  leadRow(id: string): Promise<Selectable<Tables["leads"]>>;
  deliveries(leadId: string): Promise<readonly Selectable<DeliveryRow>[]>;
  attempts(deliveryId: string): Promise<readonly Selectable<Tables["attempts"]>[]>;
  decisions(leadId: string): Promise<readonly Selectable<Tables["decisions"]>[]>;
  endpoint(buyer: Buyer): Promise<Selectable<Tables["endpoints"]>>;
  /** Balances by kind: { funds, reserved, revenue, cash, adjustment }. */
  funds(buyer: Buyer): Promise<Readonly<Record<string, number>>>;
  usage(buyer: Buyer, campaignId?: string | null): Promise<Selectable<Tables["limitUsage"]>>;
  /** How many leads are in each state. */
  leadStates(campaignId: string): Promise<Readonly<Record<string, number>>>;
  /** Has the organisation's staff get mail. */
  setStaffEmail(email: string): Promise<void>;
}

export interface Buyer {
  readonly id: string;
  readonly name: string;
}

export interface Sellers {
  readonly partners: JsonPartners;
  open(options?: InstallationOptions): Promise<Seller>;
  /** The same seller in another process, as far as the code can tell: connections and memory of its own. */
  openTwin(seller: Seller): Promise<Seller>;
}

export const wednesdayMorning = "2026-03-04T10:00:00Z";

const fields = [
  { key: "first_name", type: "text", required: true, group: "contact" },
  { key: "email", type: "email", group: "contact" },
  { key: "phone", type: "phone", country: "GB", group: "contact" },
  { key: "postcode", type: "postcode", country: "GB" },
  { key: "cover", type: "money" },
];

/**
 * Real partners for a whole test file, and sellers that are closed after each test, which fails where one logged an error.
 * To be called at the top of the file.
 */
export function useSellers(): Sellers {
  let partners: JsonPartners | null = null;
  const opened: Seller[] = [];
  const started = () => {
    if (partners === null) throw new Error("Only to be used in tests and hooks.");
    return partners;
  };
  beforeAll(async () => {
    partners = await startJsonPartners();
  });
  afterEach(async () => {
    const errors = opened.flatMap((seller) => seller.errors);
    for (const seller of opened.splice(0)) await seller.close();
    // A test that means to cause some takes them away.
    expect(errors).toEqual([]);
  });
  afterAll(async () => partners?.stop());
  return {
    get partners() {
      return started();
    },
    async open(options = {}) {
      const seller = await openSeller(started(), { at: wednesdayMorning, ...options });
      opened.push(seller);
      return seller;
    },
    async openTwin(seller) {
      const twin = toSeller(openTwinInstallation(seller), started());
      // Before the other: its database goes with that.
      opened.unshift(twin);
      return twin;
    },
  };
}

/** A seller that stays until it is closed; in real time, unless a time is given. */
export async function openSeller(partners: JsonPartners, options: InstallationOptions = {}): Promise<Seller> {
  const environment = { HANDOFF_ALLOW_HOSTS: partners.host, ...options.environment };
  return toSeller(await openInstallation({ ...options, environment }), partners);
}

let names = 0;

function toSeller(installation: Installation, partners: JsonPartners): Seller {
  const { context, organisationId, inOrganisation } = installation;
  const campaigns = new Map<string, IntakeCampaign>();
  const entranceOf = async (id: string) => {
    const campaign = campaigns.get(id) ?? (await readIntakeCampaign(context, organisationId, id));
    if (campaign === null) throw new Error("no such campaign");
    campaigns.set(id, campaign);
    return { campaign, intakeKeyId: null, introducerId: null };
  };
  const lead = async (campaignId: string, raw: Record<string, unknown> = {}) => {
    names += 1;
    const unlike = { first_name: "Ann", email: `ann${names}@example.com`, ...raw };
    const received = { raw: unlike, idempotencyKey: null, source: "test" };
    const intake = await receiveLead(context, await entranceOf(campaignId), received);
    if (intake.kind !== "answered" || intake.answer.status !== "received") throw new Error(JSON.stringify(intake));
    return intake.answer.leadId;
  };
  return {
    ...installation,
    async partner(document = {}, internet = {}) {
      names += 1;
      const name = `partner${names}`;
      const id = await installation.addPartner({
        name,
        internet: partners.internet(name, internet),
        creditLimit: 100_000_000,
        ...document,
      });
      return { id, name };
    },
    async campaign(buyers, document = {}) {
      const rows = buyers.map(({ id }, index) => ({ partnerId: id, priority: index, price: 1000 }));
      const routing = [{ method: "priority", partners: rows }];
      return installation.addCampaign({ name: "Home", fields, routing, ...document });
    },
    lead,
    async leads(campaignId, count) {
      await entranceOf(campaignId);
      const ids = await Promise.all(Array.from({ length: count }, async () => lead(campaignId)));
      return ids.toSorted();
    },
    route: async (campaignId) => routeDueLeads(context, organisationId, campaignId),
    async change({ id }, patch) {
      const change = { organisationId, by: "test", at: context.clock() };
      const result = await changePartner(context, change, id, patch);
      if (result.kind !== "stored") throw new Error(JSON.stringify(result));
    },
    async changeCampaign(id, patch) {
      const change = { organisationId, by: "test", at: context.clock() };
      const result = await changeCampaign(context, change, id, patch);
      if (result.kind !== "stored") throw new Error(JSON.stringify(result));
    },
    leadRow: async (id) =>
      inOrganisation(async (transaction) =>
        transaction.selectFrom("leads").selectAll().where("id", "=", id).executeTakeFirstOrThrow(),
      ),
    deliveries: async (leadId) =>
      inOrganisation(async (transaction) =>
        transaction.selectFrom("deliveries").selectAll().where("leadId", "=", leadId).orderBy("id").execute(),
      ),
    attempts: async (deliveryId) =>
      inOrganisation(async (transaction) =>
        transaction.selectFrom("attempts").selectAll().where("deliveryId", "=", deliveryId).orderBy("number").execute(),
      ),
    decisions: async (leadId) =>
      inOrganisation(async (transaction) =>
        transaction.selectFrom("decisions").selectAll().where("leadId", "=", leadId).orderBy("id").execute(),
      ),
    endpoint: async ({ id }) =>
      inOrganisation(async (transaction) =>
        transaction.selectFrom("endpoints").selectAll().where("partnerId", "=", id).executeTakeFirstOrThrow(),
      ),
    async funds({ id }) {
      const rows = await inOrganisation(async (transaction) =>
        transaction.selectFrom("accounts").select(["kind", "balanceMinor"]).where("partnerId", "=", id).execute(),
      );
      return Object.fromEntries(rows.map((row) => [row.kind, row.balanceMinor]));
    },
    usage: async ({ id }, campaignId = null) =>
      inOrganisation(async (transaction) =>
        transaction
          .selectFrom("limitUsage")
          .selectAll()
          .where("partnerId", "=", id)
          .where("campaignId", campaignId === null ? "is" : "=", campaignId)
          .executeTakeFirstOrThrow(),
      ),
    async leadStates(campaignId) {
      const rows = await inOrganisation(async (transaction) =>
        transaction
          .selectFrom("leads")
          .select(["state", (is) => is.fn.countAll<number>().as("count")])
          .where("campaignId", "=", campaignId)
          .groupBy("state")
          .execute(),
      );
      return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
    },
    async setStaffEmail(email) {
      await inOrganisation(async (transaction) =>
        transaction.updateTable("organisations").set({ staffEmail: email }).execute(),
      );
    },
  };
}
