import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { projectRoot } from "../../src/project-root.ts";

/**
 * A small process of its own that outlives this one and cleans up after it: Ctrl-C, `kill -9` and a crash leave nothing
 * behind. Every process that starts servers has at most one.
 */
let reaper: ChildProcess | null = null;

function tell(...words: string[]): void {
  reaper ??= startReaper();
  reaper.stdin?.write(`${words.join("\t")}\n`);
}

function startReaper(): ChildProcess {
  const script = path.join(projectRoot, "test", "helpers", "reaper-process.mjs");
  const child = spawn(process.execPath, [script], { detached: true, stdio: ["pipe", "ignore", "inherit"] });
  child.unref();
  if (child.stdin && "unref" in child.stdin && typeof child.stdin.unref === "function") {
    child.stdin.unref();
  }
  return child;
}

/** Has this process ended by `signal` when we are gone; killed if that takes more than ten seconds. */
export function reapProcess(pid: number, signal: NodeJS.Signals): void {
  tell("process", String(pid), signal);
}

/** To be called when the process has ended: its id may be given to another program. */
export function releaseProcess(pid: number): void {
  tell("release", String(pid));
}

export function reapFolder(folder: string): void {
  tell("folder", folder);
}

/** Cleans up now, and waits for it. */
export async function reapNow(): Promise<void> {
  const child = reaper;
  reaper = null;
  if (child) {
    const ended = once(child, "exit");
    child.ref();
    child.stdin?.end();
    await ended;
  }
}
