import { z } from "zod";
import { secretMask, secretSchema } from "../channels/http-settings.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { formatAmount } from "../money.ts";
import { type Change, changedKeys, pickKeys, recordChange } from "../organisations/record-change.ts";
import { mostMinorUnits } from "../schemas.ts";
import { payPalCurrencies, whyNotPayable } from "./paypal-money.ts";

const amountSchema = z
  .int("must be a whole number of minor units (1250 is 12.50)")
  .min(1, "must be above zero")
  .max(mostMinorUnits, `must be at most ${mostMinorUnits}`);

const rangeSchema = z
  .strictObject({ minimum: amountSchema, maximum: amountSchema })
  .refine(({ minimum, maximum }) => minimum <= maximum, { path: ["maximum"], error: "must not be below the minimum" });

const amountsSchema = z.record(z.string(), rangeSchema).superRefine((amounts, context) => {
  for (const [currency, { minimum, maximum }] of Object.entries(amounts)) {
    if (!payPalCurrencies.includes(currency)) {
      const message = `${currency} is no currency that PayPal takes; it takes ${payPalCurrencies.join(", ")}`;
      context.addIssue({ code: "custom", path: [currency], message });
      continue;
    }
    for (const [name, amountMinor] of Object.entries({ minimum, maximum })) {
      const message = whyNotPayable(amountMinor, currency);
      if (message !== null) context.addIssue({ code: "custom", path: [currency, name], message });
    }
  }
});

/** What an organisation sets for payments through PayPal. */
export const payPalAccountSchema = z.strictObject({
  environment: z.enum(["sandbox", "live"], "must be sandbox or live"),
  clientId: z.string().trim().min(1).max(200),
  clientSecret: secretSchema,
  webhookId: z
    .string()
    .regex(/^[A-Za-z0-9]{1,50}$/, "must be what PayPal calls the webhook, such as 8PT597110X687430LKGECATA")
    .nullable()
    .default(null)
    .meta({ description: "without it webhooks are refused, and payments are found by asking PayPal" }),
  amounts: amountsSchema.meta({
    description: "by currency, in minor units: the least and the most at once. No other currency is taken",
  }),
  active: z.boolean().default(true).meta({ description: "whether new payments are taken" }),
});
export type PayPalAccountDocument = z.infer<typeof payPalAccountSchema>;

/** An account as its calls to PayPal need it. */
export interface PayPalAccount {
  readonly id: string;
  readonly environment: "sandbox" | "live";
  readonly clientId: string;
  readonly clientSecretEncrypted: string;
  readonly webhookId: string | null;
}

export interface CurrentAccount {
  readonly id: string;
  /** Its secret is masked. */
  readonly document: PayPalAccountDocument;
}

const columns = ["id", "environment", "clientId", "clientSecretEncrypted", "webhookId", "amounts", "active"] as const;

/** The account that new payments go through; null where none was set. */
export async function readCurrentAccount(transaction: Database): Promise<CurrentAccount | null> {
  const row = await transaction
    .selectFrom("paypalAccounts")
    .select(columns)
    .where("isCurrent", "=", true)
    .executeTakeFirst();
  if (row === undefined) return null;
  const { id, environment, clientId, webhookId, amounts, active } = row;
  return { id, document: { environment, clientId, clientSecret: secretMask, webhookId, amounts, active } };
}

/** Any account of the organisation, present or former. */
export async function readAccount(transaction: Database, id: string): Promise<PayPalAccount | null> {
  const row = await transaction.selectFrom("paypalAccounts").select(columns).where("id", "=", id).executeTakeFirst();
  return row ?? null;
}

/**
 * Sets the organisation's account. With another client id or environment it is another account: what was paid through the
 * former one goes on there. A masked secret stays as it is; refuses ("secret_missing") where none is stored for that account.
 */
export async function storeAccount(
  context: Context,
  change: Change,
  document: PayPalAccountDocument,
): Promise<"stored" | "secret_missing"> {
  const { organisationId } = change;
  const { environment, clientId, clientSecret } = document;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    // One change at a time: there is one current account.
    await transaction.selectFrom("organisations").select("id").forNoKeyUpdate().executeTakeFirstOrThrow();
    const before = await readCurrentAccount(transaction);
    const known = await transaction
      .selectFrom("paypalAccounts")
      .select(["id", "clientSecretEncrypted"])
      .where("environment", "=", environment)
      .where("clientId", "=", clientId)
      .executeTakeFirst();
    const isSecretKept = clientSecret === secretMask;
    if (isSecretKept && known === undefined) return "secret_missing";
    const secret = isSecretKept ? known?.clientSecretEncrypted : undefined;
    const id = known?.id ?? newId();
    await writeAccount(transaction, change, id, document, secret ?? context.vault.encrypt(clientSecret));
    await recordAccountChange(transaction, change, id, before, document);
    return "stored";
  });
}

async function writeAccount(
  transaction: Database,
  { organisationId, at }: Change,
  id: string,
  { environment, clientId, webhookId, amounts, active }: PayPalAccountDocument,
  clientSecretEncrypted: string,
): Promise<void> {
  await transaction
    .updateTable("paypalAccounts")
    .set({ isCurrent: false })
    .where("isCurrent", "=", true)
    .where("id", "<>", id)
    .execute();
  const settings = { clientSecretEncrypted, webhookId, amounts: JSON.stringify(amounts), active, isCurrent: true };
  await transaction
    .insertInto("paypalAccounts")
    .values({ id, organisationId, environment, clientId, ...settings, createdAt: at, updatedAt: at })
    .onConflict((conflict) => conflict.column("id").doUpdateSet({ ...settings, updatedAt: at }))
    .execute();
}

async function recordAccountChange(
  transaction: Database,
  change: Change,
  id: string,
  before: CurrentAccount | null,
  document: PayPalAccountDocument,
): Promise<void> {
  const object = { kind: "paypal_account", id } as const;
  const after = { ...document, clientSecret: secretMask };
  if (before === null) return recordChange(transaction, change, object, null, after);
  // A new secret shows as a change, though of neither anything is seen.
  const keys = changedKeys(before.document, document);
  if (keys.length === 0) return;
  await recordChange(transaction, change, object, pickKeys(before.document, keys), pickKeys(after, keys));
}

/** The range of amounts in words, for those whose amount is outside of it. */
export function rangeInWords({ minimum, maximum }: z.infer<typeof rangeSchema>, currency: string): string {
  return `from ${formatAmount(minimum, currency)} to ${formatAmount(maximum, currency)} ${currency}`;
}
