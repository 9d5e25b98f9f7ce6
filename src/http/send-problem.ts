import type { FastifyReply } from "fastify";
import { type ErrorCode, type ProblemDetails, toProblem } from "../errors.ts";

/** Answers with a refusal (RFC 9457) under the status that its code has in the table of errors. */
export function sendProblem(reply: FastifyReply, code: ErrorCode, details: ProblemDetails = {}): FastifyReply {
  const problem = toProblem(code, details);
  return reply.code(problem.status).type("application/problem+json").send(problem);
}
