import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "@jest/globals";
import { parse } from "@swc/core";
import { channels } from "../src/channels/registry.ts";
import { projectRoot } from "../src/project-root.ts";

/** What keeps the tree in shape: where things live, who imports whom, how long they are, and what must not be in it. */

const ignored = new Set([".git", "node_modules", "dist", "data", "coverage"]);

function filesUnder(folder: string): string[] {
  return readdirSync(path.join(projectRoot, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = path.posix.join(folder, entry.name);
    if (ignored.has(entry.name) || entry.name.endsWith(".log")) return [];
    return entry.isDirectory() ? filesUnder(file) : [file];
  });
}

const read = (file: string): string => readFileSync(path.join(projectRoot, file), "utf8");
const everything = filesUnder(".");
const code = everything.filter((file) => /^(src|queues|workers|demo|bench|scripts)\/.*\.(ts|mjs)$/.test(file));

interface Import {
  readonly from: string;
  readonly to: string;
  /** It binds nothing at run time, but says as much about who knows whom. */
  readonly isTypeOnly: boolean;
}

const importPattern = /^\s*(?:import|export)\s(?:([^"';]*?)\sfrom\s)?"(\.[^"]+)"/gm;

function importsOf(from: string): Import[] {
  return [...read(from).matchAll(importPattern)].map(([, what = "", to = ""]) => {
    const names =
      /^\{(.*)\}$/s
        .exec(what.trim())?.[1]
        ?.split(",")
        .map((name) => name.trim())
        .filter(Boolean) ?? [];
    const isTypeOnly = /^type\s/.test(what) || (names.length > 0 && names.every((name) => name.startsWith("type ")));
    return { from, to: path.posix.join(path.posix.dirname(from), to), isTypeOnly };
  });
}

const targetsOf = (file: string): string[] => importsOf(file).map(({ to }) => to);
const imports = code.flatMap(importsOf);

/** As `from → to` lines, so that a failure names the culprits. */
const importsWhere = (holds: (from: string, to: string) => boolean): string[] =>
  imports.filter(({ from, to }) => holds(from, to)).map(({ from, to }) => `${from} → ${to}`);
const isIn = (file: string, ...folders: string[]): boolean => folders.some((folder) => file.startsWith(`${folder}/`));

describe("imports run one way", () => {
  test("queues import nothing of ours", () => {
    expect(importsWhere((from, to) => isIn(from, "queues") && !isIn(to, "queues"))).toEqual([]);
  });

  test("workers import src and queues; nobody imports workers but what starts the processes", () => {
    expect(importsWhere((from, to) => isIn(from, "workers") && !isIn(to, "workers", "src", "queues"))).toEqual([]);
    const starters = ["src/cli.ts", "src/start.ts"];
    const importers = importsWhere((from, to) => isIn(to, "workers") && !isIn(from, "workers"));
    expect(
      importers.filter((line) => !starters.some((file) => line.startsWith(`${file} → workers/start-workers.ts`))),
    ).toEqual([]);
    expect(importsWhere((_, to) => starters.includes(to))).toEqual([]);
    // Where it is asked for: a worker loads neither the API nor the demo.
    expect(read("src/cli.ts")).toContain('await import("./start.ts")');
  });

  test("the product imports no tests, demo, bench or scripts", () => {
    const isProduct = (file: string) => isIn(file, "src", "queues", "workers");
    const outside = importsWhere((from, to) => isProduct(from) && !isProduct(to));
    // The one command that starts everything starts the demo too.
    expect(outside.filter((line) => !/^src\/start\.ts → demo\//.test(line))).toEqual([]);
  });

  test("channels know no database, no queue and no ledger, nor anything else of ours", () => {
    const outside = importsWhere((from, to) => isIn(from, "src/channels") && !isIn(to, "src/channels"));
    const known = ["src/project-root.ts", "src/money.ts"];
    expect(outside.filter((line) => !known.some((file) => line.endsWith(`→ ${file}`)))).toEqual([]);
  });

  test("what checks the product in the chaos trial shares no code with it", () => {
    const known = new Set(["bench/chaos/checker.ts"]);
    for (const file of known) for (const target of targetsOf(file)) known.add(target);
    expect([...known].filter((file) => !isIn(file, "bench/chaos"))).toEqual([]);
  });

  // A folder never imports one to its right.
  test.each([
    ["partners", ["routing", "leads"]],
    ["ledger", ["routing", "delivery", "leads"]],
    ["campaigns", ["routing", "delivery", "leads", "ledger"]],
    ["routing", ["delivery", "leads", "alerts", "http"]],
    ["delivery", ["leads"]],
    ["alerts", ["routing", "delivery", "leads"]],
    ["organisations", ["partners", "campaigns", "routing", "delivery", "leads"]],
  ])("src/%s imports none of %j", (folder, forbidden) => {
    const from = `src/${folder}`;
    expect(importsWhere((file, to) => isIn(file, from) && isIn(to, ...forbidden.map((name) => `src/${name}`)))).toEqual(
      [],
    );
  });

  test("no file imports itself by way of others, types aside", () => {
    const values = (file: string) => importsOf(file).flatMap(({ to, isTypeOnly }) => (isTypeOnly ? [] : [to]));
    const graph = new Map(code.map((file) => [file, values(file)]));
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, way: readonly string[]): void => {
      const start = way.indexOf(file);
      if (start >= 0) circles.push([...way.slice(start), file].join(" → "));
      if (start >= 0 || done.has(file)) return;
      for (const next of graph.get(file) ?? []) visit(next, [...way, file]);
      done.add(file);
    };
    for (const file of code) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe("jobs", () => {
  const jobs = code.filter((file) => isIn(file, "queues") && /^export const \w+: JobDefinition</m.test(read(file)));

  test.each(jobs)("%s has its twin among the workers, which is started", async (file) => {
    const name = path.basename(file, ".ts");
    const twin = `workers/${name}.ts`;
    expect(read(file)).toContain(`name: "${name}"`);
    expect(code).toContain(twin);
    expect(targetsOf(twin)).toContain(file);
    expect(targetsOf("workers/start-workers.ts")).toContain(twin);
    expect(read(twin).split("\n").length).toBeLessThanOrEqual(30);
  });

  test("there is no worker without a job", () => {
    const helpers = ["workers/define-worker.ts", "workers/start-workers.ts"];
    const twins = code.filter((file) => isIn(file, "workers") && !helpers.includes(file));
    expect(twins.map((file) => path.basename(file))).toEqual(jobs.map((file) => path.basename(file)));
  });
});

/** What is longer than it should be, and how long it may be. These lists only shrink. */
const longFiles: Readonly<Record<string, number>> = {
  "src/db/embedded-postgres-installation.ts": 402,
};
const longFunctions: Readonly<Record<string, number>> = {
  "src/campaigns/campaign-routes.ts campaignRoutes": 103,
  "src/campaigns/intake-key-routes.ts intakeKeyRoutes": 98,
  "src/channels/wsdl-thread.ts readWsdlInThread": 162,
  "src/leads/lead-routes.ts leadRoutes": 64,
  "src/ledger/ledger-routes.ts ledgerRoutes": 93,
  "src/partners/partner-routes.ts partnerRoutes": 107,
};
const fileLines = 400;
const functionLines = 60;

describe("things stay small", () => {
  // The trials of chaos and hostility are lists of cases for the most part.
  const kept = code.filter(
    (file) => isIn(file, "src", "queues", "workers", "demo", "bench") && !isIn(file, "bench/chaos", "bench/hostile"),
  );

  /** Those over the limit that are not listed or have grown, and those listed that are not over it any more. */
  function offences(
    lengths: readonly (readonly [name: string, lines: number])[],
    limit: number,
    listed: Readonly<Record<string, number>>,
  ) {
    const long = lengths.filter(([, lines]) => lines > limit);
    const grown = long.filter(([name, lines]) => lines > (listed[name] ?? limit));
    const stale = Object.keys(listed).filter((name) => !long.some(([other]) => other === name));
    return [
      ...grown.map(([name, lines]) => `${name}: ${lines} lines`),
      ...stale.map((name) => `${name}: take it off the list`),
    ];
  }

  test(`no file is over ${fileLines} lines`, () => {
    const lengths = kept.map((file) => [file, read(file).split("\n").length - 1] as const);
    expect(offences(lengths, fileLines, longFiles)).toEqual([]);
  });

  test(`no function is over ${functionLines} lines`, async () => {
    const found = await Promise.all(
      kept.map(async (file) => (await functionsOf(file)).map(({ name, lines }) => [`${file} ${name}`, lines] as const)),
    );
    expect(offences(found.flat(), functionLines, longFunctions)).toEqual([]);
  });
});

interface FoundFunction {
  readonly name: string;
  readonly lines: number;
}

const functionTypes = new Set([
  "FunctionDeclaration",
  "FunctionExpression",
  "ArrowFunctionExpression",
  "ClassMethod",
  "PrivateMethod",
  "MethodProperty",
]);

async function functionsOf(file: string): Promise<FoundFunction[]> {
  const bytes = readFileSync(path.join(projectRoot, file));
  const tree: unknown = await parse(bytes.toString("utf8"), { syntax: "typescript" });
  const found: FoundFunction[] = [];
  const visit = (node: unknown, name: string): void => {
    if (typeof node !== "object" || node === null) return;
    if (Array.isArray(node)) {
      for (const child of node) visit(child, name);
      return;
    }
    const fields = new Map(Object.entries(node));
    const type = String(fields.get("type"));
    const own = nameOf(fields) ?? name;
    if (functionTypes.has(type))
      found.push({ name: own, lines: linesOf(bytes, fields.get("span") ?? fields.get("function")) });
    for (const [key, child] of fields) if (key !== "span") visit(child, own);
  };
  visit(tree, "(anonymous)");
  return found;
}

/** The name that a declaration, method or variable bears. */
function nameOf(fields: ReadonlyMap<string, unknown>): string | null {
  for (const key of ["identifier", "key", "id"]) {
    const value = fields.get(key);
    if (typeof value === "object" && value !== null && "value" in value && typeof value.value === "string")
      return value.value;
  }
  return null;
}

/** Spans count bytes from 1. */
function linesOf(bytes: Buffer, span: unknown): number {
  if (typeof span !== "object" || span === null || !("start" in span) || !("end" in span)) return 0;
  return bytes
    .subarray(Number(span.start) - 1, Number(span.end) - 1)
    .toString("utf8")
    .split("\n").length;
}

describe("names and words", () => {
  test("files are named in kebab-case", () => {
    const odd = everything
      .filter((file) => /^(src|queues|workers|demo|bench|scripts|test|samples|templates)\//.test(file))
      .filter((file) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9-]+)*$/.test(path.posix.basename(file)));
    expect(odd).toEqual([]);
  });

  // Put together here, so that this file does not hold them.
  const forbidden = [
    ["a path of somebody's machine", new RegExp(["/wo", "rk/|/ro", "ot/"].join(""))],
    [
      "how it came to be built",
      new RegExp(
        ["\\b(issues? (show|#?\\d)|DES", "IGN\\.md|(this|next|previous|earlier) ses", "sion|hel", "per agent)"].join(
          "",
        ),
        "i",
      ),
    ],
  ] as const;

  test.each(forbidden)("nothing in the tree names %s", (_, pattern) => {
    const texts = everything.filter((file) => !/\.(png|ico|woff2?)$/.test(file) && file !== "package-lock.json");
    const hits = texts.flatMap((file) =>
      read(file)
        .split("\n")
        .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim().slice(0, 120)}`] : [])),
    );
    expect(hits).toEqual([]);
  });

  test("the lock file names no registry", () => {
    expect(read("package-lock.json").match(/https?:\/\/[^"]*\.tgz/)).toBeNull();
    expect(read("package-lock.json")).not.toContain('"resolved"');
  });

  test("every channel is in the page about delivery methods", () => {
    const page = "docs/delivery-methods.md";
    if (!existsSync(path.join(projectRoot, page))) return;
    const text = read(page);
    for (const { name } of Object.values(channels)) expect([name, text.includes(`\`${name}\``)]).toEqual([name, true]);
  });
});
