import { type Layout, startHandoff } from "./handoff-system.ts";
import type { Measured } from "./measure.ts";
import { type Mix, mixNames } from "./mixes.ts";
import { type MixResult, type Running, runFlatOut, runSteady, type SteadyRun } from "./runs.ts";
import { type System, startBare } from "./systems.ts";

/** Measures mixes, one after the other, on the bare pipeline and on Handoff. */
export async function runMixes(running: Running, mixes: readonly Mix[]): Promise<readonly MixResult[]> {
  if (mixes.length === 0) return [];
  const { surroundings, full } = running;
  const bare = await runOn(await startBare(surroundings), mixes, async (system, mix) =>
    runFlatOut(running, system, mix),
  );
  const two = await runOn(await startHandoff(surroundings, mixes, "two"), mixes, async (system, mix) =>
    runAllPaces(running, system, mix),
  );
  const one = full
    ? await runOn(await startHandoff(surroundings, mixes, "one"), mixes, async (system, mix) =>
        runFlatOut(running, system, mix),
      )
    : [];
  return mixes.flatMap((mix, place) => {
    const [bareRun, paces, oneRun] = [bare[place], two[place], one[place]];
    if (bareRun === undefined || paces === undefined) return [];
    const handoff: Partial<Record<Layout, Measured>> = { two: paces.flatOut };
    if (oneRun !== undefined) handoff.one = oneRun;
    return { mix, bare: bareRun, handoff, steady: paces.steady };
  });
}

async function runOn<S extends System, T>(
  system: S,
  mixes: readonly Mix[],
  run: (system: S, mix: Mix) => Promise<T>,
): Promise<T[]> {
  try {
    const results: T[] = [];
    for (const mix of mixes) results.push(await run(system, mix));
    return results;
  } finally {
    await system.stop();
  }
}

interface AllPaces {
  readonly flatOut: Measured;
  readonly steady: readonly SteadyRun[];
}

/** Flat out, at 100 leads/s and at 80 % of the top rate; the short run leaves the last to the first mix. */
async function runAllPaces(running: Running, system: System, mix: Mix): Promise<AllPaces> {
  const flatOut = await runFlatOut(running, system, mix);
  const upper =
    running.full || mix.name === mixNames[0] ? [Math.max(1, Math.round(flatOut.settledPerSecond * 0.8))] : [];
  const steady: SteadyRun[] = [];
  for (const perSecond of [100, ...upper]) steady.push(await runSteady(running, system, mix, perSecond));
  return { flatOut, steady };
}
