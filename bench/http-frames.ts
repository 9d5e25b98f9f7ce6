const headEnd = Buffer.from("\r\n\r\n");

/** One whole HTTP message: its first line, its headers as text, its body. */
export interface Frame {
  readonly firstLine: string;
  readonly head: string;
  readonly body: Buffer;
}

/**
 * Cuts a stream of bytes into HTTP/1.1 messages with a Content-Length. No more HTTP than the bench's own programs speak:
 * a whole client or server would take processor time away from what is measured.
 */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Takes the next bytes, gives the messages that they complete. */
  push(chunk: Buffer): Frame[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Frame[] = [];
    for (;;) {
      const end = this.#rest.indexOf(headEnd);
      if (end < 0) return frames;
      const head = this.#rest.toString("latin1", 0, end);
      const bodyStart = end + headEnd.length;
      const bodyEnd = bodyStart + Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      if (this.#rest.length < bodyEnd) return frames;
      const firstLine = head.slice(0, head.includes("\r\n") ? head.indexOf("\r\n") : undefined);
      frames.push({ firstLine, head, body: this.#rest.subarray(bodyStart, bodyEnd) });
      this.#rest = this.#rest.subarray(bodyEnd);
    }
  }
}

/** A clock that all processes of a machine share, in milliseconds. */
export function machineTimeMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
