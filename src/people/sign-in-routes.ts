import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import { type Api, problems } from "../http/api.ts";
import { hostCookie, readCookie } from "../http/cookies.ts";
import { sendProblem } from "../http/send-problem.ts";
import { deviceCookie, deviceCookieSeconds } from "./device.ts";
import { sessionCookie } from "./find-session.ts";
import type { Guesses } from "./guesses.ts";
import { givenPasswordSchema, newPasswordSchema } from "./password-rules.ts";
import { sendWait } from "./refuse-try.ts";
import { requestReset } from "./request-reset.ts";
import { setPasswordByToken } from "./set-password.ts";
import { signIn } from "./sign-in.ts";
import type { TokenPurpose } from "./user-tokens.ts";
import { readWhoAmI, whoAmIAnswer } from "./who-am-i.ts";

const tags = ["Signing in"];

const emailSchema = z.string().trim().min(1).max(254);
const portalCodeSchema = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .transform((code) => code.toLowerCase())
  .nullable()
  .default(null)
  .meta({ description: "the organisation's portal code; needed where the email is known in several" });

const credentialsSchema = z.strictObject({
  email: emailSchema,
  password: givenPasswordSchema,
  code: z
    .string()
    .min(1)
    .max(100)
    .nullable()
    .default(null)
    .meta({ description: "of the authenticator app, or a recovery code; needed after `code_needed`" }),
  organisation: portalCodeSchema,
});

/** How to get in. Register outside of what `authenticate` guards: none of these takes a key or a session. */
export function signInRoutes(api: Api, context: Context, guesses: Guesses): void {
  signInRoute(api, context, guesses);
  resetRequestRoute(api, context, guesses);
  const summaries = { invitation: "Accept an invitation", password_reset: "Set another password" };
  setPasswordRoute(api, context, guesses, "/invitations/accept", "invitation", summaries.invitation);
  setPasswordRoute(api, context, guesses, "/password-resets/complete", "password_reset", summaries.password_reset);
}

function signInRoute(api: Api, context: Context, guesses: Guesses): void {
  api.post(
    "/session",
    {
      schema: {
        tags,
        summary: "Sign in",
        description:
          "Sets a cookie. Whatever is wrong is answered alike: the email, the password, the code, the organisation. After " +
          "five wrong tries each has the next one wait longer, up to 15 minutes, whether there is such an account or not.",
        security: [],
        body: credentialsSchema,
        response: { 200: whoAmIAnswer, ...problems },
      },
    },
    async (request, reply) => {
      if (isFromOtherSite(request)) return sendProblem(reply, "cross_site");
      const refused = guesses.refuse(request, reply);
      if (refused !== null) return refused;
      const { email, password, code, organisation: portalCode } = request.body;
      const device = readCookie(request.headers.cookie, deviceCookie);
      const whence = { address: request.ip, browser: request.headers["user-agent"] ?? null };
      const result = await signIn(context, { email, password, code, portalCode, device, whence });
      if (result.kind === "wrong") guesses.note(request, false);
      switch (result.kind) {
        case "wait":
          return sendWait(reply, result.seconds);
        case "wrong":
          return sendProblem(reply, "sign_in_failed", { detail: "The email, the password or the code is not right." });
        case "code_needed":
          return sendProblem(reply, "code_needed");
        case "signed_in": {
          const { organisationId, userId, session } = result;
          const leftSeconds = Math.floor((session.endsAt.getTime() - context.clock().getTime()) / 1000);
          request.organisationId = organisationId;
          guesses.note(request, true, result.device);
          reply.header("set-cookie", [
            hostCookie(sessionCookie, session.token, leftSeconds),
            hostCookie(deviceCookie, result.device, deviceCookieSeconds),
          ]);
          reply.header("cache-control", "no-store");
          return readWhoAmI(context, { organisationId, userId, sessionId: session.id });
        }
      }
    },
  );
}

/** Whether the browser says that another site's page sends this: it would sign somebody in as somebody else. */
function isFromOtherSite({ headers }: FastifyRequest): boolean {
  const site = headers["sec-fetch-site"];
  return site !== undefined && site !== "same-origin" && site !== "none";
}

function resetRequestRoute(api: Api, context: Context, guesses: Guesses): void {
  const underWay = new Set<Promise<void>>();
  api.addHook("onClose", async () => {
    await Promise.all(underWay);
  });
  api.post(
    "/password-resets",
    {
      schema: {
        tags,
        summary: "Have a link mailed to set another password",
        description: "Answered alike, and before anything is looked up, whether there is such an account or not.",
        security: [],
        body: z.strictObject({ email: emailSchema, organisation: portalCodeSchema }),
        response: { 202: z.object({ status: z.literal("accepted") }), ...problems },
      },
    },
    async (request, reply) => {
      const refused = guesses.refuse(request, reply);
      if (refused !== null) return refused;
      guesses.note(request, false);
      const { email, organisation } = request.body;
      const work = requestReset(context, email, organisation).catch((error: unknown) => {
        const name = error instanceof Error ? error.name : typeof error;
        context.log.warn({ error: name }, "sign_in.reset_failed");
      });
      underWay.add(work);
      void work.then(() => underWay.delete(work));
      return reply.code(202).send({ status: "accepted" });
    },
  );
}

function setPasswordRoute(
  api: Api,
  context: Context,
  guesses: Guesses,
  path: string,
  purpose: TokenPurpose,
  summary: string,
): void {
  api.post(
    path,
    {
      schema: {
        tags,
        summary,
        description:
          "With the end of the address that was mailed, which is good once. Whoever is signed in is signed out.",
        security: [],
        body: z.strictObject({ token: z.string().min(1).max(200), password: newPasswordSchema }),
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const refused = guesses.refuse(request, reply);
      if (refused !== null) return refused;
      const { token, password } = request.body;
      const result = await setPasswordByToken(context, purpose, token, password);
      if (result.kind === "token_gone") {
        guesses.note(request, false);
        return sendProblem(reply, "link_gone", { detail: "Ask for another one." });
      }
      if (result.kind === "password_refused") {
        const field = { field: "password", code: "not_allowed", message: result.problem };
        return sendProblem(reply, "invalid_body", { fields: [field] });
      }
      return reply.code(204).send();
    },
  );
}
