import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { hostCookie } from "../http/cookies.ts";
import { sendProblem } from "../http/send-problem.ts";
import { sessionCookie } from "./find-session.ts";
import { givenPasswordSchema, newPasswordSchema, passwordProblem } from "./password-rules.ts";
import { hashPassword } from "./passwords.ts";
import { proveIdentity } from "./prove-identity.ts";
import { refuseProof } from "./refuse-try.ts";
import { presentSession, sessionAnswer } from "./session-answer.ts";
import { endSession, endSessions, listSessions } from "./sessions.ts";
import { replacePassword } from "./set-password.ts";
import { signedInOf } from "./signed-in.ts";
import { readWhoAmI, whoAmIAnswer } from "./who-am-i.ts";

const tags = ["Signing in"];

/** What everybody who is signed in may do about themselves. Register where `authenticate` guards. */
export function sessionRoutes(api: Api, context: Context): void {
  ownSessionRoutes(api, context);
  sessionListRoutes(api, context);
  passwordRoute(api, context);
}

function ownSessionRoutes(api: Api, context: Context): void {
  api.get(
    "/session",
    {
      config: { permission: "signed_in" },
      schema: { tags, summary: "Who you are, and what you may do", response: { 200: whoAmIAnswer, ...problems } },
    },
    async (request, reply) => {
      reply.header("cache-control", "no-store");
      return readWhoAmI(context, signedInOf(request));
    },
  );

  api.delete(
    "/session",
    {
      config: { permission: "signed_in" },
      schema: { tags, summary: "Sign out", response: { 204: z.undefined(), ...problems } },
    },
    async (request, reply) => {
      const { organisationId, userId, sessionId } = signedInOf(request);
      await inOrganisation(context.database, organisationId, async (transaction) =>
        endSession(transaction, userId, sessionId, context.clock()),
      );
      reply.header("set-cookie", hostCookie(sessionCookie, "", 0));
      return reply.code(204).send();
    },
  );
}

function sessionListRoutes(api: Api, context: Context): void {
  api.get(
    "/sessions",
    {
      config: { permission: "signed_in" },
      schema: {
        tags,
        summary: "Where you are signed in",
        response: { 200: z.object({ data: z.array(sessionAnswer) }), ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, userId, sessionId } = signedInOf(request);
      const sessions = await inOrganisation(context.database, organisationId, async (transaction) =>
        listSessions(context, transaction, userId),
      );
      reply.header("cache-control", "no-store");
      return { data: sessions.map((session) => presentSession(session, sessionId)) };
    },
  );

  api.delete(
    "/sessions",
    {
      config: { permission: "signed_in" },
      schema: { tags, summary: "Sign out everywhere else", response: { 204: z.undefined(), ...problems } },
    },
    async (request, reply) => {
      const { organisationId, userId, sessionId } = signedInOf(request);
      await inOrganisation(context.database, organisationId, async (transaction) =>
        endSessions(transaction, userId, context.clock(), sessionId),
      );
      return reply.code(204).send();
    },
  );

  api.delete(
    "/sessions/:id",
    {
      config: { permission: "signed_in" },
      schema: {
        tags,
        summary: "Sign out in one place",
        params: idParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, userId } = signedInOf(request);
      const isEnded = await inOrganisation(context.database, organisationId, async (transaction) =>
        endSession(transaction, userId, request.params.id, context.clock()),
      );
      return isEnded ? reply.code(204).send() : sendProblem(reply, "not_found");
    },
  );
}

function passwordRoute(api: Api, context: Context): void {
  api.post(
    "/session/password",
    {
      config: { permission: "signed_in" },
      schema: {
        tags,
        summary: "Change your password",
        description: "Signs you out everywhere else.",
        body: z.strictObject({ password: givenPasswordSchema, newPassword: newPasswordSchema }),
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const { password, newPassword } = request.body;
      const signedIn = signedInOf(request);
      const proof = await proveIdentity(context, signedIn, { password, code: null }, false);
      if (proof.kind !== "proven") return refuseProof(reply, proof);
      const problem = passwordProblem(newPassword, proof.user);
      if (problem !== null) {
        const field = { field: "newPassword", code: "not_allowed", message: problem };
        return sendProblem(reply, "invalid_body", { fields: [field] });
      }
      const passwordHash = await hashPassword(newPassword);
      const { organisationId, userId, sessionId, actor: by } = signedIn;
      await inOrganisation(context.database, organisationId, async (transaction) =>
        replacePassword(context, transaction, { organisationId, userId, by }, passwordHash, sessionId),
      );
      return reply.code(204).send();
    },
  );
}
