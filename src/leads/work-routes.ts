import type { FastifyReply } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { sendProblem } from "../http/send-problem.ts";
import { noteAnswer, noteColumns, noteSchema, presentNote, writeNote } from "./lead-notes.ts";
import { giveLead, moveLead, type PlaceResult } from "./place-lead.ts";

const tags = ["Leads"];

/** What staff do with a lead in a workflow: where it stands, whose it is, and what they note. */
export function workRoutes(api: Api, context: Context): void {
  noteRoutes(api, context);

  api.put(
    "/leads/:id/stage",
    {
      config: { permission: "leads.work" },
      schema: {
        tags,
        summary: "Put a lead into a stage of a workflow",
        description: "null takes it out of its workflow. Routing goes on as it would.",
        params: idParams,
        body: z.strictObject({ stageId: z.uuid("must be the id of a stage, or null").nullable() }),
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const { stageId } = request.body;
      return answer(reply, await moveLead(context, changeBy(context, request), request.params.id, stageId), stageId);
    },
  );

  api.put(
    "/leads/:id/owner",
    {
      config: { permission: "leads.work" },
      schema: {
        tags,
        summary: "Give a lead to a user",
        description: "null gives it to nobody.",
        params: idParams,
        body: z.strictObject({ ownerId: z.uuid("must be the id of a user, or null").nullable() }),
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const { ownerId } = request.body;
      return answer(reply, await giveLead(context, changeBy(context, request), request.params.id, ownerId), ownerId);
    },
  );
}

function answer(reply: FastifyReply, result: PlaceResult, named: string | null): FastifyReply {
  switch (result) {
    case "placed":
      return reply.code(204).send();
    case "lead_not_found":
      return sendProblem(reply, "not_found");
    case "lead_erased":
      return sendProblem(reply, "lead_erased");
    case "stage_not_found": {
      const message = `there is no stage ${named}`;
      return sendProblem(reply, "invalid_body", { fields: [{ field: "stageId", code: "unknown_stage", message }] });
    }
    case "user_not_found": {
      const message = `there is no user ${named} who is let in`;
      return sendProblem(reply, "invalid_body", { fields: [{ field: "ownerId", code: "unknown_user", message }] });
    }
  }
}

function noteRoutes(api: Api, context: Context): void {
  api.post(
    "/leads/:id/notes",
    {
      config: { permission: "leads.work" },
      schema: {
        tags,
        summary: "Write a note on a lead",
        params: idParams,
        body: noteSchema,
        response: { 201: noteAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const result = await writeNote(context, changeBy(context, request), request.params.id, request.body);
      if (result.kind === "lead_not_found") return sendProblem(reply, "not_found");
      if (result.kind === "lead_erased") return sendProblem(reply, "lead_erased");
      return reply.code(201).send(result.note);
    },
  );

  api.get(
    "/leads/:id/notes",
    {
      config: { permission: "leads.read" },
      schema: {
        tags,
        summary: "The notes on a lead, newest first",
        params: idParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(noteAnswer), ...problems },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const found = await inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const lead = await transaction.selectFrom("leads").select("id").where("id", "=", id).executeTakeFirst();
        if (lead === undefined) return null;
        const notes = transaction.selectFrom("leadNotes").select(noteColumns).where("leadId", "=", id);
        return pageRows(notes, request.query).execute();
      });
      if (found === null) return sendProblem(reply, "not_found");
      const { rows, nextCursor } = cutPage(found, request.query);
      return { data: rows.map(presentNote), nextCursor };
    },
  );
}
