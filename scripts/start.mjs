// `npm start`: installs and builds what is missing, then becomes `handoff start`. Words after it are passed on.
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { ensureBuilt } from "./ensure-built.mjs";
import { ensureInstalled, projectRoot, requireNodeVersion } from "./ensure-installed.mjs";

requireNodeVersion();
await ensureInstalled();
ensureBuilt();

// npm runs us through a shell. A signal to npm alone, or its death, does not reach us: we stop when either is gone.
if (process.env.npm_lifecycle_event === "start") {
  const watched = [process.ppid, parentOf(process.ppid)];
  const timer = setInterval(() => {
    if (process.ppid !== watched[0] || parentOf(process.ppid) !== watched[1]) {
      clearInterval(timer);
      process.kill(process.pid, "SIGTERM");
    }
  }, 250);
  timer.unref();
  // Told to stop already: npm going first is no second signal. Without anybody else who listens, ours must not swallow it.
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => {
      clearInterval(timer);
      if (process.listenerCount(signal) === 0) {
        process.kill(process.pid, signal);
      }
    });
  }
}

// In this process, not in a child: so Ctrl-C arrives once.
const program = path.join(projectRoot, "dist", "src", "cli.js");
process.argv = [process.execPath, program, "start", ...process.argv.slice(2)];
await import(pathToFileURL(program).href);

/** Undefined where the system does not tell. */
function parentOf(pid) {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return undefined;
  }
}
