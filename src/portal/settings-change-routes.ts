import { z } from "zod";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, instantSchema, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { endPause } from "../partners/own-pause.ts";
import { changesInWords } from "./changes-in-words.ts";
import { ownSettingsPatch, settingsChangeStates } from "./own-settings.ts";
import { decideSettingsChange } from "./settings-changes.ts";

const tags = ["Partner users"];

export const settingsChangeShape = {
  id: z.uuid(),
  state: z.enum(settingsChangeStates),
  patch: ownSettingsPatch.meta({ description: "what was asked for" }),
  before: ownSettingsPatch.meta({ description: "how that stood then" }),
  changes: z.array(z.string()).meta({ description: "in words" }),
  askedAt: instantSchema,
  askedBy: z.string(),
  decidedAt: instantSchema.nullable(),
  note: z.string().nullable(),
};

const settingsChangeAnswer = z
  .object({ ...settingsChangeShape, partnerId: z.uuid(), partnerName: z.string(), decidedBy: z.string().nullable() })
  .meta({ id: "SettingsChange" });

const listQuery = z.strictObject({
  ...pageQuery,
  state: z.enum(settingsChangeStates).optional(),
  partnerId: z.uuid().optional(),
});

/** What partners change of their own settings, for staff to decide and to end. */
export function settingsChangeRoutes(api: Api, context: Context): void {
  readRoutes(api, context);
  decideRoute(api, context);
  endPauseRoute(api, context);
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/settings-changes",
    {
      config: { permission: "partners.read" },
      schema: {
        tags,
        summary: "Changes of their settings that partners asked for, newest first",
        querystring: listQuery,
        response: { 200: pageSchema(settingsChangeAnswer), ...problems },
      },
    },
    async (request) => {
      const { state, partnerId, ...page } = request.query;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        let query = selectChanges(transaction);
        if (state !== undefined) query = query.where("s.state", "=", state);
        if (partnerId !== undefined) query = query.where("s.partnerId", "=", partnerId);
        if (page.cursor !== undefined) query = query.where("s.id", "<", page.cursor);
        return query
          .orderBy("s.id", "desc")
          .limit(page.limit + 1)
          .execute();
      });
      const { rows, nextCursor } = cutPage(found, page);
      return { data: rows.map(present), nextCursor };
    },
  );

  api.get(
    "/settings-changes/:id",
    {
      config: { permission: "partners.read" },
      schema: {
        tags,
        summary: "A change of its settings that a partner asked for",
        params: idParams,
        response: { 200: settingsChangeAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const found = await findChange(context, callerOf(request).organisationId, request.params.id);
      return found ?? sendProblem(reply, "not_found");
    },
  );
}

function decideRoute(api: Api, context: Context): void {
  api.post(
    "/settings-changes/:id/decide",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "Approve or reject a change that a partner asked for",
        description: "Refused where the same settings were changed since it was asked for.",
        params: idParams,
        body: z.strictObject({
          decision: z.enum(["approved", "rejected"], "must be approved or rejected"),
          note: z.string().trim().min(1).max(1000).nullable().default(null).meta({ description: "for the partner" }),
        }),
        response: { 200: settingsChangeAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { id } = request.params;
      const result = await decideSettingsChange(context, change, { id, ...request.body });
      switch (result.kind) {
        case "decided": {
          const found = await findChange(context, change.organisationId, id);
          return found ?? sendProblem(reply, "not_found");
        }
        case "not_found":
          return sendProblem(reply, "not_found");
        case "decided_before":
          return sendProblem(reply, "settings_change_decided", { detail: `It was ${result.state} by ${result.by}.` });
        case "changed_since":
          return sendProblem(reply, "settings_changed_since", { detail: `Meanwhile: ${result.what.join("; ")}.` });
        case "invalid":
          return sendProblem(reply, "invalid_body", { fields: result.fields });
      }
    },
  );
}

function endPauseRoute(api: Api, context: Context): void {
  api.post(
    "/partners/:id/end-pause",
    {
      config: { permission: "partners.change" },
      schema: {
        tags,
        summary: "End the pause that a partner began itself",
        description: "For one whose people cannot. What paused by trouble at its endpoint is ended by `resume`.",
        params: idParams,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const isFound = await endPause(context, changeBy(context, request), request.params.id);
      return isFound ? reply.code(204).send() : sendProblem(reply, "not_found");
    },
  );
}

function selectChanges(transaction: Database) {
  return transaction
    .selectFrom("settingsChanges as s")
    .innerJoin("partners as p", "p.id", "s.partnerId")
    .select([
      "s.id",
      "s.partnerId",
      "p.name as partnerName",
      "s.state",
      "s.patch",
      "s.before",
      "s.askedAt",
      "s.askedBy",
    ])
    .select(["s.decidedAt", "s.decidedBy", "s.note"]);
}

type ChangeRow = Awaited<ReturnType<ReturnType<typeof selectChanges>["execute"]>>[number];

function present({ askedAt, decidedAt, ...row }: ChangeRow): z.infer<typeof settingsChangeAnswer> {
  return {
    ...row,
    changes: changesInWords(row.before, row.patch),
    askedAt: askedAt.toISOString(),
    decidedAt: decidedAt?.toISOString() ?? null,
  };
}

async function findChange(context: Context, organisationId: string, id: string) {
  const row = await inOrganisation(context.database, organisationId, async (transaction) =>
    selectChanges(transaction).where("s.id", "=", id).executeTakeFirst(),
  );
  return row === undefined ? null : present(row);
}
