import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, flagQuery, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { problemKinds } from "./decide-top-up.ts";
import { resolveProblem } from "./payment-problems.ts";
import { payPalAccountSchema, readCurrentAccount, storeAccount } from "./paypal-account.ts";
import { webhookUrlOf } from "./public-addresses.ts";

const tags = ["Payments"];

const accountAnswer = z
  .object({
    id: z.uuid(),
    ...payPalAccountSchema.shape,
    webhookUrl: z.string().meta({ description: "the address to give PayPal for its webhook" }),
  })
  .meta({ id: "PayPalAccount" });

/** The organisation's account at PayPal, and what of its payments staff have to look at. */
export function paymentSettingRoutes(api: Api, context: Context): void {
  accountRoutes(api, context);
  problemRoutes(api, context);
}

function accountRoutes(api: Api, context: Context): void {
  api.get(
    "/paypal-account",
    {
      config: { permission: "money.read" },
      schema: {
        tags,
        summary: "Your account at PayPal, its secret masked",
        response: { 200: accountAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const account = await presentAccount(context, callerOf(request).organisationId);
      return account ?? sendProblem(reply, "not_found");
    },
  );

  api.put(
    "/paypal-account",
    {
      config: { permission: "organisation.change" },
      schema: {
        tags,
        summary: "Set your account at PayPal, and what is paid through it",
        description:
          "A secret sent back as ••••••  stays as it is. Another client id is another account; what was paid through the former one goes on there.",
        body: payPalAccountSchema,
        response: { 200: accountAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const stored = await storeAccount(context, change, request.body);
      if (stored === "secret_missing") {
        const message = "must be given: no secret is stored for this client id";
        return sendProblem(reply, "invalid_body", { fields: [{ field: "clientSecret", code: "missing", message }] });
      }
      const account = await presentAccount(context, change.organisationId);
      if (account === null) throw new Error("The account was stored a moment ago.");
      return account;
    },
  );
}

async function presentAccount(context: Context, organisationId: string): Promise<z.infer<typeof accountAnswer> | null> {
  const account = await inOrganisation(context.database, organisationId, readCurrentAccount);
  if (account === null) return null;
  return { id: account.id, ...account.document, webhookUrl: webhookUrlOf(context, account.id) };
}

const problemAnswer = z
  .object({
    id: z.uuid(),
    kind: z.enum(problemKinds),
    what: z.string().meta({ description: "in plain words" }),
    partnerId: z.uuid().nullable(),
    topUpId: z.uuid().nullable(),
    count: z.int().meta({ description: "how often it was met" }),
    createdAt: instantSchema,
    lastAt: instantSchema,
    resolvedAt: instantSchema.nullable(),
    resolvedBy: z.string().nullable(),
    note: z.string().nullable(),
  })
  .meta({ id: "PaymentProblem" });

function problemRoutes(api: Api, context: Context): void {
  api.get(
    "/payment-problems",
    {
      config: { permission: "money.read" },
      schema: {
        tags,
        summary: "Payments that do not come out as they should, newest first",
        querystring: z.strictObject({ ...pageQuery, resolved: flagQuery.optional() }),
        response: { 200: pageSchema(problemAnswer), ...problems },
      },
    },
    async (request) => {
      const { resolved, ...page } = request.query;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        let query = transaction
          .selectFrom("paymentProblems")
          .select(["id", "kind", "what", "partnerId", "topUpId", "count", "createdAt", "lastAt"])
          .select(["resolvedAt", "resolvedBy", "note"]);
        if (resolved !== undefined) query = query.where("resolvedAt", resolved ? "is not" : "is", null);
        return pageRows(query, page).execute();
      });
      const { rows, nextCursor } = cutPage(found, page);
      const data = rows.map((row) => ({
        ...row,
        createdAt: row.createdAt.toISOString(),
        lastAt: row.lastAt.toISOString(),
        resolvedAt: row.resolvedAt?.toISOString() ?? null,
      }));
      return { data, nextCursor };
    },
  );

  api.post(
    "/payment-problems/:id/resolve",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Mark a problem of a payment as dealt with",
        params: idParams,
        body: z.strictObject({ note: z.string().trim().min(1).max(500).nullable().default(null) }),
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await resolveProblem(context, change, request.params.id, request.body.note);
      return result === "not_found" ? sendProblem(reply, "not_found") : reply.code(204).send();
    },
  );
}
