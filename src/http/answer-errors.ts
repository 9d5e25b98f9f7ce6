import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import pg from "pg";
import type { Context } from "../context.ts";
import { isPassingTrouble } from "../db/passing-trouble.ts";
import type { Api } from "./api.ts";
import { sendProblem } from "./send-problem.ts";
import { InvalidInput } from "./validate.ts";

/** Turns everything that is thrown on the way of a request into a problem that says what to do, and nothing internal. */
export function answerErrors(api: Api, context: Context): void {
  api.setErrorHandler((error: FastifyError, request, reply) => {
    if (error instanceof InvalidInput) return refuseInput(error, reply);
    const known = refuseRequest(error, request, reply);
    return known ?? failUnexpectedly(context, error, request, reply);
  });
  api.setNotFoundHandler((request, reply) =>
    sendProblem(reply, "route_not_found", { detail: `${request.method} is not answered at this path; see /docs.` }),
  );
}

function refuseInput(error: InvalidInput, reply: FastifyReply): FastifyReply {
  const fields = error.fields;
  switch ((error as { validationContext?: string }).validationContext) {
    // An id that is not even one is the id of nothing.
    case "params":
      return sendProblem(reply, "not_found");
    case "querystring":
    case "headers":
      return sendProblem(reply, "invalid_query", { fields });
    default:
      return sendProblem(reply, "invalid_body", { fields });
  }
}

/** What Fastify itself refuses before a handler runs. */
function refuseRequest(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply | null {
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return sendProblem(reply, "body_too_large", {
        detail: `At most ${request.routeOptions.bodyLimit} bytes are taken here.`,
      });
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return sendProblem(reply, "unsupported_media_type", {
        detail: "The Content-Type is missing, malformed, or none that is taken here; application/json always is.",
      });
    case "FST_ERR_CTP_EMPTY_JSON_BODY":
      return sendProblem(reply, "malformed_body", { detail: "The body is empty although its type is given as JSON." });
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return sendProblem(reply, "malformed_body", { detail: "The body is not as long as Content-Length says." });
  }
  if (error instanceof RateExceeded) {
    return sendProblem(reply, "rate_limited", { detail: `Try again in ${error.retryAfterSeconds} s.` });
  }
  if (error instanceof Overloaded) {
    reply.header("retry-after", String(retryAfterSeconds));
    return sendProblem(reply, "unavailable", { detail: error.message });
  }
  // What serves the files of the documentation, when a path leads out of them.
  if (error.statusCode === 403 || error.statusCode === 404) {
    return sendProblem(reply, "route_not_found", { detail: "Nothing is served at this path; see /docs." });
  }
  if (error.statusCode === 400) {
    return sendProblem(reply, "malformed_body", { detail: "The body is not well-formed JSON in UTF-8." });
  }
  return null;
}

/** Thrown by the rate limit, which knows no other way out of a hook. */
export class RateExceeded extends Error {
  readonly retryAfterSeconds: number;

  constructor(retryAfterSeconds: number) {
    super("Too many requests.");
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Thrown where so much waits to be done that no more is taken on; the message says what, and is shown. */
export class Overloaded extends Error {}

const retryAfterSeconds = 5;

function failUnexpectedly(context: Context, error: Error, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const requestId = request.id;
  const entry = { requestId, method: request.method, route: request.routeOptions.url, ...describe(error) };
  if (isPassingTrouble(error)) {
    context.log.warn(entry, "request.database_trouble");
    reply.header("retry-after", String(retryAfterSeconds));
    return sendProblem(reply, "unavailable", { detail: "The database could not do this now. Nothing was changed." });
  }
  context.log.error(entry, "request.failed");
  return sendProblem(reply, "internal", { detail: "The request id is in the log of the server.", requestId });
}

/** For the log. What PostgreSQL says may quote a value, which may be somebody's: only its code and place are kept. */
function describe(error: Error): object {
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  const stack = frames.slice(0, 12).join("\n");
  if (error instanceof pg.DatabaseError) {
    const { code, table, column, constraint, routine } = error;
    return { error: "PostgreSQL", sqlState: code, table, column, constraint, routine, stack };
  }
  return { error: error.name, message: error.message, stack };
}
