import { parseArgs } from "node:util";
import { mixes, mixNames } from "./mixes.ts";

/** What can be measured alone: a mix, or one of those that only a full run has. */
export const partNames = [...mixNames, "stored", "memory"] as const;
export type PartName = (typeof partNames)[number];

const parts: Readonly<Record<PartName, string>> = {
  json1: mixes.json1.title,
  json50: mixes.json50.title,
  soap10: mixes.soap10.title,
  hang20: mixes.hang20.title,
  stored: "how the figures and the lists of the API change as leads are stored and held",
  memory: "the memory of a worker with 100,000 leads in the queue",
};

export const usage = `npm run bench -- [options]

Measures Handoff beside the bare pipeline that one would write instead (Fastify, one insert, one BullMQ job, one POST,
one update; no checks) and beside BullMQ with jobs that do nothing: same leads, same receiver, same concurrency, same
database with every durability setting on. Sender and receiver of the leads are processes of their own. Takes less than
two minutes where nothing else runs; what other programs took is said beside the figures. Plots, and all figures as tables,
go to bench/results. Ends with 1 if a lead was lost, doubled, or given to a partner that was closed or full; never for being
slow.

  --backend postgres|redis   only this queue backend (default: both, Redis where redis-server is in PATH)
  --only PART,PART           only these parts:
${partNames.map((name) => `                               ${name.padEnd(8)}${parts[name]}`).join("\n")}
  --full                     longer runs, each mix at 80 % of its top rate too, Handoff in one process too, and the parts
                             stored and memory: again with 1,000, 100,000 and 1,000,000 leads stored, with 1,000,000
                             held, and with 100,000 in the queue (about an hour, and 12 GB of disk)
  --json                     the figures as JSON in the last line
  --help                     this
`;

export type Backend = "postgres" | "redis";

export interface Options {
  readonly backends: readonly Backend[];
  readonly parts: readonly PartName[];
  readonly full: boolean;
  readonly json: boolean;
}

export type ReadOptions =
  | { readonly kind: "run"; readonly options: Options }
  | { readonly kind: "help" }
  | { readonly kind: "misused"; readonly problem: string };

/** Reads the words of the command line. */
export function readOptions(words: readonly string[]): ReadOptions {
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
    const { backend, only, full, json } = values;
    const backends = (["postgres", "redis"] as const).filter((name) => name === (backend ?? name));
    const named = only?.split(",");
    const unknown = named?.find((name) => !partNames.some((known) => known === name));
    const chosen = partNames.filter((name) => (named === undefined ? full || name in mixes : named.includes(name)));
    if (backends.length === 0) return { kind: "misused", problem: `There is no backend ${backend}.` };
    if (unknown !== undefined) return { kind: "misused", problem: `There is no part ${unknown}.` };
    return { kind: "run", options: { backends, parts: chosen, full, json } };
  } catch (error) {
    return { kind: "misused", problem: error instanceof Error ? error.message : String(error) };
  }
}
