import type { Measured } from "./measure.ts";
import type { Spread } from "./percentiles.ts";
import type { BackendResult } from "./run-bench.ts";
import type { MemoryResult } from "./run-memory.ts";
import type { StoredResult } from "./run-stored.ts";
import type { MixResult, SteadyRun } from "./runs.ts";

/** What the figures come to, for people and for programs. */

const whole = (value: number) => String(Math.round(value));
const tenths = (value: number) => value.toFixed(1);

/** Leads settled per second, of the layout that did better. */
export function bestOf({ handoff }: MixResult): number {
  return Math.max(...Object.values(handoff).map(({ settledPerSecond }) => settledPerSecond));
}

export function ratioOf(result: MixResult): number {
  return bestOf(result) / result.bare.settledPerSecond;
}

/** Everything that must not be, with where it was. */
export function wrongOf({ backend, mixes, stored, memory }: BackendResult): readonly string[] {
  const runs = [
    ...mixes.flatMap(({ mix, bare, handoff, steady }) =>
      [bare, ...Object.values(handoff), ...steady.map(({ measured }) => measured)].map(
        ({ wrong }) => [mix.title, wrong] as const,
      ),
    ),
    ...stored.map(
      ({ stored, held, flatOut, steady }) =>
        [`${stored} stored, ${held} held`, [...flatOut.wrong, ...steady.measured.wrong]] as const,
    ),
    ...memory.map(({ mix, leads, wrong }) => [`${mix.title}, ${leads} in the queue`, wrong] as const),
  ];
  return runs.flatMap(([where, wrong]) => wrong.map((words) => `${backend}, ${where}: ${words}`));
}

export function printReport(results: readonly BackendResult[], print: (line: string) => void): void {
  for (const { backend, mixes, noOpPerSecond, stored, memory } of results) {
    print(`\n${backend} queue (BullMQ, no-op: ${whole(noOpPerSecond)} jobs/s)`);
    for (const result of mixes) printMix(result, print);
    printStored(stored, print);
    for (const { mix, leads, steadyMib, peakMib, settledPerSecond } of memory)
      print(
        `  a worker with ${leads} leads in the queue, ${mix.title}: ${steadyMib} MiB, at most ${peakMib}, ` +
          `${whole(settledPerSecond)} settled/s`,
      );
  }
}

function printMix(result: MixResult, print: (line: string) => void): void {
  print(`  ${result.mix.title}: ratio to bare ${ratioOf(result).toFixed(2)}`);
  const { one, two } = result.handoff;
  const runs = [
    ["bare", result.bare],
    ["Handoff", two],
    ["in one process", one],
  ] as const;
  for (const [name, measured] of runs) {
    if (measured === undefined) continue;
    const { acceptedPerSecond, settledPerSecond, processor, peakMemory } = measured;
    print(
      `    ${name}: ${whole(acceptedPerSecond)} accepted/s, ${whole(settledPerSecond)} settled/s${others(measured)}`,
    );
    print(`      processor s per 1,000 leads: ${entries(processor, 2)}; peak MiB: ${entries(peakMemory, 0)}`);
  }
  for (const { perSecond, measured, statements } of result.steady) {
    print(`    at ${perSecond} leads/s, ms, p50/p95/p99${others(measured)}:`);
    print(
      `      due→partner ${spread(measured.latency)}; due→answer ${spread(measured.intake)}; ` +
        `answer→partner ${spread(measured.afterAnswer)}`,
    );
    print(
      `      statements per lead ${tenths(statements.own)}, of the queue ${tenths(statements.queue)}; ` +
        `processor s per 1,000 leads: ${entries(measured.processor, 2)}`,
    );
  }
}

function printStored(stages: readonly StoredResult[], print: (line: string) => void): void {
  if (stages.length === 0) return;
  const row = (words: string, values: readonly string[]) =>
    print(`    ${words.padEnd(32)}${values.map((value) => value.padStart(12)).join("")}`);
  print("  as the database fills:");
  row(
    "leads stored",
    stages.map(({ stored }) => whole(stored)),
  );
  row(
    "leads held",
    stages.map(({ held }) => whole(held)),
  );
  for (const [words, figure] of Object.entries(storedFigures))
    row(
      words,
      stages.map((stage) => tenths(figure(stage))),
    );
  for (const list of Object.keys(stages[0]?.lists ?? {}))
    row(
      `${list}, ms`,
      stages.map(({ lists }) => tenths(lists[list] ?? Number.NaN)),
    );
}

export const storedFigures: Readonly<Record<string, (stage: StoredResult) => number>> = {
  "accepted/s": ({ flatOut }) => flatOut.acceptedPerSecond,
  "settled/s": ({ flatOut }) => flatOut.settledPerSecond,
  "due→partner at 100/s, p50 ms": ({ steady }) => steady.measured.latency.p50,
  "due→partner at 100/s, p99 ms": ({ steady }) => steady.measured.latency.p99,
  "due→answer at 100/s, p50 ms": ({ steady }) => steady.measured.intake.p50,
  "statements per lead at 100/s": ({ steady }) => steady.statements.own + steady.statements.queue,
  "worker, s per 1,000 leads": ({ flatOut }) => flatOut.processor.worker ?? Number.NaN,
  "postgres, s per 1,000 leads": ({ flatOut }) => flatOut.processor.postgres ?? Number.NaN,
  "worker, peak MiB": ({ flatOut }) => flatOut.peakMemory.worker ?? Number.NaN,
};

/** Said where it may have mattered. */
const others = ({ others }: Measured) =>
  others === null || others < 0.05 ? "" : ` (other programs took ${whole(100 * others)} % of the machine)`;

const entries = (values: Readonly<Record<string, number>>, digits: number) =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${value.toFixed(digits)}`)
    .join(", ");

const spread = ({ p50, p95, p99 }: Spread) => [p50, p95, p99].map(tenths).join("/");

/** The figures as JSON: of each backend those of its first mix, then all mixes by name, and what a full run has. */
export function summarise(results: readonly BackendResult[]): Record<string, unknown> {
  return Object.fromEntries(
    results.map(({ backend, mixes, noOpPerSecond, stored, memory }) => [
      backend,
      {
        ...(mixes[0] === undefined ? {} : summariseMix(mixes[0])),
        no_op_per_s: Math.round(noOpPerSecond),
        mixes: Object.fromEntries(mixes.map((result) => [result.mix.name, summariseMix(result)])),
        ...(stored.length === 0 ? {} : { stored: stored.map(summariseStored) }),
        ...(memory.length === 0 ? {} : { worker_memory: memory.map(summariseMemory) }),
      },
    ]),
  );
}

function summariseMix(result: MixResult) {
  const [at100, at80Percent] = result.steady;
  const fastest = at80Percent ?? at100;
  const { two } = result.handoff;
  const best = Object.values(result.handoff).map(({ acceptedPerSecond }) => acceptedPerSecond);
  return {
    leads_per_s: Math.round(bestOf(result)),
    accepted_per_s: Math.round(Math.max(...best)),
    bare_per_s: Math.round(result.bare.settledPerSecond),
    ratio: round(ratioOf(result)),
    // From when a lead should have been sent to the request at the partner, at 100 leads/s.
    ...(at100 === undefined ? {} : millisecondsOf(at100.measured.latency)),
    // Of the product and its queue, at the upper pace.
    sql_per_lead: fastest === undefined ? null : round(fastest.statements.own + fastest.statements.queue),
    ...(two === undefined ? {} : { cpu_s_per_1000_leads: rounded(two.processor), peak_mib: two.peakMemory }),
    bare_cpu_s_per_1000_leads: rounded(result.bare.processor),
    at_100_per_s: at100 === undefined ? null : summariseSteady(at100),
    at_80_percent: at80Percent === undefined ? null : summariseSteady(at80Percent),
  };
}

function summariseSteady({ perSecond, measured, statements }: SteadyRun) {
  return {
    leads_per_s: perSecond,
    ...millisecondsOf(measured.latency),
    from_answer_to_partner: millisecondsOf(measured.afterAnswer),
    intake: millisecondsOf(measured.intake),
    sql_per_lead: round(statements.own),
    queue_sql_per_lead: round(statements.queue),
    cpu_s_per_1000_leads: rounded(measured.processor),
    peak_mib: measured.peakMemory,
  };
}

function summariseStored({ stored, held, flatOut, steady, lists }: StoredResult) {
  return {
    stored,
    held,
    leads_per_s: Math.round(flatOut.settledPerSecond),
    accepted_per_s: Math.round(flatOut.acceptedPerSecond),
    cpu_s_per_1000_leads: rounded(flatOut.processor),
    peak_mib: flatOut.peakMemory,
    at_100_per_s: summariseSteady(steady),
    lists_ms: rounded(lists),
  };
}

function summariseMemory({ mix, leads, steadyMib, peakMib }: MemoryResult) {
  return { mix: mix.name, leads, steady_mib: steadyMib, peak_mib: peakMib };
}

const millisecondsOf = ({ p50, p95, p99 }: Spread) => ({ p50_ms: round(p50), p95_ms: round(p95), p99_ms: round(p99) });
const round = (value: number) => Math.round(value * 100) / 100;
const rounded = (values: Readonly<Record<string, number>>) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, round(value)]));
