import type { FastifyRequest } from "fastify";
import { sql } from "kysely";
import { z } from "zod";
import type { Context } from "../context.ts";
import type { Database } from "../db/database.ts";
import { type Api, fileAnswer, idParams, instantSchema, problems } from "../http/api.ts";
import { cutPage, pageQuery, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import {
  type FoundInvoice,
  invoiceStates,
  readInvoice,
  readInvoiceLines,
  readInvoices,
  today,
} from "../invoices/invoice.ts";
import { invoicePdf } from "../invoices/invoice-paper.ts";
import { invoiceAnswer, lineSchema, presentInvoice, presentWithLines } from "../invoices/invoice-routes.ts";
import {
  fileNamed,
  type MadePaper,
  makePaper,
  mostEntries,
  type StatementQuery,
  statementQuery,
} from "../invoices/make-statement.ts";
import { statementCsv, statementPdf } from "../invoices/statement-paper.ts";
import type { StatementEntry } from "../ledger/read-statement.ts";
import { readForPartner } from "./portal-call.ts";

const tags = ["Partner portal"];

const fundsAnswer = z
  .object({
    currency: z.string(),
    balance: z.int().meta({ description: "with what is reserved for leads on their way to you" }),
    reserved: z.int(),
    creditLimit: z.int(),
    available: z.int().meta({ description: "balance + creditLimit - reserved" }),
    owed: z
      .array(z.object({ currency: z.string(), amount: z.int() }))
      .meta({ description: "what you are owed for leads that you introduced" }),
  })
  .meta({ id: "OwnFunds" });

const statementAnswer = z
  .object({
    account: z.string(),
    currency: z.string(),
    timeZone: z.string(),
    from: z.string(),
    to: z.string(),
    opening: z.int(),
    entries: z.array(
      z.object({
        transactionId: z.uuid(),
        occurredAt: instantSchema,
        kind: z.string(),
        reason: z.string().nullable(),
        leadId: z.uuid().nullable().meta({
          description: "your lead's id, as in the list of leads; of one that you introduced, as you were told it",
        }),
        campaign: z.string().nullable(),
        reference: z.string().nullable().meta({ description: "what you call the lead" }),
        amount: z.int(),
        balance: z.int().meta({ description: "after this entry" }),
      }),
    ),
    closing: z.int(),
  })
  .meta({ id: "OwnStatement" });

const ownInvoiceAnswer = invoiceAnswer.omit({ partnerId: true, createdBy: true }).meta({ id: "OwnInvoice" });
const ownInvoiceWithLines = ownInvoiceAnswer.extend({ lines: z.array(lineSchema) }).meta({ id: "OwnInvoiceWithLines" });

/** A partner's money with us, for its own people. */
export function ownMoneyRoutes(api: Api, context: Context): void {
  fundsRoute(api, context);
  statementRoutes(api, context);
  statementFileRoutes(api, context);
  invoiceListRoute(api, context);
  invoiceRoutes(api, context);
}

function fundsRoute(api: Api, context: Context): void {
  api.get(
    "/portal/funds",
    {
      config: { permission: "portal.funds" },
      schema: { tags, summary: "What you have with us", response: { 200: fundsAnswer, ...problems } },
    },
    async (request) =>
      readForPartner(context, request, async (transaction, partnerId) => {
        const { currency, creditLimitMinor } = await transaction
          .selectFrom("partners")
          .select(["currency", "creditLimitMinor"])
          .where("id", "=", partnerId)
          .executeTakeFirstOrThrow();
        const accounts = await transaction
          .selectFrom("accounts")
          .select(["kind", "currency", "balanceMinor"])
          .where("partnerId", "=", partnerId)
          .orderBy("currency")
          .execute();
        const sumOf = (kind: string) =>
          accounts.filter((one) => one.kind === kind).reduce((sum, { balanceMinor }) => sum + balanceMinor, 0);
        const [free, reserved] = [sumOf("funds"), sumOf("reserved")];
        const owed = accounts.filter(({ kind, balanceMinor }) => kind === "payable" && balanceMinor !== 0);
        return {
          currency,
          balance: free + reserved,
          reserved,
          creditLimit: creditLimitMinor,
          available: free + creditLimitMinor,
          owed: owed.map((account) => ({ currency: account.currency, amount: account.balanceMinor })),
        };
      }),
  );
}

function statementRoutes(api: Api, context: Context): void {
  api.get(
    "/portal/statement",
    {
      config: { permission: "portal.funds" },
      schema: {
        tags,
        summary: "Your statement for a period",
        description: `Amounts are in minor units. Up to ${mostEntries.json} entries.`,
        querystring: statementQuery,
        response: { 200: statementAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const made = await makeOwnPaper(context, request, request.query, mostEntries.json);
      if (!made.ok) return sendProblem(reply, made.code, made.details);
      const { statement, period, currency, timeZone } = made.paper;
      const entries = statement.entries.map(
        ({ occurredAt, amountMinor, balanceMinor, createdBy: _, leadId, deliveryId, ...entry }) => ({
          ...entry,
          // What an introducer is owed for belongs to a sale of somebody else's.
          leadId: request.query.account === "owed" ? leadId : deliveryId,
          occurredAt: occurredAt.toISOString(),
          amount: amountMinor,
          balance: balanceMinor,
        }),
      );
      const { openingMinor: opening, closingMinor: closing } = statement;
      return {
        ...{ account: request.query.account, currency, timeZone, from: period.from, to: period.to },
        ...{ opening, entries, closing },
      };
    },
  );
}

function statementFileRoutes(api: Api, context: Context): void {
  api.get(
    "/portal/statement/csv",
    {
      config: { permission: "portal.funds" },
      schema: {
        tags,
        summary: "Your statement as CSV",
        description: `For spreadsheets, with amounts as decimal numbers. Up to ${mostEntries.csv} entries.`,
        querystring: statementQuery,
        response: { 200: fileAnswer("the CSV", "text/csv"), ...problems },
      },
    },
    async (request, reply) => {
      const made = await makeOwnPaper(context, request, request.query, mostEntries.csv);
      if (!made.ok) return sendProblem(reply, made.code, made.details);
      void reply.header("content-disposition", fileNamed(made.paper, "csv"));
      return reply.type("text/csv; charset=utf-8").send(statementCsv(made.paper));
    },
  );

  api.get(
    "/portal/statement/pdf",
    {
      config: { permission: "portal.funds" },
      schema: {
        tags,
        summary: "Your statement as a PDF",
        description: `Up to ${mostEntries.pdf} entries.`,
        querystring: statementQuery,
        response: { 200: fileAnswer("the PDF", "application/pdf"), ...problems },
      },
    },
    async (request, reply) => {
      const made = await makeOwnPaper(context, request, request.query, mostEntries.pdf);
      if (!made.ok) return sendProblem(reply, made.code, made.details);
      void reply.header("content-disposition", fileNamed(made.paper, "pdf"));
      return reply.type("application/pdf").send(await statementPdf(context, made.paper));
    },
  );
}

async function makeOwnPaper(
  context: Context,
  request: FastifyRequest,
  query: StatementQuery,
  limit: number,
): Promise<MadePaper> {
  const made = await readForPartner(context, request, async (transaction, partnerId) =>
    makePaper(transaction, partnerId, query, limit, context.clock()),
  );
  if (!made.ok) return made;
  const { statement } = made.paper;
  return {
    ok: true,
    paper: { ...made.paper, statement: { ...statement, entries: statement.entries.map(withoutNotes) } },
  };
}

/** What staff write with a payment is for the partner; what they write about a lead is for themselves. */
const writtenForPartner: ReadonlySet<string> = new Set(["payment", "refund", "adjustment", "payout"]);

function withoutNotes(entry: StatementEntry): StatementEntry {
  return writtenForPartner.has(entry.kind) ? entry : { ...entry, reason: null };
}

function invoiceListRoute(api: Api, context: Context): void {
  api.get(
    "/portal/invoices",
    {
      config: { permission: "portal.funds" },
      schema: {
        tags,
        summary: "Your invoices and credit notes, newest first",
        querystring: z.strictObject({ ...pageQuery, state: z.enum(invoiceStates).optional() }),
        response: { 200: pageSchema(ownInvoiceAnswer), ...problems },
      },
    },
    async (request) => {
      const { state, ...page } = request.query;
      const found = await readForPartner(context, request, async (transaction, partnerId) => {
        const conditions = [sql`i.partner_id = ${partnerId}::uuid`];
        if (state !== undefined) conditions.push(sql`i.state = ${state}`);
        if (page.cursor !== undefined) conditions.push(sql`i.id < ${page.cursor}::uuid`);
        const date = await today(transaction, context.clock());
        return readInvoices(transaction, sql.join(conditions, sql` and `), date, page.limit + 1);
      });
      const { rows, nextCursor } = cutPage(found, page);
      return { data: rows.map((invoice) => withoutStaff(presentInvoice(invoice))), nextCursor };
    },
  );
}

function invoiceRoutes(api: Api, context: Context): void {
  const findOwn = async (request: FastifyRequest, id: string): Promise<FoundInvoice | null> =>
    readForPartner(context, request, async (transaction, partnerId) =>
      findInvoice(context, transaction, partnerId, id),
    );

  api.get(
    "/portal/invoices/:id",
    {
      config: { permission: "portal.funds" },
      schema: {
        tags,
        summary: "One of your invoices with its lines",
        params: idParams,
        response: { 200: ownInvoiceWithLines, ...problems },
      },
    },
    async (request, reply) => {
      const found = await findOwn(request, request.params.id);
      return found === null ? sendProblem(reply, "not_found") : withoutStaff(presentWithLines(found));
    },
  );

  api.get(
    "/portal/invoices/:id/pdf",
    {
      config: { permission: "portal.funds" },
      schema: {
        tags,
        summary: "One of your invoices as a PDF",
        params: idParams,
        response: { 200: fileAnswer("the PDF", "application/pdf"), ...problems },
      },
    },
    async (request, reply) => {
      const found = await findOwn(request, request.params.id);
      if (found === null) return sendProblem(reply, "not_found");
      const name = found.invoice.reference.replace(/[^\w.-]/g, "-");
      void reply.header("content-disposition", `attachment; filename="${name}.pdf"`);
      return reply.type("application/pdf").send(await invoicePdf(context, found.invoice, found.lines));
    },
  );
}

async function findInvoice(
  context: Context,
  transaction: Database,
  partnerId: string,
  id: string,
): Promise<FoundInvoice | null> {
  const invoice = await readInvoice(transaction, id, await today(transaction, context.clock()));
  if (invoice === null || invoice.partnerId !== partnerId) return null;
  return { invoice, lines: await readInvoiceLines(transaction, id) };
}

function withoutStaff<Shown extends { readonly partnerId: string; readonly createdBy: string }>(
  shown: Shown,
): Omit<Shown, "partnerId" | "createdBy"> {
  const { partnerId: _partnerId, createdBy: _createdBy, ...rest } = shown;
  return rest;
}
