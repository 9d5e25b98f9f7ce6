import { fillHeld, fillStored } from "./fill.ts";
import { startHandoff } from "./handoff-system.ts";
import { timeLists } from "./lists.ts";
import type { Measured } from "./measure.ts";
import { mixes } from "./mixes.ts";
import { type Running, runFlatOut, runSteady, type SteadyRun } from "./runs.ts";
import { analyse } from "./systems.ts";

/** What was measured with so many leads in the database. */
export interface StoredResult {
  readonly stored: number;
  readonly held: number;
  readonly flatOut: Measured;
  readonly steady: SteadyRun;
  /** Milliseconds for a page, by list. */
  readonly lists: Readonly<Record<string, number>>;
}

const stages = [
  { stored: 0, held: 0 },
  { stored: 1_000, held: 0 },
  { stored: 100_000, held: 0 },
  { stored: 1_000_000, held: 0 },
  { stored: 1_000_000, held: 1_000_000 },
];

/** Measures one installation again and again while its database fills. What the runs themselves leave comes on top. */
export async function runStored(running: Running): Promise<readonly StoredResult[]> {
  const { surroundings, print } = running;
  const mix = mixes.json1;
  const system = await startHandoff(surroundings, [mix], "two");
  const campaign = system.campaignOf(mix);
  try {
    const results: StoredResult[] = [];
    let before = { stored: 0, held: 0 };
    for (const stage of stages) {
      // What is filled in is a copy of a lead that went through: the first stage comes before.
      if (stage.stored > before.stored) await fillStored(system.admin, campaign, stage.stored - before.stored);
      if (stage.held > before.held) await fillHeld(system.admin, campaign, stage.held - before.held);
      before = stage;
      await analyse(system);
      print(`${stage.stored} leads stored, ${stage.held} held:`);
      const flatOut = await runFlatOut(running, system, mix);
      const steady = await runSteady(running, system, mix, 100);
      results.push({ ...stage, flatOut, steady, lists: await timeLists(system, mix) });
    }
    return results;
  } finally {
    await system.stop();
  }
}
