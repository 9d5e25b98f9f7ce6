import { type ChildProcess, fork, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { z } from "zod";
import { projectRoot } from "../src/project-root.ts";
import { reapProcess, releaseProcess } from "../test/helpers/reaper.ts";
import type { Message } from "./messages.ts";

const startLimitMs = 60_000;
const stopLimitMs = 20_000;

/** A program that is measured. What it writes goes to a file: reading it would cost the bench time. */
export interface Program {
  readonly kind: string;
  readonly pid: number;
  readonly logFile: string;
  stop(): Promise<void>;
}

export interface ProgramOptions {
  readonly kind: string;
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly folder: string;
  /** Written when it can be used. */
  readonly readyWords: RegExp;
}

let programs = 0;

/** Starts Node on these words and waits until it says that it is ready. */
export async function startProgram({ kind, words, env, folder, readyWords }: ProgramOptions): Promise<Program> {
  programs += 1;
  const logFile = path.join(folder, `${kind}-${programs}.log`);
  const output = openSync(logFile, "w");
  const inherited = Object.fromEntries(["PATH", "HOME", "LANG", "TMPDIR"].map((name) => [name, process.env[name]]));
  const child = spawn(process.execPath, [...words], {
    cwd: projectRoot,
    env: { ...inherited, NODE_ENV: "production", ...env },
    stdio: ["ignore", output, output],
    detached: true,
  });
  closeSync(output);
  const { pid } = child;
  if (pid === undefined) throw new Error(`${words.join(" ")} could not be started.`);
  reapProcess(pid, "SIGTERM");
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => {
      releaseProcess(pid);
      resolve();
    });
  });
  const stop = async () => {
    child.kill("SIGTERM");
    const timer = globalThis.setTimeout(() => child.kill("SIGKILL"), stopLimitMs);
    await ended;
    clearTimeout(timer);
  };
  await waitForWords(logFile, readyWords, child);
  return { kind, pid, logFile, stop };
}

async function waitForWords(logFile: string, words: RegExp, child: ChildProcess): Promise<void> {
  for (const deadline = Date.now() + startLimitMs; ; ) {
    const text = readFileSync(logFile, "utf8");
    if (words.test(text)) return;
    if (child.exitCode !== null || Date.now() > deadline)
      throw new Error(`A program did not start. It wrote:\n${text}`);
    await sleep(20);
  }
}

/** A helper of the bench in a process of its own; it ends with the bench, however that ends. */
export class Helper {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #listeners = new Set<(message: unknown) => void>();

  constructor(file: string) {
    const loader = path.join(projectRoot, "test", "helpers", "typescript.mjs");
    this.#child = fork(path.join(projectRoot, "bench", file), {
      execArgv: ["--import", loader],
      serialization: "advanced",
    });
    this.pid = this.#child.pid ?? 0;
    this.#child.on("message", (message) => {
      for (const listener of this.#listeners) listener(message);
    });
  }

  send(message: Message): void {
    this.#child.send(message);
  }

  onMessage(listener: (message: unknown) => void): void {
    this.#listeners.add(listener);
  }

  /** The next message of this kind. */
  async next<T>(schema: z.ZodType<T>, limitMs = startLimitMs): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const end = (settle: () => void) => {
        clearTimeout(timer);
        this.#listeners.delete(listener);
        this.#child.off("exit", gone);
        settle();
      };
      const listener = (message: unknown) => {
        const parsed = schema.safeParse(message);
        if (parsed.success) end(() => resolve(parsed.data));
      };
      const gone = () => end(() => reject(new Error("A helper of the bench ended before it answered.")));
      const timer = globalThis.setTimeout(
        () => end(() => reject(new Error("A helper of the bench did not answer in time."))),
        limitMs,
      );
      this.#listeners.add(listener);
      this.#child.once("exit", gone);
    });
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}
