import { z } from "zod";
import type { Channel, TemplateVariables } from "./contract.ts";
import { type RenderedContent, renderHttpRequest, sendOverHttp } from "./http-channel.ts";
import { authSchema, httpSettings, oneSourcePerHeader, templateSchema } from "./http-settings.ts";
import { judgeHttp } from "./judge.ts";
import { renderTemplate } from "./templates.ts";

const fieldSchema = z.tuple([z.string().min(1, "must not be empty").max(200), z.string().max(65_536)], {
  error: 'must be a pair of a name and a template, such as ["name", "{{ lead.first_name }}"]',
});

export const postSettingsSchema = z
  .strictObject({
    method: z.literal("post"),
    httpMethod: z.enum(["POST", "PUT", "PATCH", "GET"], "must be POST, PUT, PATCH or GET").default("POST"),
    ...httpSettings,
    auth: authSchema.default({ type: "none" }),
    body: templateSchema.optional().meta({ description: "a template such as name={{ lead.first_name }}" }),
    fields: z
      .array(fieldSchema)
      .min(1)
      .max(300)
      .optional()
      .meta({ description: "names and their templates, in order; absent like body: every field of the lead" }),
  })
  .superRefine(oneSourcePerHeader)
  .superRefine(({ body, fields, httpMethod }, context) => {
    if (body !== undefined && fields !== undefined)
      context.addIssue({ code: "custom", path: ["fields"], message: "must not be given together with body" });
    if (body !== undefined && httpMethod === "GET")
      context.addIssue({ code: "custom", path: ["body"], message: "must not be given with GET, which sends fields" });
  });

export type PostSettings = z.infer<typeof postSettingsSchema>;

const formType = ["Content-Type", "application/x-www-form-urlencoded"] as const;

function renderContent(variables: TemplateVariables, settings: PostSettings): RenderedContent {
  if (settings.body !== undefined) return renderBody(settings.body, variables);
  const query = new URLSearchParams();
  const fields = settings.fields ?? Object.keys(variables.lead).map((key) => [key, `{{ lead.${key} }}`] as const);
  for (const [index, [name, template]] of fields.entries()) {
    const value = renderTemplate(template, "text", variables);
    if (!value.ok) return { ok: false, field: `fields.${index}.1`, reason: `${name}: ${value.reason}` };
    query.append(name, value.text);
  }
  if (settings.httpMethod === "GET") return { ok: true, content: { body: "", headers: [], query } };
  return { ok: true, content: { body: query.toString(), headers: [formType] } };
}

function renderBody(template: string, variables: TemplateVariables): RenderedContent {
  const body = renderTemplate(template, "form", variables);
  if (!body.ok) return { ok: false, field: "body", reason: body.reason };
  const stray = /[^!-~]|%(?![0-9A-Fa-f]{2})/.exec(body.text);
  if (stray !== null)
    return {
      ok: false,
      field: "body",
      reason: "a form body is ASCII without blanks: write a blank as +, others as %XX",
    };
  return { ok: true, content: { body: body.text, headers: [formType] } };
}

export const postChannel: Channel<PostSettings> = {
  name: "post",
  settings: postSettingsSchema,
  render: (variables, settings) => renderHttpRequest(variables, settings, renderContent(variables, settings)),
  send: sendOverHttp,
  judge: judgeHttp,
};
