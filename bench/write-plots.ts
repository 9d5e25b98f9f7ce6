import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { projectRoot } from "../src/project-root.ts";
import { drawBars, drawLines } from "./plot.ts";
import { bestOf } from "./report.ts";
import type { BackendResult } from "./run-bench.ts";

const folder = path.join(projectRoot, "bench", "results");

/** Writes a plot of each kind of figure to bench/results; gives the files. */
export async function writePlots(results: readonly BackendResult[]): Promise<readonly string[]> {
  const plots = results.flatMap(({ backend, mixes }) => {
    const steady = mixes.flatMap((result) => result.steady);
    const processor = mixes.flatMap(({ mix, bare, handoff }) => [
      { name: `bare, ${mix.name}`, values: productOf(bare.processor) },
      ...Object.values(handoff).map((measured) => ({
        name: `${Object.keys(handoff).length > 1 && measured === handoff.one ? "one process" : "Handoff"}, ${mix.name}`,
        values: productOf(measured.processor),
      })),
    ]);
    return [
      {
        name: `${backend}-throughput`,
        svg: drawBars({
          title: `Settled, ${backend} queue`,
          unit: "leads/s",
          groups: mixes.map((result) => ({
            name: result.mix.name,
            values: { bare: result.bare.settledPerSecond, Handoff: bestOf(result) },
          })),
        }),
      },
      {
        name: `${backend}-latency`,
        svg: drawLines({
          title: `From when a lead was due to the request at the partner, ${backend} queue`,
          unit: "ms",
          series: steady.map(({ perSecond, measured }) => ({
            name: `${perSecond} leads/s`,
            points: measured.latencyDistribution,
          })),
        }),
      },
      {
        name: `${backend}-processor`,
        svg: drawBars({ title: `Processor time, ${backend} queue`, unit: "s per 1,000 leads", groups: processor }),
      },
    ];
  });
  await mkdir(folder, { recursive: true });
  for (const { name, svg } of plots) await writeFile(path.join(folder, `${name}.svg`), svg);
  return plots.map(({ name }) => path.join("bench", "results", `${name}.svg`));
}

/** Without the bench's own sender and receiver. */
function productOf(processor: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(processor).filter(([kind]) => kind !== "generator" && kind !== "receiver"));
}
