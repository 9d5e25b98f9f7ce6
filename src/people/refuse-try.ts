import type { FastifyReply } from "fastify";
import { sendProblem } from "../http/send-problem.ts";
import type { Proof } from "./prove-identity.ts";

/** What to answer to who could not show that it is really them. */
export function refuseProof(reply: FastifyReply, proof: Exclude<Proof, { readonly kind: "proven" }>): FastifyReply {
  return proof.kind === "wait" ? sendWait(reply, proof.seconds) : sendProblem(reply, "not_proven");
}

/** 429, with how long to wait before the next try. */
export function sendWait(reply: FastifyReply, seconds: number): FastifyReply {
  reply.header("retry-after", String(seconds));
  return sendProblem(reply, "rate_limited", { detail: `Too many wrong tries. Try again in ${seconds} s.` });
}
