import type { FastifyReply } from "fastify";
import { z } from "zod";
import { cleanText } from "../campaigns/read-field.ts";
import type { Context } from "../context.ts";
import { newId } from "../db/id.ts";
import { type Api, fileAnswer, problems } from "../http/api.ts";
import { limitRate } from "../http/limit-rate.ts";
import { networkOf } from "../http/limit-wrong-keys.ts";
import { sendProblem } from "../http/send-problem.ts";
import { fieldPrefix, formPage, formPolicy, messagePage, trapName } from "./form-page.ts";
import { formUrlOf } from "./public-addresses.ts";
import { findForm, takeForm } from "./take-form.ts";

/** A form with everything filled in is a few kilobytes. */
const formLimitBytes = 64 * 1024;

/** Nobody fills in more. */
const sendsPerMinute = 20;

const formParams = z.object({ token: z.string().regex(/^[\w-]{1,100}$/) });

const submittedSchema = z.looseObject({
  submission: z.uuid(),
  [trapName]: z.string().default(""),
});

const htmlAnswer = fileAnswer("a page", "text/html");

/**
 * The forms of inbounds. Their address is public; register outside of what `authenticate` guards, in a scope of its own, which
 * takes forms.
 */
export async function formRoutes(api: Api, context: Context): Promise<void> {
  await limitRate(api, context, sendsPerMinute, (request) => networkOf(request.ip));
  api.addContentTypeParser(
    "application/x-www-form-urlencoded",
    { parseAs: "string", bodyLimit: formLimitBytes },
    async (_request: unknown, body: string) =>
      Object.fromEntries([...new URLSearchParams(body)].map(([name, value]) => [name, cleanText(value)])),
  );
  showRoute(api, context);
  takeRoute(api, context);
}

function showRoute(api: Api, context: Context): void {
  api.get(
    "/forms/:token",
    {
      config: { rateLimit: false },
      schema: {
        tags: ["Referrals"],
        summary: "The form of an inbound, to be shown by other sites",
        security: [],
        params: formParams,
        response: { 200: htmlAnswer, 404: htmlAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { token } = request.params;
      const found = await findForm(context, token);
      if (found === null) return sendProblem(reply, "not_found");
      if (found === "closed") return sendClosed(reply);
      const { form, fields } = found;
      const action = formUrlOf(context.config, token);
      const html = formPage({ form, action, fields, submission: newId(), values: {}, problems: [] });
      return sendPage(reply, 200, form.sites, html);
    },
  );
}

function takeRoute(api: Api, context: Context): void {
  api.post(
    "/forms/:token",
    {
      bodyLimit: formLimitBytes,
      schema: {
        tags: ["Referrals"],
        summary: "For the form of an inbound only: what somebody filled in",
        security: [],
        consumes: ["application/x-www-form-urlencoded"],
        params: formParams,
        body: submittedSchema,
        response: { 200: htmlAnswer, 404: htmlAnswer, 422: htmlAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { token } = request.params;
      const found = await findForm(context, token);
      if (found === null) return sendProblem(reply, "not_found");
      if (found === "closed") return sendClosed(reply);
      request.organisationId = found.organisationId;
      const { form, fields } = found;
      const { submission, [trapName]: trap, ...given } = request.body;
      const values = Object.fromEntries(
        fields.map(({ key }) => {
          const value = given[`${fieldPrefix}${key}`];
          return [key, typeof value === "string" ? value : ""];
        }),
      );
      const result = trap === "" ? await takeForm(context, found, submission, values) : { kind: "taken" as const };
      if (result.kind === "refused") return sendClosed(reply);
      if (result.kind === "taken") return sendPage(reply, 200, form.sites, thanks);
      const action = formUrlOf(context.config, token);
      const html = formPage({ form, action, fields, submission, values, problems: result.problems });
      return sendPage(reply, 422, form.sites, html);
    },
  );
}

const thanks = messagePage("Thank you", "We have what you sent, and will be in touch.");

function sendClosed(reply: FastifyReply): FastifyReply {
  return sendPage(reply, 404, [], messagePage("Closed", "This form takes nothing at the moment."));
}

/** Other sites may show it, as far as the inbound says: that is what it is for. */
function sendPage(reply: FastifyReply, status: number, sites: readonly string[], html: string): FastifyReply {
  reply.removeHeader("x-frame-options");
  return reply
    .code(status)
    .header("content-security-policy", formPolicy(sites))
    .header("cross-origin-resource-policy", "cross-origin")
    .header("cache-control", "no-store")
    .type("text/html; charset=utf-8")
    .send(html);
}
