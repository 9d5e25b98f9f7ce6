import type { Database } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { book } from "../ledger/book.ts";

/** An SMS that the service took. */
export interface SentSms {
  readonly alertId: string;
  readonly segments: number;
  readonly partnerId: string | null;
  readonly leadId: string | null;
  readonly deliveryId: string | null;
}

/** Opens the accounts in which an organisation's use of SMS is booked, in its currency. Opens none twice. */
async function openSmsAccounts(transaction: Database, organisationId: string, currency: string): Promise<void> {
  const rows = (["sms_payable", "sms_usage"] as const).map((kind) => ({
    id: newId(),
    organisationId,
    partnerId: null,
    kind,
    currency,
  }));
  await transaction
    .insertInto("accounts")
    .values(rows)
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Books what was sent at the organisation's rate: segments × rate from sms_payable to sms_usage, once for each alert. */
export async function chargeSms(
  transaction: Database,
  organisationId: string,
  messages: readonly SentSms[],
  now: Date,
): Promise<void> {
  if (messages.length === 0) return;
  const { currency, smsRateMinor } = await transaction
    .selectFrom("organisations")
    .select(["currency", "smsRateMinor"])
    .where("id", "=", organisationId)
    .executeTakeFirstOrThrow();
  if (smsRateMinor === 0) return;
  const accounts = await lockSmsAccounts(transaction, organisationId, currency);
  const movements = messages.map((message) => ({
    key: `sms-${message.alertId}`,
    kind: "sms" as const,
    currency,
    partnerId: message.partnerId,
    leadId: message.leadId,
    deliveryId: message.deliveryId,
    reason: `${message.segments} × ${smsRateMinor}`,
    createdBy: "system",
    fromAccountId: accounts.payable,
    toAccountId: accounts.usage,
    amountMinor: message.segments * smsRateMinor,
  }));
  await book(transaction, organisationId, movements, now);
}

/** Locks both in the order of their ids, as everywhere: two groups that settle at once never wait in a ring. */
async function lockSmsAccounts(transaction: Database, organisationId: string, currency: string) {
  const read = async () =>
    transaction
      .selectFrom("accounts")
      .select(["id", "kind"])
      .where("partnerId", "is", null)
      .where("kind", "in", ["sms_payable", "sms_usage"])
      .where("currency", "=", currency)
      .orderBy("id")
      .forNoKeyUpdate()
      .execute();
  let rows = await read();
  if (rows.length < 2) {
    await openSmsAccounts(transaction, organisationId, currency);
    rows = await read();
  }
  const payable = rows.find((row) => row.kind === "sms_payable");
  const usage = rows.find((row) => row.kind === "sms_usage");
  if (payable === undefined || usage === undefined) {
    throw new Error(
      `Organisation ${organisationId} has no SMS accounts in ${currency}: openSmsAccounts did not open them.`,
    );
  }
  return { payable: payable.id, usage: usage.id };
}
