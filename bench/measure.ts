import { setTimeout as sleep } from "node:timers/promises";
import { machineTimeMs } from "./http-frames.ts";
import { collectedSchema, type Pace, ranSchema } from "./messages.ts";
import { hasSmallLimit, isClosed, type Mix, pathOf, smallLimit } from "./mixes.ts";
import { distributionOf, type Spread, spreadOf } from "./percentiles.ts";
import type { Helper } from "./programs.ts";
import type { System } from "./systems.ts";
import { machineTime, peakMemoryMib, processorSeconds, shareOfOthers } from "./usage.ts";

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

let nextLead = 0;

/** Puts a load on a system, waits until all is settled, and says what came of it. */
export async function measure(bench: Bench, system: System, mix: Mix, load: Load): Promise<Measured> {
  const { generator, receiver } = bench;
  const from = nextLead;
  nextLead += 10_000_000;
  const deliveredBefore = await system.delivered();
  const processorBefore = readProcessors(bench, system);
  const machineBefore = machineTime();
  generator.send({ kind: "run", port: system.port, path: system.path, from, ...load });
  const { startedAtMs, due, answered, refused, firstRefusal } = await generator.next(
    ranSchema,
    load.durationMs + settleLimitMs,
  );
  const answeredAtMs = answered.filter(Number.isFinite).reduce((latest, time) => Math.max(latest, time), startedAtMs);
  const isSettled = await waitUntilSettled(system);
  const settledAtMs = machineTimeMs();
  const processorAfter = readProcessors(bench, system);
  const machineAfter = machineTime();
  const delivered = (await system.delivered()) - deliveredBefore;
  receiver.send({ kind: "collect", from, count: due.length });
  const { arrivals, repeated, requestsByPath } = await receiver.next(collectedSchema);
  const latency = minus(arrivals, due);
  const arrived = latency.filter(Number.isFinite).length;
  const leads = due.length;
  const wrong = [
    ...(refused > 0 ? [`${refused} of ${leads} leads were refused; the first: ${firstRefusal}`] : []),
    ...(isSettled ? [] : [`not settled ${settleLimitMs / 1000} s after the last lead`]),
    ...findLost(mix, leads - refused, arrived, delivered),
    ...(repeated.length > 0 && mix.hanging === 0
      ? [`${repeated.length} requests came for a lead that had been sent`]
      : []),
    ...findRuleBreaks(mix, new Map(requestsByPath), system.name),
  ];
  return {
    leads,
    acceptedPerSecond: (leads - refused) / ((answeredAtMs - startedAtMs) / 1000),
    settledPerSecond: delivered / ((settledAtMs - startedAtMs) / 1000),
    latency: spreadOf(latency),
    afterAnswer: spreadOf(minus(arrivals, answered)),
    intake: spreadOf(minus(answered, due)),
    latencyDistribution: distributionOf(latency),
    processor: perThousand(processorBefore, processorAfter, leads),
    peakMemory: readPeaks(bench, system),
    others: shareOfOthers(machineBefore, machineAfter, sumOf(processorAfter) - sumOf(processorBefore)),
    wrong,
  };
}

const sumOf = (values: Map<string, number>) => [...values.values()].reduce((sum, value) => sum + value, 0);

function minus(later: Float64Array, earlier: Float64Array): Float64Array {
  return later.map((time, place) => time - (earlier[place] ?? Number.NaN));
}

async function waitUntilSettled(system: System): Promise<boolean> {
  for (const deadline = Date.now() + settleLimitMs; Date.now() < deadline; ) {
    if (await system.isSettled()) return true;
    await sleep(20);
  }
  return false;
}

/** A lead that a hanging partner has is neither lost nor delivered; what it was sent is counted by the receiver alone. */
function findLost(mix: Mix, accepted: number, arrived: number, delivered: number): string[] {
  const lost = accepted - arrived;
  if (lost > 0 && mix.hanging === 0) return [`${lost} of ${accepted} leads never came to a partner`];
  if (delivered > arrived) return [`${delivered} leads are called delivered, and ${arrived} came`];
  if (delivered < accepted && mix.hanging === 0)
    return [`${accepted - delivered} of ${accepted} leads are not delivered`];
  return [];
}

function findRuleBreaks(mix: Mix, requests: ReadonlyMap<string, number>, system: string): string[] {
  if (system !== "Handoff") return [];
  return Array.from({ length: mix.partnerCount }, (_, place) => place).flatMap((place) => {
    const count = requests.get(pathOf(mix, place)) ?? 0;
    if (isClosed(mix, place) && count > 0) return [`partner ${place} is closed and got ${count} leads`];
    if (hasSmallLimit(mix, place) && count > smallLimit)
      return [`partner ${place} may get ${smallLimit} leads a day and got ${count}`];
    return [];
  });
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
