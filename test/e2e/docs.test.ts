import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { z } from "zod";
import { type DemoReceivers, startDemoReceivers } from "../../demo/receivers.ts";
import { closeOutbound } from "../../src/channels/close-outbound.ts";
import { sampleVariables } from "../../src/channels/sample-variables.ts";
import { internetSettingsSchema } from "../../src/channels/settings.ts";
import { freePort } from "../../src/db/embedded-postgres-server.ts";
import { sendOver } from "../../src/delivery/attempt-delivery.ts";
import { projectRoot } from "../../src/project-root.ts";
import { type Block, differenceOf, readPage, readTable } from "../helpers/documentation.ts";
import { startTypeScript, type TestProcess } from "../helpers/process.ts";
import { reapProcess } from "../helpers/reaper.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";

/** Runs what the pages tell readers to run, in one shell and one installation, and compares what they show. */

/** In the order in which a reader meets them: later pages go on from the quick start. */
const pagesThatRun = [
  "docs/quick-start.md",
  "docs/intake.md",
  "docs/limits-and-hours.md",
  "docs/routing.md",
  "docs/accept-first.md",
  "docs/delivery-methods.md",
  "docs/money.md",
  "docs/payments.md",
  "docs/returns.md",
  "docs/operations.md",
  "docs/api.md",
  "docs/people.md",
  "docs/partner-portal.md",
  // Makes a second organisation, after which commands have to say which they are for.
  "docs/connected-portals.md",
].map(readPage);

let installation: TestProcess;
let shell: Shell;
let port: number;
let folder: string;

beforeAll(async () => {
  folder = await makeTemporaryFolder();
  port = await freePort();
  const environment = { HOST: "127.0.0.1", PORT: String(port), DATA_DIR: path.join(folder, "data"), LOG_LEVEL: "warn" };
  installation = startTypeScript("src/cli.ts", ["start"], { env: environment });
  // Two installations start, each with a database of its own.
  await installation.waitFor(/Send one more lead:\n.*\n/, 150_000);
  shell = openShell(folder, environment);
}, 180_000);

afterAll(async () => {
  shell?.end();
  await installation?.end("SIGINT");
}, 60_000);

describe.each(pagesThatRun)("$name", ({ blocks }) => {
  const runs = blocks.flatMap((block, index) =>
    block.mark === "run" ? [{ block, answer: answerOf(blocks, index) }] : [],
  );

  test.each(runs.map((run) => [`line ${run.block.line}`, run] as const))("%s", async (_line, { block, answer }) => {
    const { output, code } = await runUntilAsShown(block, answer);
    if (code !== 0) throw new Error(`It ended with ${code}:\n${output}`);
    const difference = answer === null ? null : differenceOf(localised(answer), output);
    if (difference !== null) throw new Error(`${block.page}:${answer?.line}: ${difference}\n${output}`);
  });
});

test("docs/api.md lists every route of the OpenAPI document", async () => {
  const answer = await fetch(`http://127.0.0.1:${port}/openapi.json`);
  const { paths } = openApi.parse(await answer.json());
  const routes = Object.entries(paths).flatMap(([route, methods]) =>
    Object.entries(methods).map(([method, { summary }]) => [method.toUpperCase(), route, summary]),
  );
  expect([...readTable(readPage("docs/api.md"), "Routes")]).toEqual(routes);
});

const openApi = z.object({ paths: z.record(z.string(), z.record(z.string(), z.object({ summary: z.string() }))) });

describe("README.md", () => {
  const { blocks } = readPage("README.md");
  const printed = blocks.find(({ mark }) => mark === "output of npm start");
  const answer = blocks.find(({ mark }) => mark === "answer");

  test("shows what npm start prints, but for figures", () => {
    if (printed === undefined) throw new Error("The README does not show what npm start prints.");
    const shown = withoutFigures(printed.text.replace(/^(Installing|Installed|Built) .*\n/gm, ""));
    const difference = differenceOf({ ...printed, text: shown }, withoutFigures(installation.output()));
    if (difference !== null) throw new Error(`${difference}\n${installation.output()}`);
  });

  test("the line that npm start prints sends a lead, which comes back as shown", async () => {
    const [line = ""] = /curl .*/.exec(installation.output()) ?? [];
    const { output } = await shell.run(line);
    const difference = answer === undefined ? "no answer is shown" : differenceOf(answer, output);
    if (difference !== null) throw new Error(`${difference}\n${output}`);
  });
});

/** Times, ports and how the sample leads fell to the partners differ from run to run. */
function withoutFigures(text: string): string {
  return text.replace(/\d+/g, "0").replace(/-{2,}/g, "--").replace(/ +/g, " ");
}

describe("docs/delivery-methods.md: every example with an address at leads.acme.test is taken by a real partner", () => {
  const examples = readPage("docs/delivery-methods.md").blocks.filter(({ text }) => text.includes("leads.acme.test"));
  let receivers: DemoReceivers;
  beforeAll(async () => {
    receivers = await startDemoReceivers();
  });
  afterAll(async () => {
    await receivers.stop();
    await closeOutbound();
  });

  test("there is one for each method over HTTP", () => {
    const methods = examples.map(({ text }) => z.object({ method: z.string() }).parse(JSON.parse(text)).method);
    expect(methods.sort()).toEqual(internetSettingsSchema.options.map((option) => option.shape.method.value).sort());
  });

  test.each(examples.map((example) => [`line ${example.line}`, example] as const))("%s", async (_line, { text }) => {
    const written = text.replace("https://leads.acme.test", receivers.partners.url);
    const settings = internetSettingsSchema.parse(JSON.parse(written));
    const [lead] = sampleVariables(exampleFields);
    const context = {
      allowHosts: receivers.allowHosts,
      idempotencyKey: randomUUID(),
      now: () => new Date(),
      smtp: null,
    };
    const sent = await sendOver(settings, lead, context);
    expect(sent.outcome).toMatchObject({ kind: "accepted" });
  });
});

/** The fields that the examples on the page name. */
const exampleFields = [
  { key: "first_name", type: "text" },
  { key: "last_name", type: "text" },
  { key: "email", type: "email" },
  { key: "cover", type: "money" },
  { key: "homeowner", type: "boolean" },
];

function answerOf(blocks: readonly Block[], index: number): Block | null {
  const next = blocks[index + 1];
  return next?.mark === "answer" ? next : null;
}

function localised(block: Block): Block {
  return { ...block, text: block.text.replaceAll("localhost:3000", `localhost:${port}`) };
}

/** Pages say "a moment later": what only reads is asked again until it is as shown, or for ten seconds. */
async function runUntilAsShown(block: Block, answer: Block | null): Promise<Ran> {
  const isReading = !/ -d | -X |handoff /.test(block.text);
  if (!isReading) await nothingUnderWay();
  for (const endsAt = Date.now() + 10_000; ; await sleep(100)) {
    const ran = await shell.run(localised(block).text);
    const isDone = answer === null || !isReading || differenceOf(localised(answer), ran.output) === null;
    if (isDone || Date.now() > endsAt) return ran;
  }
}

/** A reader types slower than a lead is delivered: what was begun before is finished. Retries are later than `soonMs`. */
async function nothingUnderWay(): Promise<void> {
  const soonMs = 20_000;
  const headers = { authorization: `Bearer ${readFileSync(path.join(folder, "data", "api-key"), "utf8").trim()}` };
  for (const endsAt = Date.now() + 5_000; Date.now() < endsAt; await sleep(50)) {
    const answer = await fetch(`http://127.0.0.1:${port}/v1/deliveries?state=sending`, { headers });
    const { data } = z.object({ data: z.array(z.object({ dueAt: z.coerce.date() })) }).parse(await answer.json());
    if (data.every(({ dueAt }) => dueAt.getTime() > Date.now() + soonMs)) return;
  }
}

interface Ran {
  readonly output: string;
  readonly code: number;
}

interface Shell {
  run(commands: string): Promise<Ran>;
  end(): void;
}

/** A bash that keeps its variables from block to block, with `npx handoff` as this version of the program. */
function openShell(folder: string, environment: Readonly<Record<string, string>>): Shell {
  const child = spawn("bash", ["-c", "bash --norc 2>&1 | cat"], {
    cwd: folder,
    env: { ...process.env, ...environment, NODE_OPTIONS: "" },
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  if (child.pid !== undefined) reapProcess(child.pid, "SIGTERM");
  let written = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    written += text;
  });
  const [loader, program] = ["test/helpers/typescript.mjs", "src/cli.ts"].map((file) => path.join(projectRoot, file));
  const handoff = `'${process.execPath}' --import '${loader}' '${program}' "$@"`;
  child.stdin.write(`npx() { [ "$1" = handoff ] && shift && ${handoff}; }\n`);
  let count = 0;
  return {
    async run(commands) {
      const file = path.join(folder, `block-${++count}.sh`);
      writeFileSync(file, commands);
      written = "";
      const mark = `-- end of block ${count}:`;
      child.stdin.write(`. '${file}' </dev/null; echo; echo "${mark} $?"\n`);
      const ended = new RegExp(`\\n${mark} (\\d+)\\n$`);
      for (const endsAt = Date.now() + 25_000; ; await sleep(5)) {
        const found = ended.exec(written);
        if (found !== null) return { output: written.slice(0, found.index), code: Number(found[1]) };
        if (Date.now() > endsAt) throw new Error(`It does not end:\n${written}`);
      }
    },
    end: () => child.stdin.end(),
  };
}
