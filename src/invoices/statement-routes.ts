import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, fileAnswer, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { sendProblem } from "../http/send-problem.ts";
import {
  fileNamed,
  type MadePaper,
  makePaper,
  mostEntries,
  type StatementQuery,
  statementQuery,
} from "./make-statement.ts";
import { type StatementPaper, statementCsv, statementPdf } from "./statement-paper.ts";

const statementAnswer = z
  .object({
    partnerId: z.uuid(),
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
        createdBy: z.string(),
        leadId: z.uuid().nullable(),
        deliveryId: z.uuid().nullable(),
        campaign: z.string().nullable(),
        reference: z.string().nullable().meta({ description: "what the partner calls the lead" }),
        amount: z.int(),
        balance: z.int().meta({ description: "after this entry" }),
      }),
    ),
    closing: z.int(),
  })
  .meta({ id: "Statement" });

/** What a partner had, what came and went, and what it has, for any days. */
export function statementRoutes(api: Api, context: Context): void {
  const tags = ["Ledger"];
  const schema = { tags, params: idParams, querystring: statementQuery };

  api.get(
    "/partners/:id/statement",
    {
      config: { permission: "money.read" },
      schema: {
        ...schema,
        summary: "A partner's statement for a period",
        description: `Amounts are in minor units. Up to ${mostEntries.json} entries.`,
        response: { 200: statementAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const made = await makeFor(context, request, request.params.id, request.query, mostEntries.json);
      if (!made.ok) return sendProblem(reply, made.code, made.details);
      return presentStatement(request.params.id, request.query.account, made.paper);
    },
  );

  api.get(
    "/partners/:id/statement/csv",
    {
      config: { permission: "money.read" },
      schema: {
        ...schema,
        summary: "A partner's statement as CSV",
        description: `For spreadsheets, with amounts as decimal numbers. Up to ${mostEntries.csv} entries.`,
        response: { 200: fileAnswer("the CSV", "text/csv"), ...problems },
      },
    },
    async (request, reply) => {
      const made = await makeFor(context, request, request.params.id, request.query, mostEntries.csv);
      if (!made.ok) return sendProblem(reply, made.code, made.details);
      void reply.header("content-disposition", fileNamed(made.paper, "csv"));
      return reply.type("text/csv; charset=utf-8").send(statementCsv(made.paper));
    },
  );

  api.get(
    "/partners/:id/statement/pdf",
    {
      config: { permission: "money.read" },
      schema: {
        ...schema,
        summary: "A partner's statement as a PDF",
        description: `Up to ${mostEntries.pdf} entries.`,
        response: { 200: fileAnswer("the PDF", "application/pdf"), ...problems },
      },
    },
    async (request, reply) => {
      const made = await makeFor(context, request, request.params.id, request.query, mostEntries.pdf);
      if (!made.ok) return sendProblem(reply, made.code, made.details);
      void reply.header("content-disposition", fileNamed(made.paper, "pdf"));
      return reply.type("application/pdf").send(await statementPdf(context, made.paper));
    },
  );
}

async function makeFor(
  context: Context,
  request: FastifyRequest,
  partnerId: string,
  query: StatementQuery,
  limit: number,
): Promise<MadePaper> {
  return inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
    makePaper(transaction, partnerId, query, limit, context.clock()),
  );
}

function presentStatement(
  partnerId: string,
  account: string,
  { statement, period, currency, timeZone }: StatementPaper,
): z.infer<typeof statementAnswer> {
  const entries = statement.entries.map(({ occurredAt, amountMinor, balanceMinor, ...entry }) => ({
    ...entry,
    occurredAt: occurredAt.toISOString(),
    amount: amountMinor,
    balance: balanceMinor,
  }));
  const { from, to } = period;
  const { openingMinor: opening, closingMinor: closing } = statement;
  return { partnerId, account, currency, timeZone, from, to, opening, entries, closing };
}
