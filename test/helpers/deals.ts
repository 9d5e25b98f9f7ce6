import { call, type TestAnswer, type TestApi, type TestClient } from "./api.ts";
import { addCampaign, contactFields } from "./api-documents.ts";
import { addUser, addWorkflow } from "./referrals.ts";

/** What of a deal may go to other organisations, and what must not. */
export const dealFields = [
  ...contactFields.map((field) => ({ ...field, shareable: true })),
  { key: "cover", label: "Cover", type: "money", currency: "GBP", shareable: true },
  { key: "remark", type: "text" },
  { key: "smoker", type: "boolean", shareable: true },
];

export interface Desk {
  readonly client: TestClient;
  readonly campaignId: string;
  readonly intakeKey: string;
  readonly workflowId: string;
  readonly stageId: string;
  readonly otherStageId: string;
  readonly ownerId: string;
  /** A lead in the stage, with an owner, another contact, a note that is shareable and one that is not. */
  deal(fields?: Readonly<Record<string, unknown>>, stageId?: string | null): Promise<string>;
  outbound(document: Readonly<Record<string, unknown>>): Promise<TestAnswer>;
  refer(leadId: string, outboundId: string, confirmed?: boolean): Promise<TestAnswer>;
}

/** An organisation with a workflow of two stages, its owner, and a campaign whose deals stand in it. */
export async function openDesk(server: TestApi, name = "Sellers"): Promise<Desk> {
  const client = await server.createClient(name);
  const { id: campaignId, intakeKey } = await addCampaign(client, [], { fields: dealFields, duplicates: null });
  const ownerId = await addUser(server, client, { name: "Olive Owner", email: "olive@example.com" });
  const workflow = await addWorkflow(client, { campaignId, ownerId });
  const [stageId = "", otherStageId = ""] = workflow.stageIds;
  let names = 0;
  return {
    client,
    campaignId,
    intakeKey,
    workflowId: workflow.id,
    stageId,
    otherStageId,
    ownerId,
    async deal(fields = {}, stage = stageId) {
      names += 1;
      const lead = { first_name: "Ann", email: `ann${names}@example.com`, cover: "1250.00", remark: "Strictly ours" };
      const contacts = [{ first_name: "Ben", email: `ben${names}@example.com` }];
      const sent = await call(server.api, null, "POST", `/v1/intake/${intakeKey}`, { ...lead, contacts, ...fields });
      const leadId = sent.text("leadId");
      const path = `/v1/leads/${leadId}`;
      await client.call("PUT", `${path}/stage`, { stageId: stage });
      await client.call("PUT", `${path}/owner`, { ownerId });
      await client.call("POST", `${path}/notes`, { text: "Calls back on Friday", shareable: true });
      await client.call("POST", `${path}/notes`, { text: "Haggles: for us only" });
      return leadId;
    },
    outbound: async (document) =>
      client.call("POST", "/v1/outbounds", { name: "To Receivers", workflowId: workflow.id, stageId, ...document }),
    refer: async (leadId, outboundId, confirmed = true) =>
      client.call("POST", `/v1/leads/${leadId}/referrals`, { outboundId, confirmed }),
  };
}
