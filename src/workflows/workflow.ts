import { z } from "zod";
import { instantSchema } from "../http/api.ts";

/** The document of a workflow, as the API takes and gives it. */

const nameSchema = z.string().trim().min(1, "must not be empty").max(200, "must be at most 200 characters");

const stageSchema = z.strictObject({
  id: z
    .uuid("must be the id of a stage")
    .optional()
    .meta({ description: "of a stage that is there; without: a new one" }),
  name: nameSchema,
});

export const workflowSchema = z.strictObject({
  name: nameSchema,
  campaignId: z
    .uuid("must be the id of a campaign")
    .meta({ description: "whose fields the leads have that arrive in the workflow" }),
  ownerId: z.uuid("must be the id of a user").meta({
    description:
      "owns what arrives, unless the sender's owner has a user of the same email here; is told of each by email",
  }),
  alertSms: z.boolean().default(false).meta({ description: "whether the owner is told by SMS too" }),
  stages: z
    .array(stageSchema)
    .min(1, "must hold at least one stage")
    .max(100, "must hold at most 100 stages")
    .meta({ description: "in their order" }),
});
export type WorkflowDocument = z.infer<typeof workflowSchema>;

export const stageAnswer = z.object({ id: z.uuid(), name: z.string() });

export const workflowAnswer = z
  .object({
    id: z.uuid(),
    name: z.string(),
    campaignId: z.uuid(),
    ownerId: z.uuid(),
    alertSms: z.boolean(),
    stages: z.array(stageAnswer),
    createdAt: instantSchema,
    updatedAt: instantSchema,
  })
  .meta({ id: "Workflow" });
export type WorkflowAnswer = z.infer<typeof workflowAnswer>;
