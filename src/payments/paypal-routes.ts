import { sql } from "kysely";
import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { sha256 } from "../encrypt.ts";
import { type Api, problems } from "../http/api.ts";
import { limitRate } from "../http/limit-rate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { formatMoney } from "../money.ts";
import { lookAtTopUp } from "./look-at-top-up.ts";
import type { WebhookSignature } from "./paypal-client.ts";
import { readReturnToken } from "./public-addresses.ts";
import { findAccount, takeWebhook } from "./take-webhook.ts";
import { readTopUp, type StoredTopUp } from "./top-up-rows.ts";

/** PayPal's events are a few kilobytes. */
const webhookLimitBytes = 256 * 1024;

/** Each of these has us ask PayPal something. */
const mostPerMinute = 300;

const tags = ["Payments"];

/**
 * Where PayPal and the payers that it sends back call us, without an API key: register outside of what `authenticate`
 * guards, in a scope of its own, which keeps bodies as they came.
 */
export async function payPalRoutes(api: Api, context: Context): Promise<void> {
  await limitRate(api, context, mostPerMinute, ({ params }) => sha256(idIn(params)).toString("base64url"));
  api.removeAllContentTypeParsers();
  api.addContentTypeParser(
    "application/json",
    { parseAs: "string", bodyLimit: webhookLimitBytes },
    async (_request: unknown, body: string) => body,
  );
  webhookRoute(api, context);
  returnRoute(api, context);
}

const namedParams = z.union([
  z.object({ accountId: z.string() }).transform(({ accountId }) => accountId),
  z.object({ token: z.string() }).transform(({ token }) => token),
]);

/** The id that an address is about, however it is spelled; what comes after the id in a token is not believed yet. */
function idIn(params: unknown): string {
  const named = namedParams.safeParse(params);
  return named.success ? named.data.slice(0, 36).toLowerCase() : "";
}

const signatureHeaders = z.looseObject({
  "paypal-transmission-id": z.string().max(200).optional(),
  "paypal-transmission-time": z.string().max(100).optional(),
  "paypal-transmission-sig": z.string().max(2000).optional(),
  "paypal-cert-url": z.string().max(500).optional(),
  "paypal-auth-algo": z.string().max(100).optional(),
});

function webhookRoute(api: Api, context: Context): void {
  api.post(
    "/paypal-webhooks/:accountId",
    {
      schema: {
        tags,
        summary: "For PayPal only: something happened to a payment",
        security: [],
        params: z.object({ accountId: z.uuid() }),
        headers: signatureHeaders,
        body: z.unknown().meta({ description: "PayPal's event", type: "object" }),
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const found = await findAccount(context, request.params.accountId);
      if (found === null) return sendProblem(reply, "not_found");
      const { organisationId, account } = found;
      request.organisationId = organisationId;
      const rawBody = typeof request.body === "string" ? request.body : "";
      const signature = readSignature(request.headers);
      const result = await takeWebhook(context, organisationId, account, signature, rawBody);
      switch (result.kind) {
        case "taken":
          return reply.code(204).send();
        case "unreadable":
          return sendProblem(reply, "malformed_body", { detail: "The body is no event of PayPal." });
        case "unknown":
          return sendProblem(reply, "payment_service_trouble", { detail: result.reason });
        default:
          return sendProblem(reply, result.kind);
      }
    },
  );
}

/** null where a part of it is missing. */
function readSignature(headers: z.infer<typeof signatureHeaders>): WebhookSignature | null {
  const {
    "paypal-transmission-id": transmissionId,
    "paypal-transmission-time": transmissionTime,
    "paypal-transmission-sig": transmissionSig,
    "paypal-cert-url": certUrl,
    "paypal-auth-algo": authAlgo,
  } = headers;
  if (!transmissionId || !transmissionTime || !transmissionSig || !certUrl || !authAlgo) return null;
  return { transmissionId, transmissionTime, transmissionSig, certUrl, authAlgo };
}

function returnRoute(api: Api, context: Context): void {
  api.get(
    "/top-ups/return/:token",
    {
      schema: {
        tags,
        summary: "For the payer's browser: back from PayPal",
        security: [],
        params: z.object({ token: z.string() }),
        response: { 200: z.string().meta({ description: "a page" }), ...problems },
      },
    },
    async (request, reply) => {
      const id = readReturnToken(context, request.params.token);
      if (id === null) return sendProblem(reply, "not_found");
      const { rows } = await sql<{ organisationId: string }>`select * from find_top_up(${id}::uuid)`.execute(
        context.database,
      );
      const organisationId = rows[0]?.organisationId;
      if (organisationId === undefined) return sendProblem(reply, "not_found");
      request.organisationId = organisationId;
      // What PayPal does not say now, the page does not wait for: the poll does.
      await lookAtTopUp(context, organisationId, id);
      const stored = await inOrganisation(context.database, organisationId, async (transaction) =>
        readTopUp(transaction, id),
      );
      if (stored === null) return sendProblem(reply, "not_found");
      return reply.type("text/html; charset=utf-8").send(returnPage(stored));
    },
  );
}

/** What the payer reads. Made of our own words alone. */
function returnPage({ row }: StoredTopUp): string {
  const amount = formatMoney(row.amountMinor, row.currency);
  const [title, text] = wordsFor(row.state, amount);
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title></head>
<body><h1>${title}</h1><p>${text}</p></body>
</html>
`;
}

function wordsFor(state: StoredTopUp["row"]["state"], amount: string): readonly [title: string, text: string] {
  switch (state) {
    case "credited":
      return ["Thank you", `Your payment of ${amount} has arrived and is on your account.`];
    case "pending":
      return [
        "Thank you",
        `PayPal is still checking your payment of ${amount}. It will be on your account when it is done.`,
      ];
    case "refused":
      return [
        "Your payment is being looked at",
        `It does not match the ${amount} that was asked for. We will get in touch.`,
      ];
    case "declined":
    case "failed":
    case "expired":
      return ["Not paid", `The payment of ${amount} did not go through. Nothing was charged; please begin a new one.`];
    case "requested":
    case "open":
      return ["Not paid yet", `The payment of ${amount} is not approved yet, or PayPal is still working on it.`];
  }
}
