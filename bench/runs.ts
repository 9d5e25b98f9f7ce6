import type pg from "pg";
import type { Layout } from "./handoff-system.ts";
import { type Bench, type Load, type Measured, measure } from "./measure.ts";
import type { Mix } from "./mixes.ts";
import type { Backend } from "./options.ts";
import { countStatements, readStatements, type Statements } from "./statements.ts";
import { analyse, type Surroundings, type System } from "./systems.ts";

/** How long and how hard. */
export interface Sizes {
  readonly warmUpLeads: number;
  readonly flatOutMs: number;
  readonly steadyMs: number;
  readonly noOpJobs: Readonly<Record<Backend, number>>;
}

export const shortSizes: Sizes = {
  warmUpLeads: 2_500,
  flatOutMs: 2_000,
  steadyMs: 2_000,
  noOpJobs: { postgres: 1_000, redis: 10_000 },
};
export const fullSizes: Sizes = {
  warmUpLeads: 10_000,
  flatOutMs: 15_000,
  steadyMs: 15_000,
  noOpJobs: { postgres: 20_000, redis: 100_000 },
};

/** No warm-up lasts longer. */
const mostWarmUpMs = 10_000;

const connections = 32;
/** How many leads may be between the sender and the partners. */
const ahead = 1_000;

/** What all runs on a backend share. */
export interface Running {
  readonly bench: Bench;
  readonly surroundings: Surroundings;
  readonly server: pg.Pool;
  readonly sizes: Sizes;
  readonly full: boolean;
  readonly print: (line: string) => void;
}

export interface SteadyRun {
  readonly perSecond: number;
  readonly measured: Measured;
  /** For each lead. */
  readonly statements: Statements;
}

export interface MixResult {
  readonly mix: Mix;
  readonly bare: Measured;
  /** Handoff with API and worker in one process, and in two. */
  readonly handoff: Partial<Record<Layout, Measured>>;
  readonly steady: readonly SteadyRun[];
}

/**
 * As fast as it goes. The first leads of a program are spent on compiling it: they are not counted. How many that takes is a
 * matter of leads, not of time: a slow machine would measure programs that are still cold, the larger one most.
 */
export async function runFlatOut({ bench, sizes, print }: Running, system: System, mix: Mix): Promise<Measured> {
  const load = (durationMs: number, mostLeads = 1_000_000): Load => ({
    pace: { kind: "flat out", ahead, mostLeads },
    durationMs,
    connections,
  });
  const warmUp = await measure(bench, system, mix, load(mostWarmUpMs, sizes.warmUpLeads));
  await analyse(system);
  const measured = await measure(bench, system, mix, load(sizes.flatOutMs));
  const layout = system.programs.map(({ kind }) => kind).join(" + ");
  const { acceptedPerSecond, settledPerSecond } = measured;
  print(
    `  ${system.name} (${layout}), ${mix.name}: ${Math.round(acceptedPerSecond)} accepted/s, ` +
      `${Math.round(settledPerSecond)} settled/s`,
  );
  return { ...measured, wrong: [...warmUp.wrong, ...measured.wrong] };
}

/** So many leads a second, with the statements counted. */
export async function runSteady(running: Running, system: System, mix: Mix, perSecond: number): Promise<SteadyRun> {
  const { bench, sizes, server, print } = running;
  await countStatements(server, true);
  const pace = { kind: "steady" as const, perSecond };
  const measured = await measure(bench, system, mix, { pace, durationMs: sizes.steadyMs, connections });
  const counted = await readStatements(server, system.database);
  await countStatements(server, false);
  const { p50, p95, p99 } = measured.latency;
  print(`    at ${perSecond}/s: p50 ${p50.toFixed(1)}, p95 ${p95.toFixed(1)}, p99 ${p99.toFixed(1)} ms`);
  const perLead = (count: number) => count / measured.leads;
  return { perSecond, measured, statements: { own: perLead(counted.own), queue: perLead(counted.queue) } };
}
