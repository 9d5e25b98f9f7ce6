import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import type { Database } from "../db/database.ts";
import { type Api, instantSchema, problems } from "../http/api.ts";
import { partnerCallerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { endPause, isPaused, pausePartner } from "../partners/own-pause.ts";
import { ownPauseAnswer, presentUsage, usageAnswer } from "../partners/present-partner.ts";
import { accessSchema } from "../people/permissions.ts";
import { changesInWords } from "./changes-in-words.ts";
import { ownSettingsPatch, ownSettingsSchema } from "./own-settings.ts";
import { readForPartner } from "./portal-call.ts";
import { settingsChangeShape } from "./settings-change-routes.ts";
import { changeOwnSettings } from "./settings-changes.ts";

const tags = ["Partner portal"];

const ownChangeAnswer = z.object(settingsChangeShape).meta({ id: "OwnSettingsChange" });

const settingsAnswer = z
  .object({
    ...ownSettingsSchema.shape,
    timeZone: z.string().meta({ description: "of the limits' days and the opening hours" }),
    usage: usageAnswer,
    mayChange: accessSchema.shape.mayChangeSettings.unwrap(),
    pending: ownChangeAnswer.nullable().meta({ description: "the change that waits to be approved" }),
  })
  .meta({ id: "OwnSettings" });

/** A partner's own limits, opening hours and pause, for its own people. */
export function ownSettingsRoutes(api: Api, context: Context): void {
  readRoutes(api, context);
  changeRoute(api, context);
  pauseRoutes(api, context);
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/portal/settings",
    {
      config: { permission: "portal.settings.read" },
      schema: {
        tags,
        summary: "Your limits and opening hours, and what is used of the limits",
        response: { 200: settingsAnswer, ...problems },
      },
    },
    async (request) => readSettings(context, request),
  );

  api.get(
    "/portal/settings/changes",
    {
      config: { permission: "portal.settings.read" },
      schema: {
        tags,
        summary: "Changes that you asked for, newest first",
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(ownChangeAnswer), ...problems },
      },
    },
    async (request) => {
      const found = await readForPartner(context, request, async (transaction, partnerId) =>
        pageRows(selectOwnChanges(transaction).where("partnerId", "=", partnerId), request.query).execute(),
      );
      const { rows, nextCursor } = cutPage(found, request.query);
      return { data: rows.map(presentOwnChange), nextCursor };
    },
  );
}

function changeRoute(api: Api, context: Context): void {
  api.patch(
    "/portal/settings",
    {
      config: { permission: "portal.settings.change" },
      schema: {
        tags,
        summary: "Change your limits and opening hours, or ask for it",
        description:
          "Each of the two replaces what was there as a whole. Where changes are to be approved, this asks for one, in place of any that waits.",
        body: ownSettingsPatch,
        response: {
          200: z.object({ outcome: z.enum(["changed", "waiting", "unchanged"]), settings: settingsAnswer }),
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const result = await changeOwnSettings(context, partnerCallerOf(request), request.body);
      if (result.kind === "not_allowed") return sendProblem(reply, "not_allowed");
      if (result.kind === "invalid") return sendProblem(reply, "invalid_body", { fields: result.fields });
      return { outcome: result.kind, settings: await readSettings(context, request) };
    },
  );
}

const pauseAnswer = z.object({ pause: ownPauseAnswer.nullable() });

function pauseRoutes(api: Api, context: Context): void {
  api.post(
    "/portal/pause",
    {
      config: { permission: "portal.pause" },
      schema: {
        tags,
        summary: "Take no leads for a while",
        description:
          "New leads pass you by, or wait for you, as was agreed for when you are closed. What you were given before still comes.",
        body: z.strictObject({
          until: instantSchema.nullable().default(null).meta({ description: "null: until you resume" }),
          reason: z.string().trim().min(1).max(500).nullable().default(null),
        }),
        response: { 200: pauseAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const { until: given, reason } = request.body;
      const until = given === null ? null : new Date(given);
      if (until !== null && until <= change.at) {
        const field = { field: "until", code: "invalid", message: `must lie ahead (was ${given})` };
        return sendProblem(reply, "invalid_body", { fields: [field] });
      }
      await pausePartner(context, change, partnerCallerOf(request).partnerId, { until, reason });
      return readPause(context, request);
    },
  );

  api.post(
    "/portal/resume",
    {
      config: { permission: "portal.pause" },
      schema: { tags, summary: "Take leads again", response: { 200: pauseAnswer, ...problems } },
    },
    async (request) => {
      await endPause(context, changeBy(context, request), partnerCallerOf(request).partnerId);
      return readPause(context, request);
    },
  );
}

async function readPause(context: Context, request: FastifyRequest): Promise<z.infer<typeof pauseAnswer>> {
  const { ownPause } = await readForPartner(context, request, async (transaction, partnerId) =>
    transaction.selectFrom("partners").select("ownPause").where("id", "=", partnerId).executeTakeFirstOrThrow(),
  );
  return { pause: isPaused(ownPause, context.clock()) ? ownPause : null };
}

async function readSettings(context: Context, request: FastifyRequest): Promise<z.infer<typeof settingsAnswer>> {
  const { userId } = partnerCallerOf(request);
  return readForPartner(context, request, async (transaction, partnerId) => {
    const [partner, usage, user, pending] = await Promise.all([
      transaction
        .selectFrom("partners")
        .select(["limits", "schedule", "timeZone"])
        .where("id", "=", partnerId)
        .executeTakeFirstOrThrow(),
      transaction
        .selectFrom("limitUsage")
        .selectAll()
        .where("partnerId", "=", partnerId)
        .where("campaignId", "is", null)
        .executeTakeFirstOrThrow(),
      transaction.selectFrom("users").select("access").where("id", "=", userId).executeTakeFirstOrThrow(),
      selectOwnChanges(transaction)
        .where("partnerId", "=", partnerId)
        .where("state", "=", "pending")
        .executeTakeFirst(),
    ]);
    return {
      ...partner,
      usage: presentUsage(usage, partner.limits, partner.timeZone, context.clock()),
      mayChange: accessSchema.parse(user.access).mayChangeSettings,
      pending: pending === undefined ? null : presentOwnChange(pending),
    };
  });
}

function selectOwnChanges(transaction: Database) {
  return transaction
    .selectFrom("settingsChanges")
    .select(["id", "state", "patch", "before", "askedAt", "askedBy", "decidedAt", "note"]);
}

type OwnChangeRow = Awaited<ReturnType<ReturnType<typeof selectOwnChanges>["execute"]>>[number];

function presentOwnChange({ askedAt, decidedAt, ...row }: OwnChangeRow): z.infer<typeof ownChangeAnswer> {
  return {
    ...row,
    changes: changesInWords(row.before, row.patch),
    askedAt: askedAt.toISOString(),
    decidedAt: decidedAt?.toISOString() ?? null,
  };
}
