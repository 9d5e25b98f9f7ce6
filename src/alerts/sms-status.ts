import { setTimeout } from "node:timers/promises";
import { sql } from "kysely";
import twilio from "twilio";
import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { explainTwilioError } from "./explain-twilio-error.ts";
import { smsStatusUrl } from "./send-sms.ts";

/** What Twilio sends when the status of a message changes, among other things. */
const reportSchema = z.object({
  MessageSid: z.string().regex(/^[A-Za-z0-9]{1,64}$/),
  MessageStatus: z.string().max(50),
  ErrorCode: z.coerce.number().int().optional().catch(undefined),
});

/** Statuses after which no other comes; all others say that the message is on its way, which we know. */
const finalStates: Readonly<Record<string, "delivered" | "failed">> = {
  delivered: "delivered",
  read: "delivered",
  undelivered: "failed",
  failed: "failed",
  canceled: "failed",
};

export type SmsStatusResult = "taken" | "unreadable" | "unknown_message";

/** Did Twilio send this? It signs the address that it was given and every parameter with the account's token. */
export function isSignedByTwilio(
  { config }: Context,
  signature: string,
  form: Readonly<Record<string, string>>,
): boolean {
  const { twilio: settings } = config;
  return settings !== null && twilio.validateRequest(settings.authToken, signature, smsStatusUrl(config), form);
}

/**
 * Takes a report whose signature was checked. Moves the alert from `sent` to `delivered` or `failed`; a report that comes
 * late, again or out of order changes nothing.
 */
export async function takeSmsStatus(
  context: Context,
  form: Readonly<Record<string, string>>,
): Promise<SmsStatusResult> {
  const report = reportSchema.safeParse(form);
  if (!report.success) return "unreadable";
  const { MessageSid: sid, MessageStatus: status, ErrorCode: errorCode } = report.data;
  const state = finalStates[status];
  if (state === undefined) return "taken";
  const found = await findAlert(context, sid);
  if (found === undefined) return "unknown_message";
  const { organisationId, alertId } = found;
  const error = state === "failed" ? explainTwilioError(errorCode ?? null, null) : null;
  const { numUpdatedRows } = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .updateTable("alerts")
      .set({ state, error, finishedAt: context.clock() })
      .where("id", "=", alertId)
      .where("state", "=", "sent")
      .executeTakeFirst(),
  );
  if (numUpdatedRows > 0n) {
    context.log.info({ organisationId, alertId, result: state, code: errorCode ?? null }, "alert.reported");
  }
  return "taken";
}

/** A report can overtake the answer that tells us the message's id, or the transaction that stores it. */
const lookAgainAfterMs = [0, 100, 300, 1_000];

async function findAlert(context: Context, sid: string) {
  for (const delayMs of lookAgainAfterMs) {
    if (delayMs > 0) await setTimeout(delayMs);
    const { rows } = await sql<{ organisationId: string; alertId: string }>`
      select * from find_alert_by_provider(${sid})
    `.execute(context.database);
    if (rows[0] !== undefined) return rows[0];
  }
  return undefined;
}
