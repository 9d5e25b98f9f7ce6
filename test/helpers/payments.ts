import { sql } from "kysely";
import { demoPayPalAccount, type PayPalCatcher, startPayPalCatcher } from "../../demo/paypal-catcher.ts";
import { inOrganisation } from "../../src/db/database.ts";
import { checkDueTopUps } from "../../src/payments/check-due-top-ups.ts";
import { call, createTestApi, type TestAnswer, type TestApi, type TestClient } from "./api.ts";
import { addPartner } from "./api-documents.ts";

/** An organisation that takes payments over a PayPal that checks what it gets. All parts are real but PayPal itself. */
export interface PaymentBench {
  readonly server: TestApi;
  readonly payPal: PayPalCatcher;
  readonly client: TestClient;
  readonly accountId: string;
  readonly webhookId: string;
  /** Moves the clock, which stands still otherwise. */
  later(ms: number): void;
  partner(changes?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Begins a payment, and gives it as the API shows it. */
  topUp(partnerId: string, amount?: number): Promise<BegunTopUp>;
  read(topUpId: string): Promise<TestAnswer>;
  /** The payer's browser comes back from PayPal. */
  comeBack(topUp: BegunTopUp): Promise<TestAnswer>;
  /** PayPal sends an event that happened, or every one so far; gives the statuses it is answered with. */
  sendWebhook(index: number): Promise<TestAnswer>;
  sendWebhooks(): Promise<readonly number[]>;
  /** What a worker does when payments are due. */
  poll(): Promise<void>;
  /** Has everything be due now. */
  makeDue(): Promise<void>;
  /** Balances by kind of account, and how many transactions there are of each kind. */
  books(partnerId: string): Promise<PartnerBooks>;
  close(): Promise<void>;
}

export interface BegunTopUp {
  readonly id: string;
  readonly orderId: string;
  readonly returnPath: string;
}

export interface PartnerBooks {
  readonly balance: number;
  readonly cash: number;
  readonly transactions: Readonly<Record<string, number>>;
}

export const limits = { minimum: 1_000, maximum: 1_000_000 };

export const accountDocument = {
  environment: "sandbox",
  ...demoPayPalAccount,
  amounts: { GBP: limits, EUR: limits, JPY: limits, HUF: { minimum: 100_000, maximum: 100_000_000 } },
};

export async function openPaymentBench(more: Readonly<Record<string, string>> = {}): Promise<PaymentBench> {
  const payPal = await startPayPalCatcher("127.0.0.1", 0);
  payPal.webhooks.isSending = false;
  let time = new Date("2026-11-20T10:00:00Z");
  const environment = { PAYPAL_BASE_URL: payPal.url, PUBLIC_URL: "https://leads.example.com", ...more };
  const server = await createTestApi({ environment, clock: () => time });
  const client = await server.createClient();
  const webhookId = payPal.webhooks.register("https://leads.example.com");
  const stored = await client.call("PUT", "/v1/paypal-account", { ...accountDocument, webhookId });
  const accountId = stored.text("id");
  const { organisationId } = client;
  const sendWebhook = async (index: number) => {
    const event = payPal.webhooks.events[index];
    if (event === undefined) throw new Error(`PayPal has sent no event ${index}.`);
    const { headers, body } = payPal.webhooks.sign(webhookId, event);
    return call(server.api, null, "POST", `/v1/paypal-webhooks/${accountId}`, undefined, { headers, payload: body });
  };
  return {
    server,
    payPal,
    client,
    accountId,
    webhookId,
    later(ms) {
      time = new Date(time.getTime() + ms);
    },
    partner: async (changes = {}) => addPartner(client, changes),
    async topUp(partnerId, amount = 5_000) {
      const begun = await client.call("POST", `/v1/partners/${partnerId}/top-ups`, { amount });
      const orderId = begun.text("orderId");
      const { returnUrl = "" } = payPal.books.orders.get(orderId) ?? {};
      return { id: begun.text("id"), orderId, returnPath: new URL(returnUrl).pathname };
    },
    read: async (topUpId) => client.call("GET", `/v1/top-ups/${topUpId}`),
    comeBack: async ({ returnPath, orderId }) =>
      call(server.api, null, "GET", `${returnPath}?token=${orderId}&PayerID=X`),
    sendWebhook,
    sendWebhooks: async () =>
      Promise.all(payPal.webhooks.events.map(async (_, index) => (await sendWebhook(index)).status)),
    poll: async () => checkDueTopUps(server.context, organisationId),
    async makeDue() {
      await sql`update top_ups set due_at = ${time} where organisation_id = ${organisationId}`.execute(server.owner);
    },
    async books(partnerId) {
      return inOrganisation(server.context.database, organisationId, async (transaction) => {
        const accounts = await transaction
          .selectFrom("accounts")
          .select(["kind", "balanceMinor"])
          .where("partnerId", "=", partnerId)
          .execute();
        const kinds = await transaction
          .selectFrom("transactions")
          .select(["kind", (is) => is.fn.countAll<number>().as("count")])
          .where("partnerId", "=", partnerId)
          .groupBy("kind")
          .execute();
        const of = (kind: string) => accounts.find((account) => account.kind === kind)?.balanceMinor ?? 0;
        const transactions = Object.fromEntries(kinds.map(({ kind, count }) => [kind, count]));
        return { balance: of("funds") + of("reserved"), cash: of("cash"), transactions };
      });
    },
    async close() {
      await server.close();
      await payPal.stop();
    },
  };
}
