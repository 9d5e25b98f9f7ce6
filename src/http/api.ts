import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { type ErrorCode, errors } from "../errors.ts";

/** The Fastify application as route files see it: each route's schema gives its types, its validation and its documentation. */
export type Api = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export const idParams = z.object({ id: z.uuid().meta({ description: "id" }) });

export const instantSchema = z.iso.datetime().meta({ description: "an instant in UTC (ISO 8601)" });

const fieldErrorSchema = z.object({
  field: z.string(),
  code: z.string(),
  message: z.string(),
  given: z.unknown().optional(),
});

const errorCodes = Object.keys(errors) as [ErrorCode, ...ErrorCode[]];

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.enum(errorCodes),
    detail: z.string().optional(),
    fields: z.array(fieldErrorSchema).optional().meta({ description: "each field that is not right" }),
    leadId: z.uuid().optional(),
    supported: z.array(z.int()).optional().meta({ description: "versions of the referral protocol" }),
    requestId: z.string().optional(),
  })
  .meta({ id: "Problem" });

const problem = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: problemSchema } },
});

/** An answer that is a file, not JSON. */
export const fileAnswer = (description: string, contentType: string) => ({
  description,
  content: { [contentType]: { schema: z.unknown() } },
});

/** The refusals that every route may give. */
export const problems = {
  "4XX": problem("refused; the code and the fields say why (RFC 9457)"),
  "5XX": problem("not our caller's fault; to be tried again later"),
};

/** A warning: what was asked is done, and this about it is worth knowing. */
export const warningSchema = z.object({ field: z.string(), message: z.string() });
export type Warning = z.infer<typeof warningSchema>;
