// Ends processes and removes folders once whoever started it is gone, however that came about: its standard input ends.
// Reads lines: `process PID SIGNAL`, `folder PATH`.
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const patienceMs = 10_000;
const processes = new Map();
const folders = new Set();

for await (const line of createInterface({ input: process.stdin })) {
  const [kind, subject, signal] = line.split("\t");
  if (kind === "process") {
    processes.set(Number(subject), signal);
  } else if (kind === "release") {
    processes.delete(Number(subject));
  } else {
    folders.add(subject);
  }
}
await Promise.all([...processes].map(([pid, signal]) => end(pid, signal)));
for (const folder of folders) {
  await rm(folder, { recursive: true, force: true });
}

async function end(pid, signal) {
  for (const next of [signal, "SIGKILL"]) {
    const deadline = Date.now() + patienceMs;
    for (send(pid, next); Date.now() < deadline; await sleep(20)) {
      if (!isRunning(pid)) {
        return;
      }
    }
  }
}

function send(pid, signal) {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** A zombie, which nobody may ever wait for, has ended. */
function isRunning(pid) {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return process.platform !== "linux" && send(pid, 0);
  }
}
