import { z } from "zod";
import type { Context } from "../context.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { changeBy } from "../http/change-by.ts";
import { sendProblem } from "../http/send-problem.ts";
import { referralStatuses } from "./protocol.ts";
import { reportStatus } from "./report-status.ts";

export const statusBody = z.strictObject({
  status: z.enum(referralStatuses, "must be accepted, won or lost"),
  reason: z.string().trim().max(1000, "must be at most 1000 characters").nullable().default(null),
});

/** Tells whoever referred a lead what became of it. */
export function referralStatusRoutes(api: Api, context: Context): void {
  api.post(
    "/leads/:id/referral-status",
    {
      config: { permission: "leads.work" },
      schema: {
        tags: ["Referrals"],
        summary: "Tell whoever referred a lead here what became of it",
        description:
          "They get it as a note and a state of the deal. Refused where they do not want to hear, or may not.",
        params: idParams,
        body: statusBody,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const report = { leadId: request.params.id, ...request.body };
      const result = await reportStatus(context, changeBy(context, request), report);
      switch (result.kind) {
        case "reported":
          return reply.code(204).send();
        case "lead_not_found":
          return sendProblem(reply, "not_found");
        case "lead_erased":
          return sendProblem(reply, "lead_erased");
        case "not_wanted":
          return sendProblem(reply, "status_not_wanted", { detail: result.why });
      }
    },
  );
}
