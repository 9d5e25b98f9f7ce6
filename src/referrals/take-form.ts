import { sql } from "kysely";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Field } from "../campaigns/fields.ts";
import { type FieldProblem, matchKeys, normaliseFields } from "../campaigns/normalise-fields.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { canonicalJson } from "../leads/canonical-json.ts";
import type { InboundForm } from "./inbound.ts";
import { findTarget, type Refusal } from "./receive-referral.ts";
import { storeDeal } from "./store-deal.ts";

/** The form of an inbound. */
export interface FoundForm {
  readonly organisationId: string;
  readonly inboundId: string;
  readonly form: InboundForm;
  /** What it asks for: the contact's fields and those that are marked as shareable. */
  readonly fields: readonly Field[];
}

/** The form that a token stands for; `closed` where its inbound takes nothing at the moment, null where there is no such token. */
export async function findForm(context: Context, token: string): Promise<FoundForm | "closed" | null> {
  const { rows } = await sql<{ organisationId: string; inboundId: string }>`
    select * from find_inbound_form(${token})`.execute(context.database);
  const [found] = rows;
  if (found === undefined) return null;
  const { organisationId, inboundId } = found;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const inbound = await transaction
      .selectFrom("inbounds")
      .select("form")
      .where("id", "=", inboundId)
      .executeTakeFirstOrThrow();
    const target = await findTarget(transaction, { kind: "inbound", inboundId });
    if (inbound.form === null || target.kind === "refused") return "closed";
    return { organisationId, inboundId, form: inbound.form, fields: target.fields.filter(isAsked) };
  });
}

function isAsked({ group, shareable }: Field): boolean {
  return group === "contact" || shareable === true;
}

export type TakeFormResult =
  | { readonly kind: "taken" }
  | { readonly kind: "invalid"; readonly problems: readonly FieldProblem[] }
  | Refusal;

/**
 * Takes in what somebody filled into a form, as a lead in the inbound's stage, which is not routed. The same submission again
 * is the same lead. Refused is what intake would refuse in the fields that the form asks for, and then nothing is kept.
 */
export async function takeForm(
  context: Context,
  { organisationId, inboundId }: FoundForm,
  submission: string,
  raw: Readonly<Record<string, string>>,
): Promise<TakeFormResult> {
  const { vault } = context;
  const now = context.clock();
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const target = await findTarget(transaction, { kind: "inbound", inboundId });
    if (target.kind === "refused") return target;
    const asked = normaliseFields(target.fields.filter(isAsked), raw);
    if (!asked.ok) return { kind: "invalid", problems: asked.problems } as const;
    const absent = Object.fromEntries(target.fields.map(({ key }) => [key, null]));
    const fields = { ...absent, ...asked.values };
    const key = `form-${submission}`;
    const lock = vault.fingerprint(`${target.campaignId} ${key}`).readBigInt64BE(0).toString();
    await sql`select pg_advisory_xact_lock(${lock}::bigint)`.execute(transaction);
    if (await isKnown(transaction, target.campaignId, key)) return { kind: "known" } as const;
    const { link } = target;
    const leadId = await storeDeal(
      transaction,
      vault,
      {
        ...{ organisationId, target, source: "form", fields, contacts: [], extra: {}, notes: [] },
        matchKeys: matchKeys(target.fields, fields, target.duplicates?.match ?? []),
        ownerId: target.workflowOwnerId,
        event: { kind: "came_by_form", detail: { link } },
        alert: { referrer: null, by: null, link, referral: null },
      },
      now,
    );
    await transaction
      .insertInto("idempotencyKeys")
      .values({
        ...{ organisationId, campaignId: target.campaignId, key, leadId, status: 201, createdAt: now },
        contentHash: vault.fingerprint(`${target.campaignId} content ${canonicalJson(raw)}`),
        answer: JSON.stringify({ status: "received", leadId }),
      })
      .execute();
    return { kind: "stored" } as const;
  });
  if (result.kind === "stored") context.waker.wake(sendAlerts, { organisationId });
  return result.kind === "stored" || result.kind === "known" ? { kind: "taken" } : result;
}

async function isKnown(transaction: Database, campaignId: string, key: string): Promise<boolean> {
  const row = await transaction
    .selectFrom("idempotencyKeys")
    .select("leadId")
    .where("campaignId", "=", campaignId)
    .where("key", "=", key)
    .executeTakeFirst();
  return row !== undefined;
}
