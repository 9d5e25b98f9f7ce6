import { z } from "zod";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { type Api, idParams, problems } from "../http/api.ts";
import { callerOf } from "../http/authenticate.ts";
import { changeBy } from "../http/change-by.ts";
import { cutPage, pageQuery, pageRows, pageSchema } from "../http/page.ts";
import { patchSchemaOf } from "../http/patch-schema.ts";
import { sendProblem } from "../http/send-problem.ts";
import type { StageUse } from "./stages.ts";
import { changeWorkflow, createWorkflow } from "./store-workflow.ts";
import { type WorkflowAnswer, workflowAnswer, workflowSchema } from "./workflow.ts";

const tags = ["Workflows"];

const patchSchema = patchSchemaOf(workflowSchema).extend({
  confirm: z.boolean().default(false).meta({
    description:
      "take stages away although enabled inbounds, outbounds or connections name them: no lead goes over those any more then",
  }),
});

const columns = ["id", "name", "campaignId", "ownerId", "alertSms", "createdAt", "updatedAt"] as const;

/** The workflows of an organisation and their stages. */
export function workflowRoutes(api: Api, context: Context): void {
  createRoute(api, context);
  readRoutes(api, context);
  changeRoute(api, context);
}

function readRoutes(api: Api, context: Context): void {
  api.get(
    "/workflows",
    {
      config: { permission: "workflows.read" },
      schema: {
        tags,
        summary: "Your workflows, newest first",
        querystring: z.strictObject(pageQuery),
        response: { 200: pageSchema(workflowAnswer), ...problems },
      },
    },
    async (request) =>
      inOrganisation(context.database, callerOf(request).organisationId, async (transaction) => {
        const query = transaction.selectFrom("workflows").select(columns);
        const { rows, nextCursor } = cutPage(await pageRows(query, request.query).execute(), request.query);
        return { data: await presentWorkflows(transaction, rows), nextCursor };
      }),
  );

  api.get(
    "/workflows/:id",
    {
      config: { permission: "workflows.read" },
      schema: { tags, summary: "A workflow", params: idParams, response: { 200: workflowAnswer, ...problems } },
    },
    async (request, reply) =>
      (await readWorkflow(context, callerOf(request).organisationId, request.params.id)) ??
      sendProblem(reply, "not_found"),
  );
}

function createRoute(api: Api, context: Context): void {
  api.post(
    "/workflows",
    {
      config: { permission: "workflows.change" },
      schema: {
        tags,
        summary: "Add a workflow with its stages",
        body: workflowSchema,
        response: { 201: workflowAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const change = changeBy(context, request);
      const result = await createWorkflow(context, change, request.body);
      if (result.kind === "invalid") return sendProblem(reply, "invalid_body", { fields: result.fields });
      if (result.kind !== "stored") throw new Error(`A new workflow cannot be ${result.kind}.`);
      return reply.code(201).send(await readStored(context, change.organisationId, result.id));
    },
  );
}

function changeRoute(api: Api, context: Context): void {
  api.patch(
    "/workflows/:id",
    {
      config: { permission: "workflows.change" },
      schema: {
        tags,
        summary: "Change a workflow",
        description:
          "`stages` replaces the list: a stage that comes back with its id stays, one that does not is taken away. Refused where leads stand in it; where enabled inbounds, outbounds or connections name it, without `confirm`.",
        params: idParams,
        body: patchSchema,
        response: { 200: workflowAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const { confirm, ...patch } = request.body;
      const change = changeBy(context, request);
      const result = await changeWorkflow(context, change, request.params.id, patch, confirm);
      switch (result.kind) {
        case "not_found":
          return sendProblem(reply, "not_found");
        case "invalid":
          return sendProblem(reply, "invalid_body", { fields: result.fields });
        case "in_use":
          return sendProblem(reply, "stage_in_use", { detail: result.uses.map(tellUse).join(" ") });
        case "stored":
          return readStored(context, change.organisationId, result.id);
      }
    },
  );
}

function tellUse({ stageName, hasLeads, links }: StageUse): string {
  const leads = hasLeads ? `Leads stand in ${stageName}: move them to another stage first.` : "";
  const named =
    links.length === 0
      ? ""
      : `${stageName} is named by ${links.join(", ")}: change that first, or send "confirm": true, and no lead goes that way any more.`;
  return `${leads} ${named}`.trim();
}

async function readStored(context: Context, organisationId: string, id: string): Promise<WorkflowAnswer> {
  const stored = await readWorkflow(context, organisationId, id);
  if (stored === null) throw new Error(`Workflow ${id} was there a moment ago.`);
  return stored;
}

async function readWorkflow(context: Context, organisationId: string, id: string): Promise<WorkflowAnswer | null> {
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const rows = await transaction.selectFrom("workflows").select(columns).where("id", "=", id).execute();
    return (await presentWorkflows(transaction, rows))[0] ?? null;
  });
}

type WorkflowRow = Omit<WorkflowAnswer, "stages" | "createdAt" | "updatedAt"> & {
  readonly createdAt: Date;
  readonly updatedAt: Date;
};

async function presentWorkflows(transaction: Database, rows: readonly WorkflowRow[]): Promise<WorkflowAnswer[]> {
  if (rows.length === 0) return [];
  const stages = await transaction
    .selectFrom("stages")
    .select(["id", "name", "workflowId"])
    .where(
      "workflowId",
      "in",
      rows.map(({ id }) => id),
    )
    .where("removedAt", "is", null)
    .orderBy("position")
    .execute();
  return rows.map(({ createdAt, updatedAt, ...row }) => ({
    ...row,
    stages: stages.filter(({ workflowId }) => workflowId === row.id).map(({ id, name }) => ({ id, name })),
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  }));
}
