// `npm run bench`: installs and builds what is missing, then runs bench/bench.ts. Words after `npm run bench --` go to it.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { ensureBuilt } from "./ensure-built.mjs";
import { ensureInstalled, projectRoot, requireNodeVersion } from "./ensure-installed.mjs";

requireNodeVersion();
await ensureInstalled();
ensureBuilt();

const loader = path.join(projectRoot, "test", "helpers", "typescript.mjs");
const program = path.join(projectRoot, "bench", "bench.ts");
const { status } = spawnSync(process.execPath, ["--import", loader, program, ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exit(status ?? 1);
