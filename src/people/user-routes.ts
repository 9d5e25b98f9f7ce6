import { z } from "zod";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { pageQuery, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { changeUser, type Manager, roleOf, roleSchema, userPatchSchema, whyNot } from "./change-user.ts";
import { inviteUser, makeInvitation, personSchema } from "./invite-user.ts";
import { stopTotp } from "./own-totp.ts";
import type { Role } from "./permissions.ts";
import { presentSession, sessionAnswer } from "./session-answer.ts";
import { endSessions, listSessions } from "./sessions.ts";
import { endUserTokens } from "./user-tokens.ts";
import { listUsers, readUser, userAnswer } from "./users.ts";

const tags = ["People"];

/** An organisation's own users, as those see and manage them who may. Register where `authenticate` guards. */
export function userRoutes(api: Api, context: Context): void {
  readRoutes(api, context);
  inviteRoute(api, context);
  changeRoute(api, context);
  invitationRoutes(api, context);
  sessionRoutesOfOthers(api, context);
  totpRouteOfOthers(api, context);
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/users",
    {
      config: { permission: "people.read" },
      schema: {
        tags,
        summary: "Your organisation's users",
        querystring: z.strictObject({ ...pageQuery, role: roleSchema.optional() }),
        response: { 200: pageSchema(userAnswer), ...problems },
      },
    },
    async (request) =>
      inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        listUsers(transaction, request.query),
      ),
  );

  api.get(
    "/users/:id",
    {
      config: { permission: "people.read" },
      schema: { tags, summary: "A user", params: idParams, response: { 200: userAnswer, ...problems } },
    },
    async (request, reply) => {
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) =>
        readUser(transaction, request.params.id),
      );
      return found ?? sendProblem(reply, "not_found");
    },
  );
}

function inviteRoute(api: Api, context: Context): void {
  api.post(
    "/users",
    {
      config: { permission: "people.manage" },
      schema: {
        tags,
        summary: "Invite a user by email",
        description:
          "The mail has a link, good for seven days and once, to set a password. Only an owner makes an owner.",
        body: personSchema.extend({ role: roleSchema }),
        response: { 201: userAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const why = await inOrganisation(context.database, change.organisationId, async (transaction) =>
        whyNotRoles(transaction, callerOf(request), [request.body.role]),
      );
      if (why !== null) return sendProblem(reply, "not_allowed", { detail: why });
      const made = await inviteUser(context, change, request.body);
      if (made.kind === "email_taken") return sendProblem(reply, "email_taken");
      if (made.kind === "password_refused") throw new Error("A user without a password had it refused.");
      const user = await inOrganisation(context.database, change.organisationId, async (transaction) =>
        readUser(transaction, made.id),
      );
      if (user === null) throw new Error("A user that was made just now is not there.");
      return reply.code(201).send(user);
    },
  );
}

async function whyNotRoles(transaction: Database, manager: Manager, wanted: readonly Role[]): Promise<string | null> {
  return whyNot(manager, await roleOf(transaction, manager.userId), wanted);
}

function changeRoute(api: Api, context: Context): void {
  api.patch(
    "/users/:id",
    {
      config: { permission: "people.manage" },
      schema: {
        tags,
        summary: "Change or disable a user",
        description:
          "Another role signs the user out, and so does disabling. Only an owner changes owners; the last one stays.",
        params: idParams,
        body: userPatchSchema,
        response: { 200: userAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { id } = request.params;
      const [result, user] = await inOrganisation(context.database, change.organisationId, async (transaction) => {
        const changed = await changeUser(transaction, change, callerOf(request), id, request.body);
        return [changed, await readUser(transaction, id)] as const;
      });
      if (result.kind === "not_allowed") return sendProblem(reply, "not_allowed", { detail: result.why });
      if (result.kind === "last_owner") return sendProblem(reply, "last_owner", { detail: "Make another one first." });
      return user ?? sendProblem(reply, "not_found");
    },
  );
}

/** One of the organisation's users, locked, if the caller may manage them; else what to answer. */
async function manageable(transaction: Database, manager: Manager, id: string) {
  const user = await transaction
    .selectFrom("users")
    .select(["id", "email", "name", "role", "passwordHash", "disabledAt"])
    .where("id", "=", id)
    .where("partnerId", "is", null)
    .forNoKeyUpdate()
    .executeTakeFirst();
  if (user === undefined || user.role === null) return { kind: "not_found" } as const;
  const why = await whyNotRoles(transaction, manager, [user.role]);
  return why === null ? ({ kind: "may", user } as const) : ({ kind: "not_allowed", why } as const);
}

function invitationRoutes(api: Api, context: Context): void {
  api.post(
    "/users/:id/invitation",
    {
      config: { permission: "people.manage" },
      schema: {
        tags,
        summary: "Send the invitation again",
        description: "With another link: the one before is none any more. Only for who has no password yet.",
        params: idParams,
        response: { 202: z.object({ invitedUntil: instantSchema }), ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await inOrganisation(context.database, change.organisationId, async (transaction) => {
        const found = await manageable(transaction, callerOf(request), request.params.id);
        if (found.kind !== "may") return found;
        if (found.user.passwordHash !== null || found.user.disabledAt !== null) return { kind: "user_state" } as const;
        const { expiresAt } = await makeInvitation(context, transaction, change, found.user, true);
        return { kind: "invited", expiresAt } as const;
      });
      if (result.kind === "not_allowed") return sendProblem(reply, "not_allowed", { detail: result.why });
      if (result.kind !== "invited") return sendProblem(reply, result.kind);
      context.waker.wake(sendAlerts, { organisationId: change.organisationId });
      return reply.code(202).send({ invitedUntil: result.expiresAt.toISOString() });
    },
  );

  api.delete(
    "/users/:id/invitation",
    {
      config: { permission: "people.manage" },
      schema: {
        tags,
        summary: "Take an invitation back",
        description: "Its link is none any more, until another is sent. The user stays, without a password.",
        params: idParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await inOrganisation(context.database, change.organisationId, async (transaction) => {
        const found = await manageable(transaction, callerOf(request), request.params.id);
        if (found.kind === "may") await endUserTokens(transaction, found.user.id, change.at);
        return found;
      });
      if (result.kind === "not_allowed") return sendProblem(reply, "not_allowed", { detail: result.why });
      if (result.kind === "not_found") return sendProblem(reply, "not_found");
      return reply.code(204).send();
    },
  );
}

function sessionRoutesOfOthers(api: Api, context: Context): void {
  api.get(
    "/users/:id/sessions",
    {
      config: { permission: "people.manage" },
      schema: {
        tags,
        summary: "Where a user is signed in",
        params: idParams,
        response: { 200: z.object({ data: z.array(sessionAnswer) }), ...problems },
      },
    },
    async (request, reply) => {
      const { organisationId, sessionId } = callerOf(request);
      const sessions = await inOrganisation(context.database, organisationId, async (transaction) => {
        const user = await readUser(transaction, request.params.id);
        return user === null ? null : listSessions(context, transaction, user.id);
      });
      if (sessions === null) return sendProblem(reply, "not_found");
      return { data: sessions.map((session) => presentSession(session, sessionId)) };
    },
  );

  api.delete(
    "/users/:id/sessions",
    {
      config: { permission: "people.manage" },
      schema: {
        tags,
        summary: "Sign a user out everywhere",
        params: idParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await inOrganisation(context.database, change.organisationId, async (transaction) => {
        const found = await manageable(transaction, callerOf(request), request.params.id);
        if (found.kind === "may") await endSessions(transaction, found.user.id, change.at);
        return found;
      });
      if (result.kind === "not_allowed") return sendProblem(reply, "not_allowed", { detail: result.why });
      if (result.kind === "not_found") return sendProblem(reply, "not_found");
      return reply.code(204).send();
    },
  );
}

function totpRouteOfOthers(api: Api, context: Context): void {
  api.delete(
    "/users/:id/totp",
    {
      config: { permission: "people.manage" },
      schema: {
        tags,
        summary: "Switch a user's authenticator app off",
        description: "For who has lost it and the recovery codes too. The user is signed out everywhere.",
        params: idParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await inOrganisation(context.database, change.organisationId, async (transaction) => {
        const { id } = request.params;
        // Else who sits at an open browser would need neither password nor code.
        if (id === callerOf(request).userId)
          return { kind: "not_allowed", why: "Your own takes your password." } as const;
        const found = await manageable(transaction, callerOf(request), id);
        if (found.kind !== "may") return found;
        if (await stopTotp(transaction, change, found.user.id))
          await endSessions(transaction, found.user.id, change.at);
        return found;
      });
      if (result.kind === "not_allowed") return sendProblem(reply, "not_allowed", { detail: result.why });
      if (result.kind === "not_found") return sendProblem(reply, "not_found");
      return reply.code(204).send();
    },
  );
}
