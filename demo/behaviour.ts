import type { IncomingMessage, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** How a receiver is to misbehave with one request. With only `delayMs` the usual answer comes late. */
export interface Behaviour {
  readonly delayMs?: number | undefined;
  /** Never answers; the connection stays open until the receiver stops. */
  readonly hang?: boolean | undefined;
  /** Resets the connection before answering. */
  readonly reset?: boolean | undefined;
  /** Takes the lead as usual, then ends the connection in the middle of the answer. */
  readonly cutOff?: boolean | undefined;
  /** Answers with this instead; the lead is not taken. */
  readonly status?: number | undefined;
  readonly body?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Decides about a request by whatever it likes: its number, its content. Undefined: the usual answer. */
export type Misbehave = (request: {
  readonly url: URL;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}) => Behaviour | undefined;

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** `?status=503&retry-after=2&delay=100&hang=1&reset=1&cut-off=1&body=…` says the same in an address. */
export function behaviourFromQuery({ searchParams }: URL): Behaviour {
  const number = (name: string): number | undefined =>
    searchParams.has(name) ? Number(searchParams.get(name)) : undefined;
  const retryAfter = searchParams.get("retry-after");
  return {
    delayMs: number("delay"),
    hang: searchParams.has("hang"),
    reset: searchParams.has("reset"),
    cutOff: searchParams.has("cut-off"),
    status: number("status") ?? (retryAfter === null ? undefined : 503),
    body: searchParams.get("body") ?? undefined,
    headers: retryAfter === null ? {} : { "retry-after": retryAfter },
  };
}

/** True when the usual handling is not to happen at all. */
export function replacesAnswer({ hang, reset, status, body }: Behaviour): boolean {
  return Boolean(hang || reset || status !== undefined || body !== undefined);
}

/** Answers as `behaviour` says, otherwise with what `usual` gives. */
export async function respond(response: ServerResponse, behaviour: Behaviour, usual: () => Answer): Promise<void> {
  if (behaviour.delayMs) {
    await sleep(behaviour.delayMs, undefined, { ref: false });
  }
  if (behaviour.hang) {
    return;
  }
  if (behaviour.reset) {
    response.socket?.resetAndDestroy();
    return;
  }
  const answer = replacesAnswer(behaviour) ? replacement(behaviour) : usual();
  const body = Buffer.from(answer.body, "utf8");
  response.writeHead(answer.status, {
    "content-type": answer.contentType,
    "content-length": body.length,
    ...answer.headers,
  });
  if (behaviour.cutOff) {
    response.write(body.subarray(0, body.length >> 1), () => response.socket?.destroy());
    return;
  }
  response.end(body);
}

function replacement({ status = 200, body = "", headers = {} }: Behaviour): Answer {
  return { status, contentType: "text/plain; charset=utf-8", body, headers };
}
