// `npm run hostile`: installs and builds what is missing, then attacks an installation of its own. Words after
// `npm run hostile --` go to bench/hostile/hostile.ts; `--help` says which there are.
import { spawn } from "node:child_process";
import path from "node:path";
import { ensureBuilt } from "./ensure-built.mjs";
import { ensureInstalled, projectRoot, requireNodeVersion } from "./ensure-installed.mjs";

requireNodeVersion();
await ensureInstalled();
ensureBuilt();

const loader = path.join(projectRoot, "test", "helpers", "typescript.mjs");
const driver = path.join(projectRoot, "bench", "hostile", "hostile.ts");
const child = spawn(process.execPath, ["--import", loader, driver, ...process.argv.slice(2)], {
  cwd: projectRoot,
  stdio: "inherit",
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.once("error", () => process.exit(1));
child.once("close", (code) => process.exit(code ?? 1));
