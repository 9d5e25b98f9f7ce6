// Only what Node itself brings may be imported here.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { giveUp, projectRoot } from "./ensure-installed.mjs";

const sources = ["src", "queues", "workers", "demo", "tsconfig.json", "tsconfig.build.json", "package-lock.json"];
const built = path.join(projectRoot, "dist");
const stamp = path.join(built, ".complete");

/** Compiles to dist/ when a source is newer, from nothing: a file that lost its source must not stay. */
export function ensureBuilt() {
  if (existsSync(stamp) && newestChangeMs() < statSync(stamp).mtimeMs) {
    return;
  }
  const startedAt = Date.now();
  rmSync(built, { recursive: true, force: true });
  const compiler = path.join(projectRoot, "node_modules", "typescript", "bin", "tsc");
  const { status } = spawnSync(process.execPath, [compiler, "--project", "tsconfig.build.json"], {
    cwd: projectRoot,
    stdio: "inherit",
  });
  if (status !== 0) {
    giveUp("Handoff could not be built; the compiler's words are above.");
  }
  // Only now: a build that was cut short is made again.
  writeFileSync(stamp, "");
  process.stdout.write(`Built in ${((Date.now() - startedAt) / 1000).toFixed(1)} s.\n`);
}

/** Folders count too: their time changes when a file is taken away. */
function newestChangeMs() {
  const changes = sources.flatMap((source) => listWithin(path.join(projectRoot, source)));
  return Math.max(...changes.map((file) => statSync(file).mtimeMs));
}

function listWithin(place) {
  if (!statSync(place).isDirectory()) {
    return [place];
  }
  const names = readdirSync(place, { withFileTypes: true });
  return [
    place,
    ...names.flatMap((entry) =>
      entry.isDirectory() || /\.ts$/.test(entry.name) ? listWithin(path.join(place, entry.name)) : [],
    ),
  ];
}
