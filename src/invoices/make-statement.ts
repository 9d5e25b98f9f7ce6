import { z } from "zod";
import type { Database } from "../db/database.ts";
import type { ErrorCode, ProblemDetails } from "../errors.ts";
import { readStatement, type StatementAccount, statementAccounts } from "../ledger/read-statement.ts";
import { dateSchema, datesAskedFor, periodOf } from "../period.ts";
import { currencySchema } from "../schemas.ts";
import { readSeller } from "./issue-invoice.ts";
import type { StatementPaper } from "./statement-paper.ts";

/** More are refused: a statement is made in memory, and a PDF takes a while. */
export const mostEntries = { json: 20_000, csv: 20_000, pdf: 2_000 } as const;

const accountNames = Object.keys(statementAccounts) as [StatementAccount, ...StatementAccount[]];

export const statementQuery = z.strictObject({
  from: dateSchema.optional().meta({ description: "the first day, in the partner's time zone; absent: of the month" }),
  to: dateSchema.optional().meta({ description: "the last day, included; absent: today" }),
  account: z.enum(accountNames).default("balance"),
  currency: currencySchema.optional().meta({ description: "absent: the partner's" }),
});

export type StatementQuery = z.infer<typeof statementQuery>;

export function fileNamed({ period }: StatementPaper, ending: string): string {
  return `attachment; filename="statement-${period.from}-${period.to}.${ending}"`;
}

export type MadePaper =
  | { readonly ok: true; readonly paper: StatementPaper }
  | { readonly ok: false; readonly code: ErrorCode; readonly details?: ProblemDetails };

/**
 * Makes a partner's statement. Refuses a period that is the wrong way round, and one with more entries than are made into one
 * document.
 */
export async function makePaper(
  transaction: Database,
  partnerId: string,
  query: StatementQuery,
  limit: number,
  now: Date,
): Promise<MadePaper> {
  const refuse = (field: string, code: string, message: string): MadePaper => ({
    ok: false,
    code: "invalid_query",
    details: { fields: [{ field, code, message }] },
  });
  const paper = await readPaper(transaction, partnerId, query, limit, now);
  if (paper === null) return { ok: false, code: "not_found" };
  if (paper === "wrong_way_round") return refuse("to", "invalid", "must not be before from");
  if (!paper.statement.isCut) return { ok: true, paper };
  return refuse("from", "too_many", `must leave ${limit} entries or fewer: ask for fewer days`);
}

async function readPaper(
  transaction: Database,
  partnerId: string,
  query: StatementQuery,
  limit: number,
  now: Date,
): Promise<StatementPaper | null | "wrong_way_round"> {
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
}
