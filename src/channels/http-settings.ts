import { z } from "zod";
import { answerPath } from "./answer-paths.ts";
import { rulesSchema } from "./rules.ts";
import { maximumTemplateLength } from "./templates.ts";

/** The pieces that the settings of the channels share. Everything that ends up in a request is a template. */

/** What a secret looks like wherever settings are shown. Sent back, it stands for the secret that is stored. */
export const secretMask = "••••••";

/** A value that is encrypted at rest and masked wherever it is shown: `secrets.ts` finds it by this mark. */
export const secretSchema = z
  .string()
  .min(1, "must not be empty")
  .max(4_096, "must be at most 4096 characters")
  .regex(/^\P{Cc}*$/u, "must not hold control characters")
  .meta({ secret: true });

function secretOf(form: RegExp, message: string): typeof secretSchema {
  return secretSchema.refine((secret) => secret === secretMask || form.test(secret), message);
}

export const templateSchema = z
  .string("must be a template text")
  .min(1, "must not be empty")
  .max(maximumTemplateLength, `must be at most ${maximumTemplateLength} characters`);

export const lineTemplateSchema = templateSchema.max(4_096).regex(/^[^\r\n\0]*$/, "must be one line");

const templateParts = /\{\{[\s\S]*?\}\}|\{%[\s\S]*?%\}/g;
const addressForm = "must be an address such as https://partner.example/leads?id={{ lead.id }}";

/** What is wrong with the fixed parts of an address, or null. Values can stand behind the host only. */
function urlProblem(url: string): string | null {
  const start = /^https?:\/\/[^\s/?#\\@{}%]+(?=[/?]|$)/i.exec(url)?.[0];
  if (start === undefined || !URL.canParse(start))
    return `${addressForm}, with scheme, host and port written out and no user name in it`;
  const fixed = url.replace(templateParts, "x");
  if (/[\s\\#]/.test(fixed)) return `${addressForm}, without blanks, backslashes or #`;
  if (/%(?![0-9a-f]{2})/i.test(fixed)) return "must write % itself as %25";
  if (/\/(?:\.|%2e){1,2}(?=[/?]|$)/i.test(fixed)) return "must not have . or .. as a part of its path";
  return null;
}

const urlSchema = z
  .string(addressForm)
  .max(4_096, "must be at most 4096 characters")
  .superRefine((url, context) => {
    const problem = urlProblem(url);
    if (problem !== null) context.addIssue({ code: "custom", message: problem });
  });

/** RFC 9110, section 5.6.2. */
const headerName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Belong to the connection, are computed from the body, or are the sender's own. */
const reservedHeaders: ReadonlySet<string> = new Set(
  (
    "accept-encoding connection content-encoding content-length date expect host http2-settings idempotency-key " +
    "keep-alive proxy-authorization proxy-connection te trailer transfer-encoding upgrade"
  ).split(" "),
);

const headersSchema = z
  .record(
    z
      .string()
      .max(200)
      .regex(headerName, "must be a header name: letters, digits and hyphens")
      .refine((name) => !reservedHeaders.has(name.toLowerCase()), "is a header that Handoff writes itself"),
    z
      .string()
      .max(4_096, "must be at most 4096 characters")
      .regex(/^\P{Cc}*$/u, "must not hold line breaks or other control characters"),
  )
  .superRefine((headers, context) => {
    const names = Object.keys(headers).map((name) => name.toLowerCase());
    if (names.length > 50) context.addIssue({ code: "custom", message: "must be at most 50 headers" });
    if (new Set(names).size < names.length)
      context.addIssue({ code: "custom", message: "must not name the same header twice" });
  });

const userSchema = z
  .string()
  .min(1, "must not be empty")
  .max(1_000)
  .regex(/^\P{Cc}*$/u);
const noAuth = z.strictObject({ type: z.literal("none") });
const basicAuth = z.strictObject({
  type: z.literal("basic"),
  username: userSchema.regex(/^[^:]*$/, "must not have a colon (RFC 7617)"),
  password: secretSchema,
});
const bearerAuth = z.strictObject({
  type: z.literal("bearer"),
  token: secretOf(/^[\x21-\x7e]+$/, "must be ASCII without blanks"),
});
const apiKeyAuth = z.strictObject({
  type: z.literal("apiKey"),
  header: z
    .string()
    .max(200)
    .regex(headerName, "must be a header name, such as X-Api-Key")
    .refine((name) => !reservedHeaders.has(name.toLowerCase()), "is a header that Handoff writes itself"),
  value: secretSchema,
});
const oauth2Auth = z.strictObject({
  type: z.literal("oauth2"),
  tokenUrl: z.url({ protocol: /^https?$/, error: "must be an address such as https://login.partner.example/token" }),
  clientId: userSchema,
  clientSecret: secretSchema,
  scope: z.string().max(1_000).optional(),
  audience: z.string().max(1_000).optional(),
  credentialsIn: z.enum(["header", "body"], "must be header or body").default("header"),
});
const usernameTokenAuth = z.strictObject({
  type: z.literal("usernameToken"),
  username: userSchema,
  password: secretSchema,
  passwordType: z.enum(["text", "digest"], "must be text or digest").default("text"),
});
const webhookAuth = z.strictObject({
  type: z.literal("standardWebhooks"),
  secret: secretOf(/^whsec_(?=.{32,88}$)[A-Za-z0-9+/]+={0,2}$/, "must be whsec_ followed by 24 to 64 bytes in base64"),
});

const plainAuths = [noAuth, basicAuth, bearerAuth, apiKeyAuth, oauth2Auth, webhookAuth] as const;
const authTypes = plainAuths.map((auth) => auth.shape.type.value).join(", ");

export const authSchema = z.discriminatedUnion("type", plainAuths, {
  error: `must have a type: ${authTypes} (usernameToken is for soap11 and soap12)`,
});
export const soapAuthSchema = z.discriminatedUnion("type", [...plainAuths, usernameTokenAuth], {
  error: `must have a type: ${authTypes}, usernameToken`,
});

export const httpMethodSchema = z.enum(["POST", "PUT", "PATCH"], "must be POST, PUT or PATCH").default("POST");

export const timeoutSchema = z
  .int("must be a whole number of milliseconds")
  .min(1_000, "must be at least 1000 ms")
  .max(60_000, "must be at most 60000 ms")
  .default(15_000);

/** What every channel over HTTP has, but for `auth`. */
export const httpSettings = {
  url: urlSchema.meta({ description: "a template; values can stand in the path and the query" }),
  headers: headersSchema.default({}),
  timeoutMs: timeoutSchema,
  followRedirects: z.boolean("must be true or false").default(false),
  success: rulesSchema.optional().meta({ description: "all of these must hold" }),
  reject: rulesSchema.optional().meta({ description: "any of these rejects" }),
  reason: answerPath.optional().meta({ description: "path to the partner's reason" }),
  reference: answerPath.optional().meta({ description: "path to the partner's reference" }),
  price: answerPath.optional().meta({ description: "path to the price that the partner names" }),
  currency: answerPath.optional().meta({ description: "path to its currency, where the answer names it apart" }),
};

/** Two sources for one header would leave open which one is sent. */
export function oneSourcePerHeader(
  settings: { readonly headers: Readonly<Record<string, string>>; readonly auth: z.infer<typeof soapAuthSchema> },
  context: z.RefinementCtx,
): void {
  const { auth } = settings;
  const written = auth.type === "apiKey" ? auth.header.toLowerCase() : authHeaders[auth.type];
  for (const name of Object.keys(settings.headers))
    if (name.toLowerCase() === written)
      context.addIssue({ code: "custom", path: ["headers", name], message: `is written by auth (${auth.type})` });
}

const authHeaders: Readonly<Record<string, string>> = {
  basic: "authorization",
  bearer: "authorization",
  oauth2: "authorization",
};
