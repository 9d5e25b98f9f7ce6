import type { Spread } from "./percentiles.ts";
import { bestOf, ratioOf, storedFigures } from "./report.ts";
import type { BackendResult } from "./run-bench.ts";

/** The figures as tables in Markdown, as docs/performance.md has them. Pure. */

type Cells = readonly string[];

const whole = (value: number) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en-GB") : "");
const fine = (value: number) => (value < 10 ? value.toFixed(1) : whole(value));

export function writeTables(results: readonly BackendResult[]): string {
  const tables = [
    table(
      ["settled per second", "Handoff", "in one process", "the bare pipeline", "ratio"],
      results.flatMap(throughput),
    ),
    table(
      ["from the answer to intake until the request is at the partner", "p50", "p95", "p99"],
      results.flatMap(latency),
    ),
    table(
      [
        "for 1,000 leads at the top rate, s of processor",
        "api",
        "worker",
        "PostgreSQL",
        "Redis",
        "peak MiB, api",
        "worker",
      ],
      results.flatMap(costs),
    ),
    table(["SQL statements for each lead", "of Handoff", "of the queue"], results.flatMap(statements)),
    ...results.map(storedTable),
    table(["a worker with 100,000 leads in the queue", "MiB, steady", "at most"], results.flatMap(memory)),
  ];
  return tables.filter((lines) => lines.length > 0).join("\n");
}

function table(head: Cells, rows: readonly Cells[]): string {
  if (rows.length === 0) return "";
  const line = (cells: Cells) => `| ${cells.join(" | ")} |\n`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("");
}

const queueOf = ({ backend }: BackendResult) => (backend === "redis" ? "Redis" : "PostgreSQL");

function throughput(result: BackendResult): Cells[] {
  return result.mixes.map((mix) => [
    `${queueOf(result)}, ${mix.mix.title}`,
    whole(mix.handoff.two?.settledPerSecond ?? bestOf(mix)),
    whole(mix.handoff.one?.settledPerSecond ?? Number.NaN),
    whole(mix.bare.settledPerSecond),
    ratioOf(mix).toFixed(2),
  ]);
}

const milliseconds = ({ p50, p95, p99 }: Spread) => [p50, p95, p99].map((value) => `${whole(value)} ms`);

function latency(result: BackendResult): Cells[] {
  return result.mixes.flatMap(({ mix, steady }) =>
    steady.map(({ perSecond, measured }) => [
      `${queueOf(result)}, ${mix.name}, ${whole(perSecond)} leads/s`,
      ...milliseconds(measured.afterAnswer),
    ]),
  );
}

function costs(result: BackendResult): Cells[] {
  return result.mixes.flatMap(({ mix, bare, handoff: { two } }) =>
    [["Handoff", two] as const, ["bare", bare] as const].flatMap(([name, measured]) => {
      if (measured === undefined) return [];
      const { processor, peakMemory } = measured;
      const seconds = ["api", "worker", "postgres", "redis"].map((kind) => processor[kind]?.toFixed(2) ?? "");
      const memory = ["api", "worker"].map((kind) => whole(peakMemory[kind] ?? Number.NaN));
      return [[`${queueOf(result)}, ${mix.name}, ${name}`, ...seconds, ...memory]];
    }),
  );
}

function statements(result: BackendResult): Cells[] {
  return result.mixes.flatMap(({ mix, steady }) =>
    steady.map(({ perSecond, statements }) => [
      `${queueOf(result)}, ${mix.name}, ${whole(perSecond)} leads/s`,
      statements.own.toFixed(1),
      statements.queue.toFixed(1),
    ]),
  );
}

function storedTable(result: BackendResult): string {
  const { stored } = result;
  const head = [
    `${queueOf(result)} queue`,
    ...stored.map(({ stored, held }) => `${whole(stored)} stored${held > 0 ? `, ${whole(held)} held` : ""}`),
  ];
  const figures = Object.entries(storedFigures).map(([words, figure]) => [words, ...stored.map(figure).map(fine)]);
  const lists = Object.keys(stored[0]?.lists ?? {}).map((list) => [
    `${list}, ms`,
    ...stored.map(({ lists }) => fine(lists[list] ?? Number.NaN)),
  ]);
  return stored.length === 0 ? "" : table(head, [...figures, ...lists]);
}

function memory(result: BackendResult): Cells[] {
  return result.memory.map(({ mix, steadyMib, peakMib }) => [
    `${queueOf(result)}, ${mix.title}`,
    whole(steadyMib),
    whole(peakMib),
  ]);
}
