import { z } from "zod";
import type { Channel, TemplateVariables } from "./contract.ts";
import { readDefaultTemplate } from "./default-template.ts";
import { type RenderedContent, renderHttpRequest, sendOverHttp } from "./http-channel.ts";
import { authSchema, httpMethodSchema, httpSettings, oneSourcePerHeader, templateSchema } from "./http-settings.ts";
import { judgeHttp } from "./judge.ts";
import { renderTemplate } from "./templates.ts";
import { xmlProblem } from "./xml-problem.ts";

export const xmlSettingsSchema = z
  .strictObject({
    method: z.literal("xml"),
    httpMethod: httpMethodSchema,
    ...httpSettings,
    auth: authSchema.default({ type: "none" }),
    body: templateSchema.optional().meta({ description: "a template; absent: everything that is known of the lead" }),
  })
  .superRefine(oneSourcePerHeader);

export type XmlSettings = z.infer<typeof xmlSettingsSchema>;

const defaultBody = readDefaultTemplate("body/lead.xml.liquid");

function renderContent(variables: TemplateVariables, settings: XmlSettings): RenderedContent {
  const body = renderTemplate(settings.body ?? defaultBody, "xml", variables);
  if (!body.ok) return { ok: false, field: "body", reason: body.reason };
  const problem = xmlProblem(body.text);
  if (problem !== null) return { ok: false, field: "body", reason: problem };
  return { ok: true, content: { body: body.text, headers: [["Content-Type", "application/xml; charset=utf-8"]] } };
}

export const xmlChannel: Channel<XmlSettings> = {
  name: "xml",
  settings: xmlSettingsSchema,
  render: (variables, settings) => renderHttpRequest(variables, settings, renderContent(variables, settings)),
  send: sendOverHttp,
  judge: judgeHttp,
};
