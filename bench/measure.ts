import { setTimeout as sleep } from "node:timers/promises";
import { machineTimeMs } from "./http-frames.ts";
import { findWrong } from "./judge-run.ts";
import { collectedSchema, type Pace, ranSchema } from "./messages.ts";
import type { Mix } from "./mixes.ts";
import { distributionOf, type Spread, spreadOf } from "./percentiles.ts";
import type { Helper } from "./programs.ts";
import type { System } from "./systems.ts";
import { forgetPeakMemory, machineTime, peakMemoryMib, processorSeconds, shareOfOthers } from "./usage.ts";

/** The two helpers, and the processes of servers whose use is to be measured, by kind. */
export interface Bench {
  readonly generator: Helper;
  readonly receiver: Helper;
  readonly servers: Readonly<Record<string, number>>;
}

export interface Load {
  readonly pace: Pace;
  readonly durationMs: number;
  readonly connections: number;
}

/** What one load on one system came to. */
export interface Measured {
  readonly leads: number;
  readonly acceptedPerSecond: number;
  readonly settledPerSecond: number;
  /** From the moment a lead should have been sent to the request at the partner, in milliseconds. */
  readonly latency: Spread;
  /** From intake's answer to the request at the partner, in milliseconds. */
  readonly afterAnswer: Spread;
  /** From the moment a lead should have been sent to intake's answer. */
  readonly intake: Spread;
  readonly latencyDistribution: readonly (readonly [number, number])[];
  /** Processor seconds for each 1,000 leads, by kind of process. */
  readonly processor: Readonly<Record<string, number>>;
  /** MiB, by kind of process. */
  readonly peakMemory: Readonly<Record<string, number>>;
  /** The share of the machine that other programs took, 0 to 1. */
  readonly others: number | null;
  /** What must not be, in plain words; empty when all is right. */
  readonly wrong: readonly string[];
}

/** No run goes on longer than this after the last lead was sent. */
const settleLimitMs = 60_000;

/** Clocks within a machine are one, but an id is made a little before its row is told of. */
const clockSlackMs = 1_000;

let nextLead = 0;

/** The first of as many numbers of leads as any run needs. */
export function takeLeadNumbers(): number {
  const from = nextLead;
  nextLead += 10_000_000;
  return from;
}

/** Puts a load on a system, waits until all is settled, and says what came of it. */
export async function measure(bench: Bench, system: System, mix: Mix, load: Load): Promise<Measured> {
  const { generator, receiver } = bench;
  const from = takeLeadNumbers();
  const since = new Date(Date.now() - clockSlackMs);
  for (const { pid } of system.programs) forgetPeakMemory(pid);
  const processorBefore = readProcessors(bench, system);
  const machineBefore = machineTime();
  generator.send({ kind: "run", port: system.port, path: system.intakePathOf(mix), from, ...load });
  const { startedAtMs, due, answered, refused, firstRefusal } = await generator.next(
    ranSchema,
    load.durationMs + settleLimitMs,
  );
  const answeredAtMs = answered.filter(Number.isFinite).reduce((latest, time) => Math.max(latest, time), startedAtMs);
  const isSettled = await waitUntilSettled(system, mix);
  const settledAtMs = machineTimeMs();
  const processorAfter = readProcessors(bench, system);
  const machineAfter = machineTime();
  const leads = due.length;
  const outcomes = await system.outcomes(mix, { from, count: leads }, since);
  receiver.send({ kind: "collect", from, count: leads });
  const { arrivals, hung, repeated, requestsByPath } = await receiver.next(collectedSchema);
  const seen = {
    ...{ mix, partnersPath: system.partnersPath, hasRules: system.name === "Handoff", from, count: leads },
    ...{ refused, firstRefusal, arrivals, hung: new Set(hung), repeated, requestsByPath: new Map(requestsByPath) },
    outcomes,
  };
  const latency = minus(arrivals, due);
  return {
    leads,
    acceptedPerSecond: (leads - refused) / ((answeredAtMs - startedAtMs) / 1000),
    settledPerSecond: outcomes.delivered.size / ((settledAtMs - startedAtMs) / 1000),
    latency: spreadOf(latency),
    afterAnswer: spreadOf(minus(arrivals, answered)),
    intake: spreadOf(minus(answered, due)),
    latencyDistribution: distributionOf(latency),
    processor: perThousand(processorBefore, processorAfter, leads),
    peakMemory: readPeaks(bench, system),
    others: shareOfOthers(machineBefore, machineAfter, sumOf(processorAfter) - sumOf(processorBefore)),
    wrong: [...(isSettled ? [] : [`not settled ${settleLimitMs / 1000} s after the last lead`]), ...findWrong(seen)],
  };
}

const sumOf = (values: Map<string, number>) => [...values.values()].reduce((sum, value) => sum + value, 0);

function minus(later: Float64Array, earlier: Float64Array): Float64Array {
  return later.map((time, place) => time - (earlier[place] ?? Number.NaN));
}

/** Waits until a system has nothing to do; says whether it came to that within the limit. */
export async function waitUntilSettled(system: System, mix: Mix, limitMs = settleLimitMs): Promise<boolean> {
  for (const deadline = Date.now() + limitMs; Date.now() < deadline; ) {
    if (await system.isSettled(mix)) return true;
    await sleep(20);
  }
  return false;
}

function readProcessors({ generator, receiver, servers }: Bench, { programs }: System): Map<string, number> {
  const pids = [
    ...programs.map(({ kind, pid }) => [kind, pid] as const),
    ...Object.entries(servers),
    ["generator", generator.pid] as const,
    ["receiver", receiver.pid] as const,
  ];
  const seconds = pids.map(([kind, pid]) => [kind, processorSeconds(pid)] as const);
  return new Map(seconds.filter((entry): entry is [string, number] => entry[1] !== null));
}

function perThousand(before: Map<string, number>, after: Map<string, number>, leads: number): Record<string, number> {
  const used = [...after].map(
    ([kind, seconds]) => [kind, ((seconds - (before.get(kind) ?? 0)) / leads) * 1000] as const,
  );
  return Object.fromEntries(used);
}

function readPeaks({ servers }: Bench, { programs }: System): Record<string, number> {
  const redis = servers.redis === undefined ? [] : [{ kind: "redis", pid: servers.redis }];
  const peaks = [...programs, ...redis].map(({ kind, pid }) => [kind, peakMemoryMib(pid)] as const);
  return Object.fromEntries(peaks.filter((entry): entry is [string, number] => entry[1] !== null));
}
