import { sql } from "kysely";
import { sendAlerts } from "../../queues/send-alerts.ts";
import { insertAlerts } from "../alerts/insert-alerts.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { tokenAlert } from "./token-alert.ts";
import { createUserToken } from "./user-tokens.ts";

/** Whoever asks again and again fills nobody's mailbox: a link that was mailed so lately is still on its way. */
const pauseMs = 120_000;

/** More accounts of one email are not looked at. */
const mostAccounts = 20;

/** Mails a link to set another password to each account of this email, in one organisation or all. Where there is none, does nothing. */
export async function requestReset(context: Context, email: string, portalCode: string | null): Promise<void> {
  const { rows } = await sql<{ organisationId: string; userId: string }>`
    select * from find_users_by_email(${email.toLowerCase()}, ${portalCode}, false)
  `.execute(context.database);
  // Each is of another organisation, and so in a transaction of its own.
  for (const { organisationId, userId } of rows.slice(0, mostAccounts)) {
    await mailReset(context, organisationId, userId);
  }
}

async function mailReset(context: Context, organisationId: string, userId: string): Promise<void> {
  const at = context.clock();
  await inOrganisation(context.database, organisationId, async (transaction) => {
    const user = await transaction
      .selectFrom("users")
      .select(["id", "organisationId", "email", "name", "partnerId"])
      .where("id", "=", userId)
      .where("disabledAt", "is", null)
      .forNoKeyUpdate()
      .executeTakeFirst();
    if (user === undefined) return;
    const lately = await transaction
      .selectFrom("userTokens")
      .select("id")
      .where("userId", "=", userId)
      .where("purpose", "=", "password_reset")
      .where("createdAt", ">", new Date(at.getTime() - pauseMs))
      .limit(1)
      .executeTakeFirst();
    if (lately !== undefined) return;
    const token = await createUserToken(transaction, user, "password_reset", at);
    await insertAlerts(transaction, organisationId, [tokenAlert(context.vault, user, "password_reset", token)], at);
  });
  context.waker.wake(sendAlerts, { organisationId });
}
