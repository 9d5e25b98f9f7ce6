import { types } from "node:util";
import pg from "pg";

const connectionErrors = /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|ENOENT)$/;

/** What the driver says of a connection that is gone or cannot be had: it gives these no code. */
const connectionMessages =
  /^(Connection terminated|timeout exceeded when trying to connect|Client (has encountered a connection error|was closed))/;

/** Class 08: connection exceptions; 57P: shut down or starting; 53300: too many connections; 40: others were in the way. */
const passingStates = /^(08...|57P0[1-3]|53300|40001|40P01)$/;

/** Whether an error is trouble with the database that is over by itself: the same may be done again. */
export function isPassingTrouble(error: unknown): boolean {
  // A connection's own error may be of another realm than this code, where this runs in one: no instance of its Error.
  if (!types.isNativeError(error)) return false;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (error instanceof pg.DatabaseError) return passingStates.test(code);
  return connectionErrors.test(code) || connectionMessages.test(error.message);
}
