import type { FastifyReply } from "fastify";
import type { Context } from "../context.ts";
import type { ConnectionSide, ConnectionState } from "../db/connection-tables.ts";
import { inOrganisation } from "../db/database.ts";
import { sendProblem } from "../http/send-problem.ts";
import { type Connection, stateWords } from "./connection.ts";
import { findConnection } from "./find-connections.ts";

/** Answers that a connection is in a state that does not allow what was asked, and in which. */
export function sendState(reply: FastifyReply, state: ConnectionState): FastifyReply {
  return sendProblem(reply, "connection_state", { detail: stateWords[state] });
}

/** A connection that was there a moment ago; connections are never deleted. */
export async function requireDetail(
  context: Context,
  { organisationId }: { readonly organisationId: string },
  side: ConnectionSide,
  id: string,
): Promise<Connection> {
  const found = await inOrganisation(context.database, organisationId, async (transaction) =>
    findConnection(transaction, side, organisationId, id),
  );
  if (found === null) throw new Error(`Connection ${id} was there a moment ago.`);
  return found;
}
