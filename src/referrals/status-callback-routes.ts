import { z } from "zod";
import type { Context } from "../context.ts";
import { sha256 } from "../encrypt.ts";
import { type Api, problems } from "../http/api.ts";
import { limitRate } from "../http/limit-rate.ts";
import { sendProblem } from "../http/send-problem.ts";
import { takeStatus } from "./take-status.ts";

/** A reason of a thousand characters, however it is written, fits into this. */
const bodyLimitBytes = 16 * 1024;

/** For one referral. */
const mostPerMinute = 60;

const statusParams = z.object({ referralId: z.uuid() });

/**
 * Where organisations that got a referral tell what became of it. It has a signature and no API key: register outside of what
 * `authenticate` guards, in a scope of its own, which keeps bodies as they came.
 */
export async function statusCallbackRoutes(api: Api, context: Context): Promise<void> {
  await limitRate(api, context, mostPerMinute, ({ params }) => {
    const named = statusParams.safeParse(params);
    return sha256(named.success ? named.data.referralId.toLowerCase() : "").toString("base64url");
  });
  api.removeAllContentTypeParsers();
  api.addContentTypeParser(
    "application/json",
    { parseAs: "string", bodyLimit: bodyLimitBytes },
    async (_request: unknown, body: string) => body,
  );
  api.post(
    "/referrals/status/:referralId",
    {
      schema: {
        tags: ["Referrals"],
        summary: "For the organisation that got a referral: what became of it",
        description: "Signed with the referral's own key, as docs/referral-protocol.md describes.",
        security: [],
        params: statusParams,
        body: z.unknown().meta({ description: "a status callback of the referral protocol", type: "object" }),
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const rawBody = typeof request.body === "string" ? request.body : "";
      const { referralId } = request.params;
      const result = await takeStatus(context, { referralId, headers: request.headers, rawBody });
      switch (result.kind) {
        case "taken":
          return reply.code(204).send();
        case "unreadable":
          return sendProblem(reply, "malformed_body", { detail: "The body is no JSON." });
        case "invalid":
          return sendProblem(reply, "invalid_body", { fields: result.fields });
        case "not_signed":
          return sendProblem(reply, "not_signed");
      }
    },
  );
}
