import { z } from "zod";
import type { Channel, TemplateVariables } from "./contract.ts";
import { readDefaultTemplate } from "./default-template.ts";
import { type RenderedContent, renderHttpRequest, sendOverHttp } from "./http-channel.ts";
import { authSchema, httpMethodSchema, httpSettings, oneSourcePerHeader, templateSchema } from "./http-settings.ts";
import { judgeHttp } from "./judge.ts";
import { renderTemplate } from "./templates.ts";

export const jsonSettingsSchema = z
  .strictObject({
    method: z.literal("json"),
    httpMethod: httpMethodSchema,
    ...httpSettings,
    auth: authSchema.default({ type: "none" }),
    body: templateSchema.optional().meta({ description: "a template; absent: everything that is known of the lead" }),
  })
  .superRefine(oneSourcePerHeader);

export type JsonSettings = z.infer<typeof jsonSettingsSchema>;

const defaultBody = readDefaultTemplate("body/lead.json.liquid");

function renderContent(variables: TemplateVariables, settings: JsonSettings): RenderedContent {
  const body = renderTemplate(settings.body ?? defaultBody, "json", variables);
  if (!body.ok) return { ok: false, field: "body", reason: body.reason };
  const problem = jsonProblem(body.text);
  if (problem !== null) return { ok: false, field: "body", reason: problem };
  return { ok: true, content: { body: body.text, headers: [["Content-Type", "application/json"]] } };
}

/** The engine's own message quotes the text, and with it the lead: only the position is kept, where it is told. */
function jsonProblem(body: string): string | null {
  try {
    JSON.parse(body);
    return null;
  } catch (error) {
    const position = /at position (\d+)/.exec(error instanceof Error ? error.message : "")?.[1];
    const where =
      position === undefined ? "" : ` (line ${body.slice(0, Number(position)).split("\n").length} of the result)`;
    return `the rendered body is not JSON${where}`;
  }
}

export const jsonChannel: Channel<JsonSettings> = {
  name: "json",
  settings: jsonSettingsSchema,
  render: (variables, settings) => renderHttpRequest(variables, settings, renderContent(variables, settings)),
  send: sendOverHttp,
  judge: judgeHttp,
};
