import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import type { PartnerAccess } from "../../src/people/permissions.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { call, createTestApi, type TestApi, type TestClient } from "./api.ts";
import { addCampaign, addPartner } from "./api-documents.ts";
import { type JsonPartners, startJsonPartners } from "./json-partners.ts";
import { type Browser, fullAccess, signedIn, type TestUser } from "./people.ts";

/** A seller of leads, and partners whose people are signed in. All parts are real. */
export interface Portal {
  readonly server: TestApi;
  readonly partners: JsonPartners;
  /** Staff, by API key. */
  readonly staff: TestClient;
  /** Another organisation. */
  readonly others: TestClient;
  /** Moves the clock, which stands still otherwise. */
  later(ms: number): void;
  now(): Date;
  /** A partner with plenty of credit, and a campaign that sells to it alone. */
  partner(changes?: Readonly<Record<string, unknown>>, client?: TestClient): Promise<PortalPartner>;
  /** Takes a lead in and sells it to the partner. */
  sell(partner: PortalPartner, fields?: Readonly<Record<string, unknown>>): Promise<SoldLead>;
  /** A user of the partner, signed in; may all, unless something else is said. */
  user(partner: PortalPartner, access?: Partial<PartnerAccess>): Promise<Browser & TestUser>;
  close(): Promise<void>;
}

export interface PortalPartner {
  readonly id: string;
  readonly name: string;
  readonly campaignId: string;
  readonly intakeKey: string;
  readonly client: TestClient;
}

export interface SoldLead {
  readonly leadId: string;
  /** Of the delivery: what the partner's people know it by. */
  readonly id: string;
}

let partnersMade = 0;
let leadsMade = 0;

/** `hosts` may be reached beside the partners' own. */
export async function openPortal(
  environment: Readonly<Record<string, string>> = {},
  hosts: readonly string[] = [],
): Promise<Portal> {
  const partners = await startJsonPartners();
  let time = new Date("2026-11-18T10:00:00Z");
  const server = await createTestApi({
    environment: { HANDOFF_ALLOW_HOSTS: [partners.host, ...hosts].join(","), ...environment },
    clock: () => time,
  });
  const staff = await server.createClient("Sellers");
  const others = await server.createClient("Other sellers");
  return {
    server,
    partners,
    staff,
    others,
    later(ms) {
      time = new Date(time.getTime() + ms);
    },
    now: () => time,
    async partner(changes = {}, client = staff) {
      partnersMade += 1;
      const name = `Buyer ${partnersMade}`;
      const internet = partners.internet(`buyer${partnersMade}`);
      const id = await addPartner(client, { name, internet, creditLimit: 1_000_000, ...changes });
      const campaign = await addCampaign(client, [id], { name: `Campaign of ${name}`, duplicates: null });
      return { id, name, campaignId: campaign.id, intakeKey: campaign.intakeKey, client };
    },
    async sell({ id: partnerId, campaignId, intakeKey, client }, fields = {}) {
      leadsMade += 1;
      const lead = { first_name: `Ann${leadsMade}`, email: `ann${leadsMade}@example.com`, ...fields };
      const headers = { "content-type": "application/json" };
      const taken = await call(server.api, null, "POST", `/v1/intake/${intakeKey}`, lead, { headers });
      const leadId = taken.text("leadId");
      await routeDueLeads(server.context, client.organisationId, campaignId);
      await drainDueDeliveries(server.context, client.organisationId, partnerId);
      const found = await client.call("GET", `/v1/deliveries?leadId=${leadId}&partnerId=${partnerId}`);
      return { leadId, id: found.text("data.0.id") };
    },
    user: async (partner, access = {}) =>
      signedIn(server, partner.client.organisationId, {
        partnerId: partner.id,
        access: { ...fullAccess, ...access },
      }),
    async close() {
      await server.close();
      await partners.stop();
    },
  };
}
