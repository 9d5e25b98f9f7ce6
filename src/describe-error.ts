import { types } from "node:util";
import pg from "pg";

const mostPlaces = 10;

/**
 * An error as it may stand in a log: what kind it is and where it happened. Its words only where they are our own or the
 * system's: those of the database and of the language may quote a value, which may be somebody's.
 */
export function describeError(error: unknown): Record<string, unknown> {
  if (!types.isNativeError(error)) return { name: typeof error };
  const lines = (error.stack ?? "").split("\n").filter((line) => line.startsWith("    at "));
  const ours = lines.filter((line) => !/node_modules|node:internal/.test(line)).slice(0, mostPlaces);
  const shared = { name: error.name, places: ours.map((line) => line.trim()) };
  if (error instanceof pg.DatabaseError) {
    const { code, table, column, constraint } = error;
    return { ...shared, code, table, column, constraint };
  }
  return error.name === "Error" ? { ...shared, message: error.message } : shared;
}
