import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import type { ErrorCode, ProblemDetails } from "../errors.ts";
import { type Api, fileAnswer, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { readStatement, type StatementAccount, statementAccounts } from "../ledger/read-statement.ts";
import { dateSchema, datesAskedFor, periodOf } from "../period.ts";
import { currencySchema } from "../schemas.ts";
import { readSeller } from "./issue-invoice.ts";
import { type StatementPaper, statementCsv, statementPdf } from "./statement-paper.ts";

/** More are refused: a statement is made in memory, and a PDF takes a while. */
const mostEntries = { json: 20_000, csv: 20_000, pdf: 2_000 } as const;

const accountNames = Object.keys(statementAccounts) as [StatementAccount, ...StatementAccount[]];

const statementQuery = z.strictObject({
  from: dateSchema.optional().meta({ description: "the first day, in the partner's time zone; absent: of the month" }),
  to: dateSchema.optional().meta({ description: "the last day, included; absent: today" }),
  account: z.enum(accountNames).default("balance"),
  currency: currencySchema.optional().meta({ description: "absent: the partner's" }),
});

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
      const { organisationId } = callerOf(request);
      const made = await makePaper(context, organisationId, request.params.id, request.query, mostEntries.json);
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
      const { organisationId } = callerOf(request);
      const made = await makePaper(context, organisationId, request.params.id, request.query, mostEntries.csv);
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
      const { organisationId } = callerOf(request);
      const made = await makePaper(context, organisationId, request.params.id, request.query, mostEntries.pdf);
      if (!made.ok) return sendProblem(reply, made.code, made.details);
      void reply.header("content-disposition", fileNamed(made.paper, "pdf"));
      return reply.type("application/pdf").send(await statementPdf(context, made.paper));
    },
  );
}

function fileNamed({ period }: StatementPaper, ending: string): string {
  return `attachment; filename="statement-${period.from}-${period.to}.${ending}"`;
}

type MadePaper =
  | { readonly ok: true; readonly paper: StatementPaper }
  | { readonly ok: false; readonly code: ErrorCode; readonly details?: ProblemDetails };

/** Refuses a period that is the wrong way round, and one with more entries than are made into one document. */
async function makePaper(
  context: Context,
  organisationId: string,
  partnerId: string,
  query: z.infer<typeof statementQuery>,
  limit: number,
): Promise<MadePaper> {
  const refuse = (field: string, code: string, message: string): MadePaper => ({
    ok: false,
    code: "invalid_query",
    details: { fields: [{ field, code, message }] },
  });
  const paper = await readPaper(context, organisationId, partnerId, query, limit);
  if (paper === null) return { ok: false, code: "not_found" };
  if (paper === "wrong_way_round") return refuse("to", "invalid", "must not be before from");
  if (!paper.statement.isCut) return { ok: true, paper };
  return refuse("from", "too_many", `must leave ${limit} entries or fewer: ask for fewer days`);
}

async function readPaper(
  context: Context,
  organisationId: string,
  partnerId: string,
  query: z.infer<typeof statementQuery>,
  limit: number,
): Promise<StatementPaper | null | "wrong_way_round"> {
  const now = context.clock();
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const partner = await transaction
      .selectFrom("partners")
      .select(["name", "timeZone", "currency", "contact"])
      .where("id", "=", partnerId)
      .executeTakeFirst();
    if (partner === undefined) return null;
    const { timeZone, name, contact } = partner;
    const { from, to } = datesAskedFor(query, timeZone, now);
    const period = periodOf(timeZone, from, to);
    if (period === null) return "wrong_way_round";
    const currency = query.currency ?? partner.currency;
    const statement = await readStatement(transaction, partnerId, query.account, currency, period, limit);
    const seller = await readSeller(transaction);
    const buyer = { name, address: contact.address ?? null, taxId: contact.taxId ?? null };
    return { statement, period, timeZone, currency, seller, buyer, taxName: seller.taxName, writtenAt: now };
  });
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
