import type { Spread } from "./percentiles.ts";
import type { BackendResult, MixResult } from "./run-bench.ts";

const oneDecimal = (value: number) => value.toFixed(1);

/** Leads settled per second, of the layout that did better. */
export function bestOf({ handoff }: MixResult): number {
  return Math.max(...Object.values(handoff).map(({ settledPerSecond }) => settledPerSecond));
}

export function ratioOf(result: MixResult): number {
  return bestOf(result) / result.bare.settledPerSecond;
}

export function printReport(results: readonly BackendResult[], print: (line: string) => void): void {
  for (const { backend, mixes, noOpPerSecond } of results) {
    print(`\n${backend} (BullMQ no-op: ${Math.round(noOpPerSecond)} jobs/s)`);
    for (const result of mixes) {
      print(`  ${result.mix.title}: ratio to bare ${ratioOf(result).toFixed(2)}`);
      const runs = [["bare", result.bare] as const, ...Object.entries(result.handoff)];
      for (const [name, measured] of runs) {
        print(
          `    ${name.padEnd(6)} accepted ${Math.round(measured.acceptedPerSecond)}/s settled ${Math.round(measured.settledPerSecond)}/s ` +
            `cpu s/1000: ${entries(measured.processor, 2)}; MiB: ${entries(measured.peakMemory, 0)}; others ${Math.round(100 * (measured.others ?? 0))} %`,
        );
      }
      for (const { perSecond, measured, statements } of result.steady) {
        print(
          `    at ${perSecond}/s: due→partner ${spread(measured.latency)}; answered→partner ${spread(measured.afterAnswer)}; ` +
            `intake ${spread(measured.intake)}; statements/lead ${oneDecimal(statements.own)} + queue ${oneDecimal(statements.queue)}; cpu ${entries(measured.processor, 2)}; others ${Math.round(100 * (measured.others ?? 0))} %`,
        );
      }
    }
  }
}

const entries = (values: Readonly<Record<string, number>>, digits: number) =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${value.toFixed(digits)}`)
    .join(", ");

const spread = ({ p50, p95, p99 }: Spread) => [p50, p95, p99].map(oneDecimal).join("/");

export function summarise(results: readonly BackendResult[]): Record<string, unknown> {
  return Object.fromEntries(
    results.map(({ backend, mixes, noOpPerSecond }) => {
      const [main] = mixes;
      if (main === undefined) return [backend, {}];
      const [at100, at80] = main.steady;
      return [
        backend,
        {
          leads_per_s: Math.round(bestOf(main)),
          bare_per_s: Math.round(main.bare.settledPerSecond),
          no_op_per_s: Math.round(noOpPerSecond),
          ratio: Number(ratioOf(main).toFixed(2)),
          p50_ms: at100?.measured.latency.p50,
          p99_ms: at100?.measured.latency.p99,
          p99_at_80_percent_ms: at80?.measured.latency.p99,
          sql_per_lead: at80?.statements,
        },
      ];
    }),
  );
}
