import { readdirSync, readFileSync, writeFileSync } from "node:fs";

/** What processes use of the machine, as Linux tells it in /proc; null on other systems. */

const ticksPerSecond = 100;

interface Stat {
  readonly parent: number;
  readonly ownTicks: number;
  /** Of children that have ended. */
  readonly childTicks: number;
}

function readStat(pid: number | string): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the name in brackets, which may hold blanks.
    const fields = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    const field = (place: number) => fields[place - 3] ?? 0;
    return { parent: field(4), ownTicks: field(14) + field(15), childTicks: field(16) + field(17) };
  } catch {
    return null;
  }
}

function childrenOf(pid: number): Stat[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(readStat).filter((stat): stat is Stat => stat?.parent === pid);
}

/** Processor seconds that a process has used, its children (one generation) included, those that ended too. */
export function processorSeconds(pid: number): number | null {
  const own = readStat(pid);
  if (own === null) return null;
  const ticks = childrenOf(pid).reduce((sum, child) => sum + child.ownTicks, own.ownTicks + own.childTicks);
  return ticks / ticksPerSecond;
}

/** The most memory that a process has had at once since `forgetPeakMemory` or its start, in MiB. */
export function peakMemoryMib(pid: number): number | null {
  return readStatus(pid, "VmHWM");
}

function readStatus(pid: number, name: "VmHWM" | "VmRSS"): number | null {
  try {
    const kib = new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kib === undefined ? null : Math.round(Number(kib) / 1024);
  } catch {
    return null;
  }
}

/** From now on a process's peak is counted anew (proc(5), clear_refs). */
export function forgetPeakMemory(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, "5");
  } catch {
    // Not on this system: the peak is then since the start.
  }
}

/** The memory that a process has now, in MiB. */
export function memoryMib(pid: number): number | null {
  return readStatus(pid, "VmRSS");
}

export interface MachineTime {
  readonly busySeconds: number;
  readonly allSeconds: number;
}

/** What all processors of the machine did since it started; time that a hypervisor took away counts as busy. */
export function machineTime(): MachineTime | null {
  try {
    const words = readFileSync("/proc/stat", "utf8").split("\n")[0]?.split(/\s+/).slice(1, 9).map(Number) ?? [];
    const all = words.reduce((sum, ticks) => sum + ticks, 0);
    const idle = (words[3] ?? 0) + (words[4] ?? 0);
    return { busySeconds: (all - idle) / ticksPerSecond, allSeconds: all / ticksPerSecond };
  } catch {
    return null;
  }
}

/** The share of the machine, 0 to 1, that others than ours took between two looks. */
export function shareOfOthers(
  before: MachineTime | null,
  after: MachineTime | null,
  oursSeconds: number,
): number | null {
  if (before === null || after === null) return null;
  const busy = after.busySeconds - before.busySeconds;
  return Math.max(0, busy - oursSeconds) / Math.max(1e-9, after.allSeconds - before.allSeconds);
}
