import { isDeepStrictEqual } from "node:util";
import { sql } from "kysely";
import { drainPartner } from "../../queues/drain-partner.ts";
import { keepMaskedSecrets } from "../channels/settings.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { Vault } from "../encrypt.ts";
import type { FieldError } from "../errors.ts";
import { applyPatch } from "../http/patch-schema.ts";
import { openPartnerAccounts } from "../ledger/accounts.ts";
import { changeAccountCurrency } from "../ledger/change-currency.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "../organisations/record-change.ts";
import { checkDelivery, type FittedCampaign, readFittedCampaigns } from "./check-delivery.ts";
import { maskDeliverySettings, openDeliverySettings } from "./delivery-settings.ts";
import type { PartnerDocument } from "./partner.ts";
import { partnerColumns, toColumns, toDocument } from "./partner-row.ts";
import { lockAllUsage, recountUsage } from "./recount-usage.ts";
import { clearPause, recheckHoldsOf } from "./resume-partner.ts";
import { ensureUsageRows } from "./save-usage.ts";
import { nextSummary, summaryUntil } from "./summary-time.ts";

export type PartnerPatch = { readonly [Key in keyof PartnerDocument]?: PartnerDocument[Key] | undefined };

export type CreateResult =
  | { readonly kind: "stored"; readonly id: string }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] };

export type ChangeResult =
  | { readonly kind: "stored"; readonly keys: readonly (keyof PartnerDocument)[] }
  | { readonly kind: "not_found" }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] }
  | { readonly kind: "currency_in_use" };

/** Makes a partner with all that belongs to it, in one transaction. Refuses delivery settings that cannot work, by field. */
export async function createPartner(
  context: Context,
  change: Change,
  document: PartnerDocument,
): Promise<CreateResult> {
  const delivery = await withKeptSecrets(document, null, []);
  if (!delivery.ok) return { kind: "invalid", fields: delivery.fields };
  const { organisationId, at } = change;
  const id = newId();
  const fields = await inOrganisation(context.database, organisationId, async (transaction) => {
    const unknown = await checkReturns(transaction, document, null);
    if (unknown.length > 0) return unknown;
    await transaction
      .insertInto("partners")
      .values({ id, organisationId, ...toColumns(context.vault, document), createdAt: at, updatedAt: at })
      .execute();
    const unset = { pausedUntil: null, pauseReason: null, drainToken: null, drainLeasedUntil: null };
    await transaction
      .insertInto("endpoints")
      .values({ partnerId: id, organisationId, ...unset, nextSendAt: null, recheckHoldsAt: null })
      .execute();
    await ensureUsageRows(transaction, organisationId, [id], null);
    const isLow = document.creditLimit < document.lowFundsThreshold;
    await openPartnerAccounts(transaction, organisationId, id, document.currency, isLow ? at : null);
    if (document.alerts.fundsSummaryAt !== null) await scheduleSummary(transaction, id, document, at);
    await recordChange(transaction, change, { kind: "partner", id }, null, masked(document));
    return [];
  });
  return fields.length > 0 ? { kind: "invalid", fields } : { kind: "stored", id };
}

/** Reads the document of a partner, its secrets in the clear; with `lock`, so that no other change comes between. */
async function readDocument(transaction: Database, vault: Vault, id: string): Promise<PartnerDocument | null> {
  const row = await transaction
    .selectFrom("partners")
    .select(partnerColumns)
    .where("id", "=", id)
    .forNoKeyUpdate()
    .executeTakeFirst();
  if (row === undefined) return null;
  const document = toDocument(row);
  return { ...document, ...openDeliverySettings(vault, document) };
}

/** What may let a lead go that waits for the partner now. */
const maySetHoldsFree: ReadonlySet<keyof PartnerDocument> = new Set([
  "active",
  "type",
  "timeZone",
  "leadValue",
  "billing",
  "creditLimit",
  "limits",
  "schedule",
  "whenClosed",
  "whenCapped",
  "whenUnfunded",
  "internet",
  "email",
  "spreadSeconds",
]);

/**
 * Changes what the patch names; a masked secret stands for the stored one. Refuses delivery settings that cannot work, and
 * another currency once money is booked. Held leads that this may let go are looked at again.
 */
export async function changePartner(
  context: Context,
  change: Change,
  id: string,
  patch: PartnerPatch,
): Promise<ChangeResult> {
  const result = await inOrganisation(context.database, change.organisationId, async (transaction) =>
    changePartnerIn(transaction, context.vault, change, id, patch),
  );
  wakeAfterChange(context, change.organisationId, id, result);
  return result;
}

/** To be called once the change is committed. */
export function wakeAfterChange(
  context: Context,
  organisationId: string,
  partnerId: string,
  result: ChangeResult,
): void {
  if (result.kind === "stored" && result.keys.some((key) => maySetHoldsFree.has(key))) {
    context.waker.wake(drainPartner, { organisationId, partnerId });
  }
}

/** The same in a transaction. Where it refuses nothing is written. */
export async function changePartnerIn(
  transaction: Database,
  vault: Vault,
  change: Change,
  id: string,
  patch: PartnerPatch,
): Promise<ChangeResult> {
  const { at } = change;
  const before = await readDocument(transaction, vault, id);
  if (before === null) return { kind: "not_found" };
  const campaigns = await readFittedCampaigns(transaction, id);
  const kept = await withKeptSecrets(applyPatch(before, patch), before, campaigns);
  if (!kept.ok) return { kind: "invalid", fields: kept.fields };
  const after = kept.document;
  const unknown = await checkReturns(transaction, after, before);
  if (unknown.length > 0) return { kind: "invalid", fields: unknown };
  const keys = changedKeys(before, after);
  if (keys.includes("timeZone")) await lockAllUsage(transaction, id);
  if (keys.includes("currency") && !(await changeAccountCurrency(transaction, id, after.currency))) {
    return { kind: "currency_in_use" };
  }
  if (keys.length === 0) return { kind: "stored", keys };
  await transaction
    .updateTable("partners")
    .set({ ...toColumns(vault, after), updatedAt: at })
    .where("id", "=", id)
    .execute();
  if (keys.includes("timeZone")) await recountUsage(transaction, id, after.timeZone, at);
  if (keys.some((key) => maySetHoldsFree.has(key))) await recheckHoldsOf(transaction, [id], at);
  if (keys.includes("internet") || keys.includes("email")) await clearPause(transaction, id);
  if (before.timeZone !== after.timeZone || before.alerts.fundsSummaryAt !== after.alerts.fundsSummaryAt) {
    await scheduleSummary(transaction, id, after, at);
  }
  if (keys.includes("creditLimit") || keys.includes("lowFundsThreshold")) {
    const isCredited = keys.includes("lowFundsThreshold") || after.creditLimit > before.creditLimit;
    // Last: its account is locked after all else, as everywhere.
    await sql`select partner_funds_changed(${id}, ${isCredited}, ${at})`.execute(transaction);
  }
  const object = { kind: "partner", id } as const;
  await recordChange(transaction, change, object, pickKeys(masked(before), keys), pickKeys(masked(after), keys));
  return { kind: "stored", keys };
}

/** Sets when the next summary of the partner's funds is due, and from when on it tells: from the one before, if there was one. */
async function scheduleSummary(
  transaction: Database,
  id: string,
  { timeZone, alerts }: Pick<PartnerDocument, "timeZone" | "alerts">,
  at: Date,
): Promise<void> {
  const time = alerts.fundsSummaryAt;
  const dueAt = time === null ? null : nextSummary(timeZone, time, at);
  const since = time === null ? null : summaryUntil(timeZone, time, at);
  await transaction
    .updateTable("partners")
    .set((is) => ({
      summaryDueAt: dueAt,
      summarySince: since === null ? null : is.fn.coalesce("summarySince", is.val(since)),
    }))
    .where("id", "=", id)
    .execute();
}

type Kept =
  | { readonly ok: true; readonly document: PartnerDocument }
  | { readonly ok: false; readonly fields: readonly FieldError[] };

/** Puts the stored secrets where the mask stands in for them, and checks that the delivery settings can work. */
async function withKeptSecrets(
  next: PartnerDocument,
  previous: PartnerDocument | null,
  campaigns: readonly FittedCampaign[],
): Promise<Kept> {
  const problems: FieldError[] = [];
  const keep = <Settings extends object>(part: "internet" | "email", settings: Settings | null): Settings | null => {
    if (settings === null) return null;
    const kept = keepMaskedSecrets(settings, previous?.[part] ?? null);
    if (kept.ok) return kept.settings;
    problems.push(
      ...kept.problems.map(({ field, message }) => ({ field: `${part}.${field}`, code: "required", message })),
    );
    return settings;
  };
  const document = { ...next, internet: keep("internet", next.internet), email: keep("email", next.email) };
  const fields = problems.length > 0 ? problems : await checkChanged(document, previous, campaigns);
  return fields.length > 0 ? { ok: false, fields } : { ok: true, document };
}

/** Settings that are as they were are not refused again: a campaign may have changed under them. */
async function checkChanged(
  document: PartnerDocument,
  previous: PartnerDocument | null,
  campaigns: readonly FittedCampaign[],
): Promise<readonly FieldError[]> {
  const isSame = (part: "internet" | "email") => isDeepStrictEqual(document[part], previous?.[part] ?? null);
  const internet = isSame("internet") ? null : document.internet;
  return checkDelivery({ internet, email: isSame("email") ? null : document.email }, campaigns);
}

/** Reasons that never count are of the organisation's list, when they are set. */
async function checkReturns(
  transaction: Database,
  { returns }: PartnerDocument,
  previous: PartnerDocument | null,
): Promise<readonly FieldError[]> {
  const codes = returns?.neverFor ?? [];
  if (codes.length === 0 || isDeepStrictEqual(codes, previous?.returns?.neverFor)) return [];
  const { returnReasons } = await transaction
    .selectFrom("organisations")
    .select("returnReasons")
    .executeTakeFirstOrThrow();
  const known = returnReasons.map(({ code }) => code);
  return codes.flatMap((code, index) => {
    const message = `must be one of ${known.join(", ")} (was "${code}")`;
    return known.includes(code) ? [] : [{ field: `returns.neverFor.${index}`, code: "not_allowed", message }];
  });
}

function masked(document: PartnerDocument): PartnerDocument {
  return { ...document, ...maskDeliverySettings(document) };
}
