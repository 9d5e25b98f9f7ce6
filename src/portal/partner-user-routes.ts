import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { newPasswordSchema } from "../people/password-rules.ts";
import {
  changePartnerUser,
  createPartnerUser,
  newPartnerUserSchema,
  partnerUserAnswer,
  partnerUserPatch,
  presentPartnerUser,
  resendInvitation,
  selectPartnerUsers,
  setPartnerUserPassword,
} from "./partner-users.ts";

const tags = ["Partner users"];

/** Who signs in for a partner, for staff. */
export function partnerUserRoutes(api: Api, context: Context): void {
  createRoute(api, context);
  listRoute(api, context);
  changeRoute(api, context);
  resendRoute(api, context);
  passwordRoute(api, context);
}

function createRoute(api: Api, context: Context): void {
  api.post(
    "/partners/:id/users",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "Let somebody sign in for a partner",
        description:
          "An invitation goes out by email, unless a password is given. What each access may is in docs/partner-portal.md.",
        params: idParams,
        body: newPartnerUserSchema,
        response: { 201: partnerUserAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const made = await createPartnerUser(context, change, request.params.id, request.body);
      switch (made?.kind) {
        case undefined:
          return sendProblem(reply, "not_found");
        case "email_taken":
          return sendProblem(reply, "email_taken");
        case "password_refused": {
          const field = { field: "password", code: "invalid", message: made.problem };
          return sendProblem(reply, "invalid_body", { fields: [field] });
        }
        case "made":
          return reply.code(201).send(await requirePartnerUser(context, change.organisationId, made.id));
      }
    },
  );
}

function listRoute(api: Api, context: Context): void {
  api.get(
    "/partners/:id/users",
    {
      config: { permission: "partners.read" },
      schema: {
        tags,
        summary: "Who signs in for a partner, newest first",
        params: idParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(partnerUserAnswer), ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const partner = await transaction.selectFrom("partners").select("id").where("id", "=", id).executeTakeFirst();
        if (partner === undefined) return null;
        const users = selectPartnerUsers(transaction).where("users.partnerId", "=", id);
        return cutPage(await pageRows(users, request.query).execute(), request.query);
      });
      if (found === null) return sendProblem(reply, "not_found");
      return { data: found.rows.map(presentPartnerUser), nextCursor: found.nextCursor };
    },
  );
}

function changeRoute(api: Api, context: Context): void {
  api.patch(
    "/partner-users/:id",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "Change what a partner's user may, or keep the user out",
        description: "`disabled` ends the user's sessions. The email stays: another one is another user.",
        params: idParams,
        body: partnerUserPatch,
        response: { 200: partnerUserAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const change = changeBy(context, request);
      const isFound = await changePartnerUser(context, change, id, request.body);
      return isFound ? requirePartnerUser(context, change.organisationId, id) : sendProblem(reply, "not_found");
    },
  );
}

function resendRoute(api: Api, context: Context): void {
  api.post(
    "/partner-users/:id/resend",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "Mail the invitation again",
        description: "The link of the one before is good no more.",
        params: idParams,
        response: { 200: partnerUserAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const change = changeBy(context, request);
      switch (await resendInvitation(context, change, id)) {
        case "not_found":
          return sendProblem(reply, "not_found");
        case "disabled":
          return sendProblem(reply, "user_state", { detail: "The user is disabled." });
        case "has_password":
          return sendProblem(reply, "user_state", { detail: "The user has a password already." });
        case "sent":
          return requirePartnerUser(context, change.organisationId, id);
      }
    },
  );
}

function passwordRoute(api: Api, context: Context): void {
  api.post(
    "/partner-users/:id/password",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "Set the password of a partner's user",
        description: "It ends the user's sessions, and the links that were mailed.",
        params: idParams,
        body: z.strictObject({ password: newPasswordSchema }),
        response: { 200: partnerUserAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const change = changeBy(context, request);
      const result = await setPartnerUserPassword(context, change, id, request.body.password);
      switch (result.kind) {
        case "not_found":
          return sendProblem(reply, "not_found");
        case "refused": {
          const field = { field: "password", code: "invalid", message: result.problem };
          return sendProblem(reply, "invalid_body", { fields: [field] });
        }
        case "set":
          return requirePartnerUser(context, change.organisationId, id);
      }
    },
  );
}

async function requirePartnerUser(context: Context, organisationId: string, id: string) {
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    selectPartnerUsers(transaction).where("users.id", "=", id).executeTakeFirst(),
  );
  if (row === undefined) throw new Error(`User ${id} was there a moment ago; users are never deleted.`);
  return presentPartnerUser(row);
}
