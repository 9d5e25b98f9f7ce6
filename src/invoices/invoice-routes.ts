import { type RawBuilder, sql } from "kysely";
import { z } from "zod";
import { sendAlerts } from "../../queues/send-alerts.ts";
import { insertAlerts } from "../alerts/insert-alerts.ts";
import { invoiceAlert } from "../alerts/invoice-alert.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, fileAnswer, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { idempotencyHeaders } from "../http/idempotency-header.ts";
import { cutPage, pageQuery, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { rateToPercent } from "../money.ts";
import { dateSchema } from "../period.ts";
import { mostMinorUnits } from "../schemas.ts";
import {
  type FoundInvoice,
  findInvoice,
  type Invoice,
  invoiceStates,
  readInvoice,
  readInvoices,
  requireInvoice,
  today,
} from "./invoice.ts";
import { invoicePdf } from "./invoice-paper.ts";
import { issueInvoice } from "./issue-invoice.ts";
import { enterInvoicePayment, voidInvoice } from "./settle-invoice.ts";

const partySchema = z.object({ name: z.string(), address: z.string().nullable(), taxId: z.string().nullable() });

export const invoiceAnswer = z
  .object({
    id: z.uuid(),
    partnerId: z.uuid(),
    number: z.string(),
    state: z.enum(invoiceStates),
    voids: z.uuid().nullable().meta({ description: "the invoice that this credit note voids" }),
    voidedBy: z.uuid().nullable().meta({ description: "the credit note that voids this invoice" }),
    from: z.string(),
    to: z.string(),
    timeZone: z.string(),
    currency: z.string(),
    net: z.int(),
    taxName: z.string(),
    taxPercent: z.number(),
    tax: z.int(),
    total: z.int(),
    paid: z.int(),
    issuedAt: instantSchema,
    issuedOn: z.string(),
    dueOn: z.string(),
    seller: partySchema,
    buyer: partySchema,
    reason: z.string().nullable(),
    createdBy: z.string(),
  })
  .meta({ id: "Invoice" });

export const lineSchema = z.object({
  kind: z.enum(["sales", "credits"]),
  campaignId: z.uuid().nullable(),
  campaign: z.string(),
  count: z.int().meta({ description: "how many leads" }),
  amount: z.int(),
});

const invoiceWithLinesAnswer = invoiceAnswer.extend({ lines: z.array(lineSchema) }).meta({ id: "InvoiceWithLines" });

const newInvoiceSchema = z.strictObject({
  from: dateSchema.meta({ description: "the first day, in the partner's time zone" }),
  to: dateSchema.meta({ description: "the last day, included; today at the latest" }),
});

const paymentSchema = z.strictObject({
  amount: z
    .int("must be a whole number of minor units (1250 is 12.50)")
    .min(-mostMinorUnits)
    .max(mostMinorUnits)
    .refine((amount) => amount !== 0, "must not be zero")
    .meta({ description: "in minor units; below zero takes an entry back" }),
  paidOn: dateSchema.nullable().default(null).meta({ description: "null: today" }),
  note: z.string().trim().min(1).max(500).nullable().default(null),
});

const tags = ["Invoices"];

/** Invoices: issued, paid, voided, sent, and never changed. */
export function invoiceRoutes(api: Api, context: Context): void {
  issueRoutes(api, context);
  listRoutes(api, context);
  readRoutes(api, context);
  settleRoutes(api, context);
  voidRoutes(api, context);
  sendRoutes(api, context);
}

function issueRoutes(api: Api, context: Context): void {
  api.post(
    "/partners/:id/invoices",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Issue a partner's invoice for a period",
        description: "It takes all that was charged or reversed until the period's end and is on no invoice yet.",
        params: idParams,
        body: newInvoiceSchema,
        response: { 201: invoiceWithLinesAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await issueInvoice(context, change, { partnerId: request.params.id, ...request.body });
      switch (result.kind) {
        case "partner_not_found":
          return sendProblem(reply, "not_found");
        case "nothing_to_invoice":
          return sendProblem(reply, "nothing_to_invoice");
        case "wrong_period": {
          const { field, message } = result;
          return sendProblem(reply, "invalid_body", { fields: [{ field, code: "invalid", message }] });
        }
        case "issued":
          return reply
            .code(201)
            .send(presentWithLines(await requireInvoice(context, change.organisationId, result.invoiceId)));
      }
    },
  );
}

function listRoutes(api: Api, context: Context): void {
  api.get(
    "/invoices",
    {
      config: { permission: "money.read" },
      schema: {
        tags,
        summary: "Invoices and credit notes, newest first",
        querystring: z.strictObject({
          ...pageQuery,
          partnerId: z.uuid().optional(),
          state: z.enum(invoiceStates).optional(),
        }),
        response: { 200: pageSchema(invoiceAnswer), ...problems },
      },
    },
    async (request) => {
      const { partnerId, state, ...page } = request.query;
      const conditions: RawBuilder<unknown>[] = [sql`true`];
      if (partnerId !== undefined) conditions.push(sql`i.partner_id = ${partnerId}::uuid`);
      if (state !== undefined) conditions.push(sql`i.state = ${state}`);
      if (page.cursor !== undefined) conditions.push(sql`i.id < ${page.cursor}::uuid`);
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        readInvoices(
          transaction,
          sql.join(conditions, sql` and `),
          await today(transaction, context.clock()),
          page.limit + 1,
        ),
      );
      const { rows, nextCursor } = cutPage(found, page);
      return { data: rows.map(presentInvoice), nextCursor };
    },
  );
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/invoices/:id",
    {
      config: { permission: "money.read" },
      schema: {
        tags,
        summary: "An invoice with its lines",
        params: idParams,
        response: { 200: invoiceWithLinesAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const found = await findInvoice(context, callerOf(request).organisationId, request.params.id);
      return found === null ? sendProblem(reply, "not_found") : presentWithLines(found);
    },
  );

  api.get(
    "/invoices/:id/pdf",
    {
      config: { permission: "money.read" },
      schema: {
        tags,
        summary: "An invoice as a PDF",
        params: idParams,
        response: { 200: fileAnswer("the PDF", "application/pdf"), ...problems },
      },
    },
    async (request, reply) => {
      const found = await findInvoice(context, callerOf(request).organisationId, request.params.id);
      if (found === null) return sendProblem(reply, "not_found");
      const name = found.invoice.reference.replace(/[^\w.-]/g, "-");
      void reply.header("content-disposition", `attachment; filename="${name}.pdf"`);
      return reply.type("application/pdf").send(await invoicePdf(context, found.invoice, found.lines));
    },
  );
}

function settleRoutes(api: Api, context: Context): void {
  api.post(
    "/invoices/:id/payments",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Enter what was paid on an invoice",
        description:
          "It books nothing: a payment to the partner's balance is entered there. With an Idempotency-Key it is entered once.",
        params: idParams,
        headers: idempotencyHeaders,
        body: paymentSchema,
        response: { 201: invoiceWithLinesAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { amount, paidOn, note } = request.body;
      const idempotencyKey = request.headers["idempotency-key"] ?? null;
      const payment = { invoiceId: request.params.id, amountMinor: amount, paidOn, note, idempotencyKey };
      const result = await enterInvoicePayment(context, change, payment);
      switch (result.kind) {
        case "not_found":
        case "idempotency_conflict":
          return sendProblem(reply, result.kind);
        case "voided":
          return sendProblem(reply, "invoice_state", { detail: "It is void." });
        case "out_of_range": {
          const message = `must lie between ${result.leastMinor} and ${result.mostMinor}`;
          return sendProblem(reply, "invalid_body", { fields: [{ field: "amount", code: "out_of_range", message }] });
        }
        case "entered":
          return reply
            .code(201)
            .send(presentWithLines(await requireInvoice(context, change.organisationId, request.params.id)));
      }
    },
  );
}

function voidRoutes(api: Api, context: Context): void {
  api.post(
    "/invoices/:id/void",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Void an invoice by a credit note",
        description: "What it held can be on the partner's next invoice. Gives the credit note.",
        params: idParams,
        body: z.strictObject({ reason: z.string().trim().min(1).max(500) }),
        response: { 201: invoiceWithLinesAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await voidInvoice(context, change, request.params.id, request.body.reason);
      if (result.kind === "not_found") return sendProblem(reply, "not_found");
      if (result.kind === "refused") return sendProblem(reply, "invoice_state", { detail: result.reason });
      return reply
        .code(201)
        .send(presentWithLines(await requireInvoice(context, change.organisationId, result.creditNoteId)));
    },
  );
}

function sendRoutes(api: Api, context: Context): void {
  api.post(
    "/invoices/:id/send",
    {
      config: { permission: "money.change" },
      schema: {
        tags,
        summary: "Send an invoice by email, with the PDF",
        description: "It is tried again like any alert; GET /v1/alerts shows what became of it.",
        params: idParams,
        body: z.strictObject({
          to: z
            .email("must be an email address")
            .max(254)
            .optional()
            .meta({ description: "absent: the partner's contact" }),
        }),
        response: { 202: z.object({ recipient: z.string() }), ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, at } = changeBy(context, request);
      const recipient = await inOrganisation(context.database, organisationId, async (transaction) => {
        const invoice = await readInvoice(transaction, request.params.id, await today(transaction, context.clock()));
        if (invoice === null) return "not_found" as const;
        const { contact } = await transaction
          .selectFrom("partners")
          .select("contact")
          .where("id", "=", invoice.partnerId)
          .executeTakeFirstOrThrow();
        const to = request.body.to ?? contact.email;
        if (to !== null) await insertAlerts(transaction, organisationId, [invoiceAlert(invoice, to)], at);
        return to;
      });
      if (recipient === "not_found") return sendProblem(reply, "not_found");
      if (recipient === null) {
        const message = "is needed: the partner's contact has no email address";
        return sendProblem(reply, "invalid_body", { fields: [{ field: "to", code: "required", message }] });
      }
      context.waker.wake(sendAlerts, { organisationId });
      return reply.code(202).send({ recipient });
    },
  );
}

export function presentInvoice(invoice: Invoice): z.infer<typeof invoiceAnswer> {
  const { id, partnerId, state, timeZone, currency, taxName, issuedOn, dueOn, seller, buyer, reason, createdBy } =
    invoice;
  return {
    id,
    partnerId,
    number: invoice.reference,
    state,
    voids: invoice.voidsInvoiceId,
    voidedBy: invoice.voidedById,
    from: invoice.periodFrom,
    to: invoice.periodTo,
    timeZone,
    currency,
    net: invoice.netMinor,
    taxName,
    taxPercent: rateToPercent(invoice.taxRate),
    tax: invoice.taxMinor,
    total: invoice.totalMinor,
    paid: invoice.paidMinor,
    issuedAt: invoice.issuedAt.toISOString(),
    issuedOn,
    dueOn,
    seller,
    buyer,
    reason,
    createdBy,
  };
}

export function presentWithLines({ invoice, lines }: FoundInvoice): z.infer<typeof invoiceWithLinesAnswer> {
  const shown = lines.map(({ amountMinor, ...line }) => ({ ...line, amount: amountMinor }));
  return { ...presentInvoice(invoice), lines: shown };
}
