import { setTimeout as sleep } from "node:timers/promises";
import { fillReceived } from "./fill.ts";
import { type HandoffSystem, startHandoff } from "./handoff-system.ts";
import { takeLeadNumbers, waitUntilSettled } from "./measure.ts";
import { type Mix, mixes } from "./mixes.ts";
import { spreadOf } from "./percentiles.ts";
import type { Program } from "./programs.ts";
import { type Running, runFlatOut } from "./runs.ts";
import { analyse } from "./systems.ts";
import { memoryMib, peakMemoryMib } from "./usage.ts";

/** The memory of one worker process while it works a long queue off, in MiB. */
export interface MemoryResult {
  readonly mix: Mix;
  readonly leads: number;
  readonly settledPerSecond: number;
  /** Half of the looks found less. */
  readonly steadyMib: number;
  readonly peakMib: number;
  readonly wrong: readonly string[];
}

const queued = 100_000;
const lookEveryMs = 250;
const drainLimitMs = 15 * 60_000;

export async function runMemory(running: Running): Promise<readonly MemoryResult[]> {
  const results: MemoryResult[] = [];
  for (const mix of [mixes.json1, mixes.json50]) {
    const system = await startHandoff(running.surroundings, [mix], "two");
    try {
      results.push(await drainQueue(running, system, mix));
    } finally {
      await system.stop();
    }
  }
  return results;
}

/** Stops the worker, has 100,000 leads wait, and looks at a new worker until they are settled. */
async function drainQueue(running: Running, system: HandoffSystem, mix: Mix): Promise<MemoryResult> {
  const { admin } = system;
  await runFlatOut(running, system, mix);
  await system.stopWorker();
  const from = takeLeadNumbers();
  const since = new Date(Date.now() - 5 * 60_000);
  await fillReceived(admin, system.campaignOf(mix), from, queued);
  await analyse(system);
  const startedAt = performance.now();
  const worker = await system.startWorker();
  const looking = watchMemory(worker);
  const isSettled = await waitUntilSettled(system, mix, drainLimitMs);
  const looks = await looking.stop();
  const { delivered } = await system.outcomes(mix, { from, count: queued }, since);
  const result = {
    mix,
    leads: queued,
    settledPerSecond: delivered.size / ((performance.now() - startedAt) / 1000),
    steadyMib: spreadOf(looks).p50,
    peakMib: peakMemoryMib(worker.pid) ?? Number.NaN,
    wrong:
      isSettled && delivered.size < queued ? [`${queued - delivered.size} of ${queued} leads are not delivered`] : [],
  };
  running.print(
    `  worker, ${mix.name}, ${queued} leads in the queue: ${result.steadyMib} MiB, at most ${result.peakMib}`,
  );
  return result;
}

function watchMemory({ pid }: Program) {
  const looks: number[] = [];
  let isOver = false;
  const watch = async () => {
    while (!isOver) {
      looks.push(memoryMib(pid) ?? Number.NaN);
      await sleep(lookEveryMs);
    }
    return looks;
  };
  const watching = watch();
  return {
    stop: async () => {
      isOver = true;
      return watching;
    },
  };
}
