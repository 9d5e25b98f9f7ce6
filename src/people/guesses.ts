import { randomBytes } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Context } from "../context.ts";
import { sha256 } from "../encrypt.ts";
import { readCookie } from "../http/cookies.ts";
import { createWrongKeyLimit } from "../http/limit-wrong-keys.ts";
import { deviceCookie } from "./device.ts";
import { sendWait } from "./refuse-try.ts";

/** How often one address may be wrong about passwords and links, whichever they are of. */
export interface Guesses {
  /** Where the address has to wait: the answer, sent. Else null. */
  refuse(request: FastifyRequest, reply: FastifyReply): FastifyReply | null;
  /** `device` is what the browser keeps from now on, where that is another. */
  note(request: FastifyRequest, isGood: boolean, device?: string): void;
}

/** As with API keys. A browser that signed in before goes on from an address where others guess. */
export function createGuesses(context: Context): Guesses {
  const limit = createWrongKeyLimit(context.config.wrongKeysPerMinute);
  return {
    refuse(request, reply) {
      const seconds = limit.secondsToWait(request.ip, browserOf(request), context.clock());
      return seconds > 0 ? sendWait(reply, seconds) : null;
    },
    note(request, isGood, device) {
      const browser = device === undefined ? browserOf(request) : sha256(device);
      limit.note(request.ip, browser, isGood, context.clock());
    },
  };
}

/** One that has not signed in before is another one each time. */
function browserOf({ headers }: FastifyRequest): Buffer {
  const device = readCookie(headers.cookie, deviceCookie);
  return device === null ? randomBytes(32) : sha256(device);
}
