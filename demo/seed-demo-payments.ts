import type { Context } from "../src/context.ts";
import { inOrganisation } from "../src/db/database.ts";
import { readCurrentAccount, storeAccount } from "../src/payments/paypal-account.ts";
import { webhookUrlOf } from "../src/payments/public-addresses.ts";
import { demoPayPalAccount, type PayPalCatcher } from "./paypal-catcher.ts";

const demoWebhookId = "DEMOWEBHOOK000001";

/**
 * Gives the organisation an account at the demo's PayPal, unless it has one of its own, and tells the demo's PayPal where its
 * webhooks go. At every start, since that PayPal forgets.
 */
export async function connectDemoPayPal(
  context: Context,
  organisationId: string,
  payPal: PayPalCatcher,
): Promise<void> {
  const readAccount = async () => inOrganisation(context.database, organisationId, readCurrentAccount);
  const change = { organisationId, by: "demo", at: context.clock() };
  if ((await readAccount()) === null) {
    const amounts = { GBP: { minimum: 1_000, maximum: 1_000_000 }, EUR: { minimum: 1_000, maximum: 1_000_000 } };
    const document = { environment: "sandbox" as const, ...demoPayPalAccount, webhookId: demoWebhookId };
    await storeAccount(context, change, { ...document, amounts, active: true });
  }
  const account = await readAccount();
  if (account?.document.clientId !== demoPayPalAccount.clientId) return;
  payPal.webhooks.register(webhookUrlOf(context, account.id), account.document.webhookId ?? demoWebhookId);
}
