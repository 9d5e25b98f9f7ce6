import { z } from "zod";
import { instantSchema } from "../http/api.ts";

/** The document of an inbound, as the API takes and gives it. */

const nameSchema = z.string().trim().min(1, "must not be empty").max(200, "must be at most 200 characters");

/** As a browser names a site (RFC 6454), and fit to stand in a header. */
const siteSchema = z
  .string()
  .regex(
    /^https?:\/\/[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?(:\d{1,5})?$/,
    "must be a site, such as https://www.example.com",
  );

const formSchema = z.strictObject({
  title: nameSchema.nullable().default(null).meta({ description: "above the form; null: none" }),
  sites: z
    .array(siteSchema)
    .max(50, "must hold at most 50 sites")
    .default([])
    .meta({ description: "whose pages may show the form within them; the form's own address can always be opened" }),
});
export type InboundForm = z.infer<typeof formSchema>;

export const inboundSchema = z.strictObject({
  name: nameSchema,
  workflowId: z.uuid("must be the id of a workflow"),
  stageId: z.uuid("must be the id of a stage").meta({ description: "of the workflow: where what arrives stands" }),
  enabled: z.boolean().default(true),
  reportsStatus: z
    .boolean()
    .default(true)
    .meta({ description: "whether referrers may be told what became of what they referred" }),
  form: formSchema
    .nullable()
    .default(null)
    .meta({ description: "a form that other sites can show; null: there is none" }),
});
export type InboundDocument = z.infer<typeof inboundSchema>;

export const inboundAnswer = z
  .object({
    id: z.uuid(),
    ...inboundSchema.shape,
    referralUrl: z.string().meta({ description: "what a referrer enters as the URL" }),
    key: z.string().nullable().meta({
      description: "what a referrer enters as the key; null on lists and for those who may not manage referrals",
    }),
    formUrl: z.string().nullable().meta({ description: "the address of the form, where there is one" }),
    referrers: z
      .array(
        z.object({
          organisation: z.string().meta({ description: "as they call themselves" }),
          installation: z.string(),
          firstAt: instantSchema,
          lastAt: instantSchema,
          count: z.int(),
        }),
      )
      .meta({ description: "who has used it, the latest first, at most 100" }),
    createdAt: instantSchema,
    updatedAt: instantSchema,
  })
  .meta({ id: "Inbound" });
export type InboundAnswer = z.infer<typeof inboundAnswer>;
