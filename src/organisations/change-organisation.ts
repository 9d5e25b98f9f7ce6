import type { Database } from "../db/database.ts";
import { applyPatch } from "../http/patch-schema.ts";
import { changeAccountCurrency } from "../ledger/change-currency.ts";
import { percentToRate, rateToPercent } from "../money.ts";
import type { OrganisationDocument } from "./organisation.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "./record-change.ts";

export type StoredOrganisation = OrganisationDocument & {
  readonly id: string;
  readonly portalCode: string;
  readonly createdAt: Date;
};

/** Reads the caller's organisation. */
export async function readOrganisation(transaction: Database): Promise<StoredOrganisation> {
  const { smsRateMinor, taxRate, ...row } = await transaction
    .selectFrom("organisations")
    .select(["id", "name", "portalCode", "timeZone", "currency", "smsRateMinor", "staffEmail", "createdAt"])
    .select(["address", "taxId", "taxName", "taxRate", "invoicePrefix", "invoiceDueDays", "returnReasons"])
    .executeTakeFirstOrThrow();
  return { ...row, smsRate: smsRateMinor, taxPercent: rateToPercent(taxRate) };
}

/** What is stored of an organisation's document. */
export function organisationRow(document: OrganisationDocument) {
  const { name, timeZone, currency, staffEmail, address, taxId, taxName, invoicePrefix, invoiceDueDays } = document;
  const taxRate = percentToRate(document.taxPercent);
  if (taxRate === null) throw new Error("A tax rate with too many decimals went past the schema.");
  const invoicing = { address, taxId, taxName, taxRate, invoicePrefix, invoiceDueDays };
  const returnReasons = JSON.stringify(document.returnReasons);
  return { name, timeZone, currency, staffEmail, smsRateMinor: document.smsRate, ...invoicing, returnReasons };
}

export type OrganisationPatch = {
  readonly [Key in keyof OrganisationDocument]?: OrganisationDocument[Key] | undefined;
};

/** Changes what the patch names. Refuses (null) another currency once anything is booked in the present one. */
export async function changeOrganisation(
  transaction: Database,
  change: Change,
  patch: OrganisationPatch,
): Promise<StoredOrganisation | null> {
  await transaction.selectFrom("organisations").select("id").forNoKeyUpdate().executeTakeFirstOrThrow();
  const before = await readOrganisation(transaction);
  const after = applyPatch(before, patch);
  const keys = changedKeys(before, after);
  if (keys.length === 0) return before;
  if (keys.includes("currency") && !(await changeAccountCurrency(transaction, null, after.currency))) return null;
  await transaction.updateTable("organisations").set(organisationRow(after)).where("id", "=", before.id).execute();
  const object = { kind: "organisation", id: before.id } as const;
  await recordChange(transaction, change, object, pickKeys(before, keys), pickKeys(after, keys));
  return after;
}
