import { inOrganisation } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import type { Role } from "../../src/people/permissions.ts";
import type { Referral } from "../../src/referrals/protocol.ts";
import type { TestApi, TestClient } from "./api.ts";

/** Workflows, inbounds and what is sent to them. */

let names = 0;

/** A member of staff, as if the invitation had been accepted. */
export async function addUser(
  { context }: { readonly context: Pick<TestApi["context"], "database" | "clock"> },
  { organisationId }: Pick<TestClient, "organisationId">,
  user: { readonly email?: string; readonly name?: string; readonly phone?: string; readonly role?: Role } = {},
): Promise<string> {
  names += 1;
  const id = newId();
  const at = context.clock();
  const { email = `user${names}@example.com`, name = `User ${names}`, phone = null, role = "agent" } = user;
  await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .insertInto("users")
      .values({
        ...{ id, organisationId, partnerId: null, email, name, phone, role, access: null, passwordHash: null },
        ...{ totpSecret: null, totpConfirmedAt: null, totpLastStep: null, disabledAt: null },
        ...{ createdAt: at, updatedAt: at },
      })
      .execute(),
  );
  return id;
}

export interface TestWorkflow {
  readonly id: string;
  /** Of its stages, in their order: New and Working, unless others were asked for. */
  readonly stageIds: readonly string[];
}

export async function addWorkflow(
  client: TestClient,
  document: {
    readonly campaignId: string;
    readonly ownerId: string;
    readonly name?: string;
    readonly stages?: readonly string[];
    readonly alertSms?: boolean;
  },
): Promise<TestWorkflow> {
  const { stages = ["New", "Working"], ...rest } = document;
  const body = { name: "Sales", ...rest, stages: stages.map((name) => ({ name })) };
  const answer = await client.call("POST", "/v1/workflows", body);
  return { id: answer.text("id"), stageIds: stages.map((_, index) => answer.text(`stages.${index}.id`)) };
}

export interface TestInbound {
  readonly id: string;
  /** The path of its referral URL. */
  readonly path: string;
  readonly key: string;
}

export async function addInbound(
  client: TestClient,
  { id: workflowId, stageIds: [stageId] }: TestWorkflow,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<TestInbound> {
  const document = { name: "Partners in trade", workflowId, stageId, ...changes };
  const answer = await client.call("POST", "/v1/inbounds", document);
  return { id: answer.text("id"), path: new URL(answer.text("referralUrl")).pathname, key: answer.text("key") };
}

/** A referral that is like no other, of a lead with one more contact and a note. */
export function referralDocument(changes: Partial<Referral> = {}, lead: Partial<Referral["lead"]> = {}): Referral {
  const contactField = { type: "text", group: "contact" } as const;
  return {
    version: 1,
    referralId: newId(),
    from: { organisation: "Brightwater Brokers", installation: "https://crm.brightwater.test" },
    referredAt: "2026-11-20T09:30:00Z",
    referredBy: { name: "Dana Cole", email: "dana@brightwater.test" },
    owner: null,
    lead: {
      id: "deal-4711",
      receivedAt: "2026-11-19T16:05:00Z",
      source: "website",
      fields: [
        { key: "first_name", label: "First name", value: "Grace", ...contactField },
        { key: "email", label: "Email", value: "grace@EXAMPLE.com", ...contactField },
        { key: "postcode", label: "Postcode", type: "postcode", group: null, value: "sw1a1aa" },
        { key: "favourite_colour", label: "Favourite colour", type: "text", group: null, value: "green" },
      ],
      contacts: [[{ key: "first_name", label: "First name", value: "Henry", ...contactField }]],
      notes: [{ text: "Prefers mornings.", writtenBy: "Dana Cole", writtenAt: "2026-11-19T17:00:00Z" }],
      ...lead,
    },
    status: null,
    ...changes,
  };
}
