import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { projectRoot } from "../src/project-root.ts";
import { drawBars, drawLines } from "./plot.ts";
import { bestOf } from "./report.ts";
import type { BackendResult } from "./run-bench.ts";
import type { StoredResult } from "./run-stored.ts";
import type { MixResult } from "./runs.ts";
import { writeTables } from "./tables.ts";

const folder = path.join(projectRoot, "bench", "results");

/** Writes a plot of each kind of figure to bench/results, and all figures as tables; gives the files. */
export async function writePlots(results: readonly BackendResult[]): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true });
  const files: string[] = [];
  for (const result of results) {
    const plots = [...plotMixes(result), ...plotStored(result), ...plotMemory(result)];
    for (const [name, svg] of plots) {
      const file = `${result.backend}-${name}.svg`;
      await writeFile(path.join(folder, file), svg);
      files.push(path.join("bench", "results", file));
    }
  }
  await writeFile(path.join(folder, "figures.md"), writeTables(results));
  return [...files, path.join("bench", "results", "figures.md")];
}

type Plot = readonly [name: string, svg: string];

function plotMixes({ backend, mixes }: BackendResult): Plot[] {
  if (mixes.length === 0) return [];
  const beside = (figures: (result: MixResult) => Readonly<Record<string, number>>) =>
    mixes.map((result) => ({ name: result.mix.name, values: figures(result) }));
  const settled = beside((result) => ({ "bare pipeline": result.bare.settledPerSecond, Handoff: bestOf(result) }));
  const processes = mixes.flatMap(({ mix, bare, handoff: { two } }) => [
    { name: `bare, ${mix.name}`, run: bare },
    ...(two === undefined ? [] : [{ name: `Handoff, ${mix.name}`, run: two }]),
  ]);
  const processor = processes.map(({ name, run }) => ({ name, values: productOf(run.processor) }));
  const memory = processes.map(({ name, run }) => ({ name, values: run.peakMemory }));
  const statements = mixes.flatMap(({ mix, steady }) =>
    steady.map(({ perSecond, statements }) => ({
      name: `${mix.name}, ${perSecond}/s`,
      values: { "of Handoff": statements.own, "of the queue": statements.queue },
    })),
  );
  const latency = ["at 100 leads/s", "at 80 % of the top rate"].map((pace, place): Plot => {
    const series = mixes.flatMap(({ mix, steady }) => {
      const run = steady[place];
      return run === undefined
        ? []
        : [{ name: `${mix.name}, ${run.perSecond}/s`, points: run.measured.latencyDistribution }];
    });
    const title = `From when a lead was due to the request at the partner, ${pace}, ${backend} queue`;
    return [
      `latency-${place === 0 ? "100" : "80-percent"}`,
      drawLines({ title, unit: "ms", shareOf: "leads", series }),
    ];
  });
  return [
    ["throughput", drawBars({ title: `Leads settled, ${backend} queue`, unit: "leads/s", groups: settled })],
    ...latency,
    [
      "processor",
      drawBars({
        title: `Processor time for 1,000 leads at the top rate, ${backend} queue`,
        unit: "s",
        isStacked: true,
        groups: processor,
      }),
    ],
    ["memory", drawBars({ title: `Peak memory, ${backend} queue`, unit: "MiB", groups: memory })],
    [
      "statements",
      drawBars({
        title: `SQL statements for each lead, ${backend} queue`,
        unit: "",
        isStacked: true,
        groups: statements,
      }),
    ],
  ];
}

function plotStored({ backend, stored }: BackendResult): Plot[] {
  if (stored.length === 0) return [];
  const rates = stored.map((stage) => ({
    name: stageName(stage),
    values: { "accepted/s": stage.flatOut.acceptedPerSecond, "settled/s": stage.flatOut.settledPerSecond },
  }));
  const latency = stored.map((stage) => {
    const { p50, p95, p99 } = stage.steady.measured.latency;
    return { name: stageName(stage), values: { p50, p95, p99 } };
  });
  // Empty, with most stored, and with most held besides.
  const compared = [stored[0], ...stored.slice(-2)].filter((stage) => stage !== undefined);
  const lists = Object.keys(stored[0]?.lists ?? {}).map((list) => ({
    name: list.replace(/ (of|for|by|held|failed|further)/, ", $1"),
    values: Object.fromEntries(compared.map((stage) => [stageName(stage), stage.lists[list] ?? Number.NaN])),
  }));
  return [
    [
      "stored-throughput",
      drawBars({ title: `As the database fills, ${backend} queue`, unit: "leads/s", groups: rates }),
    ],
    [
      "stored-latency",
      drawBars({
        title: `From when a lead was due to the request at the partner, 100 leads/s, ${backend} queue`,
        unit: "ms",
        groups: latency,
      }),
    ],
    [
      "stored-lists",
      drawBars({ title: `A page of each list, ${backend} queue`, unit: "ms", isLogarithmic: true, groups: lists }),
    ],
  ];
}

function plotMemory({ backend, memory }: BackendResult): Plot[] {
  if (memory.length === 0) return [];
  const groups = memory.map(({ mix, steadyMib, peakMib }) => ({
    name: mix.name,
    values: { "half of the time less than": steadyMib, "at most": peakMib },
  }));
  const title = `Memory of a worker with 100,000 leads in the queue, ${backend} queue`;
  return [["worker-memory", drawBars({ title, unit: "MiB", groups })]];
}

const stageName = ({ stored, held }: StoredResult) =>
  `${stored.toLocaleString("en-GB")} stored${held > 0 ? `, ${held.toLocaleString("en-GB")} held` : ""}`;

/** Without the bench's own sender and receiver. */
function productOf(processor: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(processor).filter(([kind]) => kind !== "generator" && kind !== "receiver"));
}
