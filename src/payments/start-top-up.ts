import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { sha256 } from "../encrypt.ts";
import { readPartnerFunds } from "../ledger/accounts.ts";
import type { Change } from "../organisations/record-change.ts";
import { nextLook } from "./decide-top-up.ts";
import { type CurrentAccount, rangeInWords, readAccount, readCurrentAccount } from "./paypal-account.ts";
import { createOrder } from "./paypal-client.ts";
import { toPayPalMoney, whyNotPayable } from "./paypal-money.ts";
import { returnUrlOf } from "./public-addresses.ts";
import { readTopUp } from "./top-up-rows.ts";

export interface NewTopUp {
  readonly partnerId: string;
  readonly amountMinor: number;
  /** The same key of the same partner begins one payment. */
  readonly idempotencyKey: string | null;
}

export type StartedTopUp =
  | { readonly kind: "started"; readonly id: string }
  | { readonly kind: "partner_not_found" }
  | { readonly kind: "not_set_up"; readonly reason: string }
  /** Goes after the name of the field. */
  | { readonly kind: "bad_amount"; readonly code: "too_small" | "too_large" | "invalid"; readonly reason: string }
  | { readonly kind: "idempotency_conflict" }
  | { readonly kind: "service_trouble"; readonly reason: string };

/**
 * Begins a payment of a partner: an order at PayPal, for the payer to approve. Refuses what the organisation's settings do not
 * allow, before anything is made. Whoever calls decides who may; nothing here asks.
 */
export async function startTopUp(context: Context, change: Change, topUp: NewTopUp): Promise<StartedTopUp> {
  const stored = await inOrganisation(context.database, change.organisationId, async (transaction) =>
    storeRequest(transaction, change, topUp),
  );
  if (stored.kind !== "started") return stored;
  return placeOrder(context, change.organisationId, stored.id);
}

async function storeRequest(transaction: Database, change: Change, topUp: NewTopUp): Promise<StartedTopUp> {
  const { partnerId, amountMinor, idempotencyKey } = topUp;
  // Locked, so that its currency stays what it is.
  const funds = (await readPartnerFunds(transaction, [partnerId], "lock")).get(partnerId);
  if (funds === undefined) return { kind: "partner_not_found" };
  const { currency } = funds;
  const requestKey = idempotencyKey === null ? null : sha256(idempotencyKey).toString("base64url");
  if (requestKey !== null) {
    const earlier = await transaction
      .selectFrom("topUps")
      .select(["id", "amountMinor"])
      .where("partnerId", "=", partnerId)
      .where("requestKey", "=", requestKey)
      .executeTakeFirst();
    if (earlier !== undefined) {
      return earlier.amountMinor === amountMinor
        ? { kind: "started", id: earlier.id }
        : { kind: "idempotency_conflict" };
    }
  }
  const account = await readCurrentAccount(transaction);
  const refusal = refuse(account, amountMinor, currency);
  if (refusal !== null || account === null) return refusal ?? { kind: "not_set_up", reason: "" };
  const { organisationId, by, at } = change;
  const id = newId();
  await transaction
    .insertInto("topUps")
    .values({
      id,
      organisationId,
      partnerId,
      paypalAccountId: account.id,
      amountMinor,
      currency,
      state: "requested",
      requestKey,
      requestedBy: by,
      dueAt: nextLook({ state: "requested", createdAt: at, refunds: [] }, at),
      createdAt: at,
    })
    .execute();
  return { kind: "started", id };
}

function refuse(account: CurrentAccount | null, amountMinor: number, currency: string): StartedTopUp | null {
  if (account === null || !account.document.active) {
    return {
      kind: "not_set_up",
      reason: "The organisation takes no payments through PayPal: see PUT /v1/paypal-account.",
    };
  }
  const unpayable = whyNotPayable(amountMinor, currency);
  const range = account.document.amounts[currency];
  if (range === undefined) {
    const reason =
      unpayable === null ? "is not among the amounts of PUT /v1/paypal-account" : "is none that PayPal takes";
    return { kind: "not_set_up", reason: `The partner's currency ${currency} ${reason}.` };
  }
  if (unpayable !== null) return { kind: "bad_amount", code: "invalid", reason: unpayable };
  if (amountMinor >= range.minimum && amountMinor <= range.maximum) return null;
  const code = amountMinor < range.minimum ? "too_small" : "too_large";
  return { kind: "bad_amount", code, reason: `must be ${rangeInWords(range, currency)}` };
}

/**
 * Makes the order at PayPal. The top-up's id names the request: PayPal makes it once, however often a lost answer has it asked
 * for again.
 */
async function placeOrder(context: Context, organisationId: string, id: string): Promise<StartedTopUp> {
  const found = await inOrganisation(context.database, organisationId, async (transaction) => {
    const stored = await readTopUp(transaction, id);
    const account = stored === null ? null : await readAccount(transaction, stored.row.paypalAccountId);
    const names = await transaction
      .selectFrom("topUps as t")
      .innerJoin("partners as p", "p.id", "t.partnerId")
      .innerJoin("organisations as o", "o.id", "t.organisationId")
      .select(["p.name as partner", "o.name as organisation"])
      .where("t.id", "=", id)
      .executeTakeFirst();
    return stored === null || account === null || names === undefined ? null : { ...stored, account, names };
  });
  if (found === null) throw new Error(`Top-up ${id} was stored a moment ago.`);
  const { row, account, names } = found;
  if (row.state === "failed") return { kind: "service_trouble", reason: row.error ?? "It was not made in time." };
  if (row.state !== "requested") return { kind: "started", id };
  const returnUrl = returnUrlOf(context, id);
  const called = await createOrder(context, account, {
    id,
    amount: toPayPalMoney(row.amountMinor, row.currency),
    description: `Account of ${names.partner}`,
    brandName: names.organisation,
    returnUrl,
    cancelUrl: returnUrl,
  });
  const now = context.clock();
  const open = { state: "open" as const, error: null, dueAt: nextLook({ ...row, state: "open", refunds: [] }, now) };
  const change =
    called.kind === "answer"
      ? { ...open, ...called.value }
      : called.kind === "refused"
        ? { state: "failed" as const, error: called.reason, dueAt: null }
        : { error: called.reason };
  await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction.updateTable("topUps").set(change).where("id", "=", id).where("state", "=", "requested").execute(),
  );
  return called.kind === "answer" ? { kind: "started", id } : { kind: "service_trouble", reason: called.reason };
}
