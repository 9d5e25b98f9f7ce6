// Runs before `npm ci` has: only what Node itself brings may be imported here.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const projectRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");

const oldestNode = [20, 19];

/** Ends the process with one plain sentence: what is wrong and what to do. */
export function giveUp(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

export function requireNodeVersion() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    giveUp(
      `Handoff needs Node.js ${oldestNode.join(".")} or later, and this is ${process.versions.node}: install a newer one from https://nodejs.org.`,
    );
  }
}

/** Installs the packages that package-lock.json names unless they are there already; says what failed if it cannot. */
export async function ensureInstalled() {
  if (isInstalled()) {
    return;
  }
  const startedAt = Date.now();
  const stopProgress = showProgress("Installing packages");
  const { code, output } = await runNpm([
    "ci",
    "--include=dev",
    "--include=optional",
    "--no-audit",
    "--no-fund",
    "--no-progress",
  ]);
  stopProgress();
  if (code !== 0) {
    giveUp(
      `${output.trim()}\n\nThe packages could not be installed (npm ci ended with code ${code}; its words are above). ` +
        "Handoff needs the npm registry once, for this step; `npm config get registry` says which one is asked.",
    );
  }
  process.stdout.write(`Installed packages in ${Math.round((Date.now() - startedAt) / 1000)} s.\n`);
}

/** Compares what npm noted in node_modules with the lock file, by content: a checkout changes times for no reason. */
function isInstalled() {
  const note = path.join(projectRoot, "node_modules", ".package-lock.json");
  if (!existsSync(note)) {
    return false;
  }
  const installed = readPackages(note);
  const wanted = readPackages(path.join(projectRoot, "package-lock.json"));
  return Object.entries(wanted).every(([place, wish]) => {
    const found = installed[place];
    // Optional packages are those of other platforms, for the most part.
    return place === "" || (found ? found.version === wish.version : wish.optional || wish.peer);
  });
}

function readPackages(file) {
  return JSON.parse(readFileSync(file, "utf8")).packages;
}

/** The npm that runs us; where a script is started without npm, the one in PATH. */
export function npmCommand() {
  const npm = process.env.npm_execpath;
  return npm?.endsWith("js") ? [process.execPath, npm] : ["npm"];
}

function runNpm(words) {
  const [command, ...first] = npmCommand();
  const child = spawn(command, [...first, ...words], { cwd: projectRoot, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += chunk;
    });
  }
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ code: error.code, output: `npm could not be run: ${error.message}` }));
    child.once("close", (code) => resolve({ code, output }));
  });
}

/** One line that grows on a terminal, one line in a log. */
function showProgress(what) {
  if (!process.stdout.isTTY) {
    process.stdout.write(`${what} (about a minute) …\n`);
    return () => undefined;
  }
  const startedAt = Date.now();
  const draw = () =>
    process.stdout.write(`\r${what} (about a minute) … ${Math.round((Date.now() - startedAt) / 1000)} s`);
  draw();
  const timer = setInterval(draw, 1000);
  return () => {
    clearInterval(timer);
    process.stdout.write("\r\u001b[K");
  };
}
