import type { Database } from "../db/database.ts";
import { introducerAccounts } from "../ledger/accounts.ts";
import type { CostChange, IntroducerAccounts } from "../ledger/book.ts";
import { type AgreedCost, costCurrency } from "../prices/lead-cost.ts";

/** Who introduced a lead, and what was agreed for it; `accounts` where they are at hand. */
export interface Introduction {
  readonly introducerId: string | null;
  readonly leadCost: AgreedCost | null;
  readonly costAccounts?: IntroducerAccounts | null | undefined;
}

export interface CostReason {
  /** Says once for all what this is. */
  readonly key: string;
  readonly reason: string | null;
  readonly createdBy: string;
}

/** What changes in what an introducer is owed for a sale, or for the lead itself (id null), to be booked with it; null where nothing does. */
export async function changeCost(
  transaction: Database,
  organisationId: string,
  { introducerId, leadCost, costAccounts }: Introduction,
  sale: { readonly id: string | null; readonly leadId: string; readonly currency: string },
  amountMinor: number,
  because: CostReason,
): Promise<CostChange | null> {
  if (amountMinor === 0 || introducerId === null || leadCost === null) return null;
  const currency = costCurrency(leadCost, sale.currency);
  const accounts = costAccounts ?? (await introducerAccounts(transaction, organisationId, introducerId, currency));
  return {
    deliveryId: sale.id,
    leadId: sale.leadId,
    partnerId: introducerId,
    currency,
    accounts,
    amountMinor,
    ...because,
  };
}
