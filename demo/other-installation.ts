import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

/** A second installation of Handoff for deals to be referred to: a program of its own, with a database of its own. */
export interface OtherInstallation {
  /** How to reach it, once it is ready; null where it did not start. */
  readonly ready: Promise<OtherAddress | null>;
  stop(): Promise<void>;
}

export interface OtherAddress {
  readonly url: string;
  /** Of its first organisation. */
  readonly apiKey: string;
}

export interface OtherInstallationOptions {
  /** Its own, kept from one start to the next. */
  readonly dataDirectory: string;
  readonly port: number;
  /** `host:port` of what it may reach although it is on this machine. */
  readonly allowHosts: readonly string[];
  readonly mail: { readonly host: string; readonly port: number };
}

const startLimitMs = 180_000;
const stopLimitMs = 30_000;

/** What the first installation was told is not meant for the other. */
const ownSettings = ["DATABASE_URL", "REDIS_URL", "HANDOFF_API_KEY", "HANDOFF_SECRET", "PAYPAL_BASE_URL"] as const;

/**
 * Starts this very program once more, for an installation that ends with this process, however that ends. Tells `complain`
 * where it does not start: the demo goes on without it.
 */
export async function startOtherInstallation(
  options: OtherInstallationOptions,
  complain: (problem: string) => void,
): Promise<OtherInstallation> {
  const { dataDirectory, port, allowHosts, mail } = options;
  await mkdir(dataDirectory, { recursive: true });
  const url = `http://127.0.0.1:${port}`;
  const inherited = Object.entries(process.env).filter(([name]) => !(ownSettings as readonly string[]).includes(name));
  const child = fork(process.argv[1] ?? "", ["start"], {
    env: {
      ...Object.fromEntries(inherited),
      DEMO: "0",
      DATA_DIR: dataDirectory,
      HOST: "127.0.0.1",
      PORT: String(port),
      PUBLIC_URL: url,
      HANDOFF_ALLOW_HOSTS: allowHosts.join(","),
      SMTP_HOST: mail.host,
      SMTP_PORT: String(mail.port),
      SMTP_FROM: "The other Handoff <handoff@other.test>",
    },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let isStopping = false;
  const start = async () => {
    const problem = await untilReady(child);
    if (problem === null) return { url, apiKey: (await readFile(join(dataDirectory, "api-key"), "utf8")).trim() };
    await stop(child);
    if (!isStopping) complain(`The demo's other installation did not start. It wrote:\n${problem}`);
    return null;
  };
  return {
    ready: start(),
    async stop() {
      isStopping = true;
      await stop(child);
    },
  };
}

const isOver = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

/** Gives what it printed where it does not get ready; null when it is. */
async function untilReady(child: ChildProcess): Promise<string | null> {
  let printed = "";
  const note = (chunk: Buffer) => {
    printed += chunk.toString("utf8");
  };
  child.stdout?.on("data", note);
  child.stderr?.on("data", note);
  const endsAt = performance.now() + startLimitMs;
  while (!printed.includes("Handoff is ready at")) {
    if (isOver(child) || performance.now() > endsAt) return printed;
    await setTimeout(50);
  }
  // From here on what it prints is read by nobody, and must not fill the pipe.
  for (const stream of [child.stdout, child.stderr]) stream?.off("data", note).resume();
  return null;
}

async function stop(child: ChildProcess): Promise<void> {
  if (isOver(child)) return;
  const ended = once(child, "exit");
  // A signal would be its second, where Ctrl-C went to both, and have it end without its database.
  if (child.connected) child.disconnect();
  const hasEnded = await Promise.race([ended.then(() => true), setTimeout(stopLimitMs, false, { ref: false })]);
  if (!hasEnded) child.kill("SIGKILL");
}
