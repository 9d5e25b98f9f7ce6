import { connect } from "node:net";
import { FrameReader, machineTimeMs } from "./http-frames.ts";
import { leadBody } from "./lead.ts";
import { arrivedSchema, type Run, runSchema, tell } from "./messages.ts";

/** The sender of leads, in a process of its own. */

const mostConnections = 256;

/** One run: leads with their numbers, when each was due and when it was answered. */
class Generator {
  readonly #run: Run;
  readonly #startedAtMs = machineTimeMs();
  readonly #due: number[] = [];
  readonly #answered: number[] = [];
  readonly #idle: ((place: number) => void)[] = [];
  readonly #sockets: { destroy(): void }[] = [];
  #next = 0;
  #open = 0;
  #done = 0;
  #refused = 0;
  #firstRefusal: string | null = null;
  #finish: () => void = () => undefined;
  arrived = 0;

  constructor(run: Run) {
    this.#run = run;
  }

  async run(): Promise<void> {
    for (let open = 0; open < this.#run.connections; open += 1) this.#connect();
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve;
    });
    const timer = setInterval(() => this.#turn(), 1);
    this.#turn();
    await finished;
    clearInterval(timer);
    for (const socket of this.#sockets) socket.destroy();
    tell({
      kind: "ran",
      startedAtMs: this.#startedAtMs,
      due: Float64Array.from(this.#due),
      answered: Float64Array.from(this.#answered),
      refused: this.#refused,
      firstRefusal: this.#firstRefusal,
    });
  }

  /** Notes what is due by now, and sends it as far as connections are free. What waits here is late already. */
  #turn(): void {
    const { pace, durationMs } = this.#run;
    const elapsedMs = machineTimeMs() - this.#startedAtMs;
    const isOver = elapsedMs >= durationMs;
    if (pace.kind === "steady") {
      // The first is due at once. Counted from the second, each would be sent a step too late, and seem to have waited for it.
      const total = isOver
        ? Math.ceil((durationMs * pace.perSecond) / 1000)
        : 1 + Math.floor((elapsedMs * pace.perSecond) / 1000);
      while (this.#due.length < total) this.#due.push(this.#startedAtMs + (this.#due.length * 1000) / pace.perSecond);
      while (this.#due.length - this.#next > this.#idle.length && this.#open < mostConnections) this.#connect();
    } else if (!isOver) {
      const most = Math.min(this.#next + this.#idle.length, this.arrived + pace.ahead, pace.mostLeads);
      while (this.#due.length < most) this.#due.push(machineTimeMs());
    }
    while (this.#next < this.#due.length) {
      const send = this.#idle.pop();
      if (send === undefined) break;
      send(this.#next++);
    }
    const isAllSent = pace.kind === "flat out" && this.#due.length >= pace.mostLeads;
    if ((isOver || isAllSent) && this.#done === this.#due.length) this.#finish();
  }

  #connect(): void {
    this.#open += 1;
    const { port, path, from } = this.#run;
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#sockets.push(socket);
    const reader = new FrameReader();
    let underWay = 0;
    const send = (place: number) => {
      underWay = place;
      const body = leadBody(from + place);
      socket.write(
        `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
    };
    socket.on("data", (chunk) => {
      for (const frame of reader.push(chunk)) {
        this.#answered[underWay] = machineTimeMs();
        this.#done += 1;
        if (!/^HTTP\/1\.1 20[12] /.test(frame.firstLine)) this.#refuse(`${frame.firstLine} ${frame.body.toString()}`);
        this.#idle.push(send);
      }
      this.#turn();
    });
    socket.on("error", (error) => {
      this.#refuse(error.message);
      this.#answered[underWay] = Number.NaN;
      this.#done += 1;
    });
    this.#idle.push(send);
  }

  #refuse(reason: string): void {
    this.#refused += 1;
    this.#firstRefusal ??= reason.slice(0, 300);
  }
}

let current: Generator | null = null;
process.on("message", (message) => {
  const arrived = arrivedSchema.safeParse(message);
  if (arrived.success) {
    if (current !== null) current.arrived = arrived.data.count;
    return;
  }
  current = new Generator(runSchema.parse(message));
  void current.run();
});
process.on("disconnect", () => process.exit());
