import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { readOptions, usage } from "./options.ts";
import { runBench } from "./run-bench.ts";

/** `npm run bench`. See the usage in options.ts, and docs/performance.md. */

const print = (line: string) => void process.stdout.write(`${line}\n`);

const read = readOptions(process.argv.slice(2));
if (read.kind !== "run") {
  (read.kind === "help" ? process.stdout : process.stderr).write(
    read.kind === "help" ? usage : `${read.problem}\n\n${usage}`,
  );
  process.exit(read.kind === "help" ? 0 : 2);
}

const folder = await mkdtemp(path.join(tmpdir(), "handoff-bench-"));
// PostgreSQL does not run as root: its user has to enter the folder.
await chmod(folder, 0o755);
const code = await runBench(read.options, folder, print).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  return 1;
});
await rm(folder, { recursive: true, force: true });
process.exit(code);
