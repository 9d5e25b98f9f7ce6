// `npm run chaos`: installs and builds what is missing, then runs the trial. Words after `npm run chaos --` are passed on.
import { spawn } from "node:child_process";
import path from "node:path";
import { ensureBuilt } from "./ensure-built.mjs";
import { ensureInstalled, projectRoot, requireNodeVersion } from "./ensure-installed.mjs";

requireNodeVersion();
await ensureInstalled();
ensureBuilt();

const loader = path.join(projectRoot, "test", "helpers", "typescript.mjs");
const trial = path.join(projectRoot, "bench", "chaos", "chaos.ts");
const child = spawn(process.execPath, ["--import", loader, trial, ...process.argv.slice(2)], {
  cwd: projectRoot,
  stdio: "inherit",
});
const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
for (const signal of signals) process.on(signal, () => child.kill(signal));
child.once("error", () => process.exit(1));
child.once("close", (code) => process.exit(code ?? 1));
