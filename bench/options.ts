import { parseArgs } from "node:util";
import { type MixName, mixNames } from "./mixes.ts";

export const usage = `npm run bench -- [options]

Measures Handoff beside the bare pipeline that one would write instead (Fastify, one insert, one BullMQ job, one POST,
one update; no checks) and beside BullMQ with jobs that do nothing: same leads, same receiver, same concurrency, same
database with every durability setting on. Sender and receiver of the leads are processes of their own. Takes less than
two minutes. Ends with 1 if a lead was lost, doubled, or given to a partner that was closed or full; never for being slow.

  --backend postgres|redis   only this queue backend (default: both, Redis where redis-server is in PATH)
  --only MIX                 only this mix, one of ${mixNames.join(", ")}
  --full                     longer runs, and again with 1,000, 100,000 and 1,000,000 leads already stored and with
                             1,000,000 held (an hour, and about 10 GB of disk)
  --json                     the figures as JSON in the last line
  --help                     this
`;

export type Backend = "postgres" | "redis";

export interface Options {
  readonly backends: readonly Backend[];
  readonly mixes: readonly MixName[];
  readonly full: boolean;
  readonly json: boolean;
}

export type ReadOptions =
  | { readonly kind: "run"; readonly options: Options }
  | { readonly kind: "help" }
  | { readonly kind: "misused"; readonly problem: string };

/** Reads the words of the command line. */
export function options(words: readonly string[]): ReadOptions {
  try {
    const { values } = parseArgs({
      args: [...words],
      options: {
        backend: { type: "string" },
        only: { type: "string" },
        full: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return { kind: "help" };
    const backends = (["postgres", "redis"] as const).filter((name) => name === (values.backend ?? name));
    const mixes = mixNames.filter((name) => name === (values.only ?? name));
    if (backends.length === 0) return { kind: "misused", problem: `There is no backend ${values.backend}.` };
    if (mixes.length === 0) return { kind: "misused", problem: `There is no mix ${values.only}.` };
    return { kind: "run", options: { backends, mixes, full: values.full, json: values.json } };
  } catch (error) {
    return { kind: "misused", problem: error instanceof Error ? error.message : String(error) };
  }
}
