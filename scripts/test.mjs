// `npm test`: installs what is missing, checks style and types, then runs all tests. Words after `npm test --` go to jest, and
// then only jest runs.
import { spawn } from "node:child_process";
import path from "node:path";
import { ensureInstalled, npmCommand, projectRoot, requireNodeVersion } from "./ensure-installed.mjs";

requireNodeVersion();
await ensureInstalled();

const words = process.argv.slice(2);
if (words.length === 0) {
  await run([...npmCommand(), "run", "--silent", "check"]);
}
await run([process.execPath, path.join(projectRoot, "node_modules", "jest", "bin", "jest.js"), ...words], {
  // Jest runs ES modules through an interface that Node calls experimental.
  NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ""} --experimental-vm-modules --disable-warning=ExperimentalWarning`,
});

/** Runs a program; its failure is ours, with the same code. */
async function run([command, ...commandWords], environment = {}) {
  const child = spawn(command, commandWords, {
    cwd: projectRoot,
    env: { ...process.env, ...environment },
    stdio: "inherit",
  });
  const forward = (signal) => child.kill(signal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) {
    process.on(signal, forward);
  }
  const code = await new Promise((resolve) => {
    child.once("error", () => resolve(1));
    child.once("close", (exitCode) => resolve(exitCode ?? 1));
  });
  for (const signal of signals) {
    process.off(signal, forward);
  }
  if (code !== 0) {
    process.exit(code);
  }
}
