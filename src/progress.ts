import { Presets, SingleBar } from "cli-progress";

export interface Progress {
  to(count: number): void;
  end(count: number): void;
}

/** Lines that are not a terminal's get a note every so many rows instead of a bar. */
const linesEvery = 1_000;

/** Shows how far long work is: a bar on a terminal, a line now and then elsewhere. `total` 0: not known yet. */
export function createProgress(title: string, print: (line: string) => void, total = 0): Progress {
  if (process.stderr.isTTY !== true) {
    return {
      to: (count) => {
        if (count % linesEvery === 0) print(`${title}: ${count} rows`);
      },
      end: (count) => print(`${title}: ${count} rows, done`),
    };
  }
  const format =
    total === 0
      ? `${title} {value} rows, {duration_formatted}`
      : `${title} {bar} {value}/{total} rows, {eta_formatted} left`;
  const bar = new SingleBar({ format, hideCursor: true }, Presets.shades_classic);
  bar.start(total, 0);
  return {
    to: (count) => bar.update(count),
    end: (count) => {
      bar.update(count);
      bar.stop();
    },
  };
}
