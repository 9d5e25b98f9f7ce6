import type { Api } from "./api.ts";
import { sendProblem } from "./send-problem.ts";

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const;

/**
 * Answers 405 with Allow (RFC 9110, section 15.5.6) where a path is known and the method is not. Call before any route is
 * registered; gives what to call after the last one.
 */
export function refuseOtherMethods(api: Api): () => void {
  const taken = new Map<string, Set<string>>();
  api.addHook("onRoute", ({ url, method }) => {
    const known = taken.get(url) ?? new Set<string>();
    for (const one of [method].flat()) known.add(one);
    taken.set(url, known);
  });
  return () => {
    for (const [url, known] of [...taken].filter(([url]) => !url.includes("*"))) {
      const missing = methods.filter((method) => !known.has(method));
      const allow = [...known].sort().join(", ");
      api.route({
        method: missing,
        url,
        schema: { hide: true },
        onRequest: async (_request, reply) => {
          reply.header("allow", allow);
          return sendProblem(reply, "method_not_allowed", { detail: `Taken here: ${allow}.` });
        },
        handler: async () => undefined,
      });
    }
  };
}
