/**
 * What a fault counts as. A crash: a process ended, stopped answering, or an attack never came to an end. A leak: somebody
 * got to see, or could find, what is not theirs. Accepted bad: what should have been refused was not, or was refused without
 * saying why.
 */
export type FaultKind = "crash" | "leak" | "accepted_bad" | "server_error";

/**
 * What keeps anything busy for longer than this is a fault. What the attacks are after takes minutes; a machine with other
 * things to do must not look like one that is under attack.
 */
export const tooLongMs = 10_000;

/** What everything fails with has been said by then. */
const mostPrinted = 100;

export interface Fault {
  readonly kind: FaultKind;
  readonly attack: string;
  readonly what: string;
}

export type Report = (kind: FaultKind, what: string) => void;

/** Counts what was tried and what came of it. */
export class TrialRecord {
  readonly faults: Fault[] = [];
  /** Worth reading, and no fault. */
  readonly notes: string[] = [];
  /** Told which case begins. */
  onCase: (name: string) => void = () => undefined;
  readonly #casesOf = new Map<string, number>();
  #section = "";
  readonly #print: (line: string) => void;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  get cases(): number {
    return [...this.#casesOf.values()].reduce((sum, count) => sum + count, 0);
  }

  count(kind: FaultKind): number {
    return this.faults.filter((fault) => fault.kind === kind).length;
  }

  sections(): ReadonlyMap<string, number> {
    return this.#casesOf;
  }

  note(text: string): void {
    this.notes.push(text);
  }

  /** Runs a group of attacks and says how long it took. */
  async section(name: string, work: () => Promise<void>): Promise<void> {
    this.#section = name;
    const startedMs = performance.now();
    await this.case("the whole section", work, false);
    const faults = this.faults.filter(({ attack }) => attack.startsWith(`${name}: `)).length;
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    this.#print(`  ${name}: ${this.#casesOf.get(name) ?? 0} cases, ${faults} faults, ${seconds} s`);
  }

  /** One attack. What it throws is a fault too: the installation did not answer. */
  async case(name: string, attack: (report: Report) => Promise<void>, counts = true): Promise<void> {
    const section = this.#section;
    if (counts) this.#casesOf.set(section, (this.#casesOf.get(section) ?? 0) + 1);
    const report: Report = (kind, what) => {
      const fault = { kind, attack: `${section}: ${name}`, what: what.slice(0, 600) };
      this.faults.push(fault);
      if (this.faults.length === mostPrinted) this.#print("    … and more, which are counted");
      if (this.faults.length >= mostPrinted) return;
      this.#print(`    ${kind.toUpperCase()} ${fault.attack}: ${fault.what}`);
    };
    this.onCase(`${section}: ${name}`);
    try {
      await attack(report);
    } catch (error) {
      report(
        "crash",
        error instanceof Error ? `${error.message} ${error.stack?.split("\n")[1]?.trim() ?? ""}` : String(error),
      );
    }
  }
}
