import type { FastifyRequest } from "fastify";
import type { Context } from "../context.ts";
import { type Database, inPartner } from "../db/database.ts";
import { partnerCallerOf } from "../http/authenticate.ts";

/** Reads for the partner's user who calls: what is this partner's, and no more. */
export async function readForPartner<T>(
  context: Context,
  request: FastifyRequest,
  work: (transaction: Database, partnerId: string) => Promise<T>,
): Promise<T> {
  const caller = partnerCallerOf(request);
  return inPartner(context.database, caller, async (transaction) => work(transaction, caller.partnerId));
}
