import { spawn } from "node:child_process";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { projectRoot } from "../../src/project-root.ts";
import { reapProcess, releaseProcess } from "./reaper.ts";

export interface TestProcess {
  readonly pid: number;
  /** Everything written so far to standard output and standard error. */
  output(): string;
  /** The first match in the output, as soon as it is there; fails when the process ends or time is up. */
  waitFor(pattern: RegExp, limitMs?: number): Promise<RegExpMatchArray>;
  /** Sends the signal and waits for the end; gives the exit code, null when a signal ended it. */
  end(signal: NodeJS.Signals): Promise<number | null>;
  readonly ended: Promise<number | null>;
}

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Starts a program in a session of its own; it is ended with this process if not before. */
export function startProcess(command: string, args: readonly string[], options: ProcessOptions = {}): TestProcess {
  const child = spawn(command, args, {
    cwd: options.cwd ?? projectRoot,
    env: { ...process.env, NODE_OPTIONS: "", ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const pid = child.pid;
  if (pid === undefined) {
    throw new Error(`${command} could not be started.`);
  }
  reapProcess(pid, "SIGTERM");
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<number | null>((resolve) => {
    child.once("close", (code) => {
      releaseProcess(pid);
      resolve(code);
    });
  });
  return {
    pid,
    ended,
    output: () => output,
    waitFor: (pattern, limitMs = 30_000) =>
      waitForOutput(
        () => output.match(pattern),
        child,
        limitMs,
        () => output,
      ),
    end(signal) {
      child.kill(signal);
      return ended;
    },
  };
}

/** Runs one of our TypeScript files, path from the project's root (or from `root`, another checkout). */
export function startTypeScript(
  file: string,
  args: readonly string[] = [],
  options: ProcessOptions & { readonly root?: string } = {},
): TestProcess {
  const root = options.root ?? projectRoot;
  const loader = path.join(root, "test", "helpers", "typescript.mjs");
  return startProcess(process.execPath, ["--import", loader, path.join(root, file), ...args], options);
}

async function waitForOutput(
  find: () => RegExpMatchArray | null,
  child: { exitCode: number | null; signalCode: NodeJS.Signals | null },
  limitMs: number,
  output: () => string,
): Promise<RegExpMatchArray> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    const match = find();
    if (match) {
      return match;
    }
    if (hasEnded || Date.now() > deadline) {
      throw new Error(
        `${hasEnded ? "The process ended" : "Time was up"} before the expected words came. It wrote:\n${output()}`,
      );
    }
    await sleep(20);
  }
}
