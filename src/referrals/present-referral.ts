import type { Selectable } from "kysely";
import { z } from "zod";
import type { Database } from "../db/database.ts";
import type { Tables } from "../db/tables.ts";
import { instantSchema } from "../http/api.ts";
import { referralStatuses } from "./protocol.ts";
import type { ReferralContent } from "./share-deal.ts";

export const referralStates = ["due", "sent", "refused", "failed", "cancelled"] as const;

export const referralAnswer = z
  .object({
    id: z.uuid(),
    leadId: z.uuid(),
    outboundId: z.uuid().nullable(),
    connectionId: z.uuid().nullable(),
    link: z.string().meta({ description: "the link as it was called then" }),
    organisation: z.string().nullable().meta({ description: "the other side, as it named itself" }),
    state: z.enum(referralStates),
    reason: z.string().nullable().meta({ description: "of a refusal, a failure, or the last try that went wrong" }),
    mayHaveArrived: z.boolean(),
    dueAt: instantSchema.nullable().meta({ description: "when it is tried next" }),
    attemptCount: z.int(),
    receivedAs: z.string().nullable().meta({ description: "what the other side calls the lead" }),
    status: z.enum(referralStatuses).nullable().meta({ description: "what became of it there" }),
    statusReason: z.string().nullable(),
    statusAt: instantSchema.nullable(),
    confirmedBy: z.string().meta({ description: "who confirmed that client data goes to the other organisation" }),
    createdAt: instantSchema,
    finishedAt: instantSchema.nullable(),
  })
  .meta({ id: "Referral" });
export type ReferralAnswer = z.infer<typeof referralAnswer>;

const attemptAnswer = z
  .object({
    number: z.int(),
    startedAt: instantSchema,
    durationMs: z.int(),
    outcome: z.enum(["sent", "refused", "trouble", "cancelled", "interrupted"]),
    reason: z.string().nullable(),
    mayHaveArrived: z.boolean(),
    status: z.int().nullable().meta({ description: "of the answer" }),
    response: z.record(z.string(), z.unknown()).nullable().meta({ description: "cut short, secrets masked" }),
    retryAt: instantSchema.nullable(),
  })
  .meta({ id: "ReferralAttempt" });

export const referralDetail = referralAnswer
  .extend({
    shared: z
      .object({ fields: z.array(z.string()), contacts: z.int(), notes: z.int() })
      .nullable()
      .meta({
        description: "what goes: the keys of fields, how many contacts and notes. null once the lead is erased",
      }),
    attempts: z.array(attemptAnswer),
  })
  .meta({ id: "ReferralDetail" });
export type ReferralDetail = z.infer<typeof referralDetail>;

export const referralColumns = [
  "id",
  "leadId",
  "outboundId",
  "connectionId",
  "linkName",
  "remoteOrganisation",
  "state",
  "reason",
  "mayHaveArrived",
  "dueAt",
  "attemptCount",
  "receivedAs",
  "status",
  "statusReason",
  "statusAt",
  "confirmedBy",
  "createdAt",
  "finishedAt",
] as const;
type ReferralRow = Pick<Selectable<Tables["referrals"]>, (typeof referralColumns)[number]>;

export function presentReferral({ linkName, remoteOrganisation, ...row }: ReferralRow): ReferralAnswer {
  return {
    ...row,
    link: linkName,
    organisation: remoteOrganisation,
    dueAt: row.dueAt?.toISOString() ?? null,
    statusAt: row.statusAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    finishedAt: row.finishedAt?.toISOString() ?? null,
  };
}

/** As many attempts are told of, the latest: with retries by hand there may be any number. */
const mostTold = 100;

/** A referral with what goes and every try; null where the organisation has none of that id. */
export async function readReferral(transaction: Database, id: string): Promise<ReferralDetail | null> {
  const row = await transaction
    .selectFrom("referrals")
    .select([...referralColumns, "content"])
    .where("id", "=", id)
    .executeTakeFirst();
  if (row === undefined) return null;
  const { content, ...referral } = row;
  const attempts = await transaction
    .selectFrom("referralAttempts")
    .select([
      "number",
      "startedAt",
      "durationMs",
      "outcome",
      "reason",
      "mayHaveArrived",
      "status",
      "response",
      "retryAt",
    ])
    .where("referralId", "=", id)
    .orderBy("number", "desc")
    .limit(mostTold)
    .execute();
  return {
    ...presentReferral(referral),
    shared: content === null ? null : summarise(content),
    attempts: attempts.reverse().map((attempt) => ({
      ...attempt,
      startedAt: attempt.startedAt.toISOString(),
      retryAt: attempt.retryAt?.toISOString() ?? null,
    })),
  };
}

function summarise({ lead }: ReferralContent): ReferralDetail["shared"] {
  const { fields, contacts, notes } = lead;
  return { fields: fields.map(({ key }) => key), contacts: contacts.length, notes: notes.length };
}
