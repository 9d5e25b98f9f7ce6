import { z } from "zod";
import type { Channel, TemplateVariables } from "./contract.ts";
import { type RenderedContent, renderHttpRequest, sendOverHttp } from "./http-channel.ts";
import { httpSettings, oneSourcePerHeader, soapAuthSchema, templateSchema } from "./http-settings.ts";
import { judgeHttp } from "./judge.ts";
import { renderTemplate } from "./templates.ts";
import { xmlProblem } from "./xml-problem.ts";

const envelopes = {
  soap11: "http://schemas.xmlsoap.org/soap/envelope/",
  soap12: "http://www.w3.org/2003/05/soap-envelope",
} as const;

type SoapVersion = keyof typeof envelopes;

const envelopeStart = /^\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--[\s\S]*?-->\s*)*<(?:[\w.-]+:)?Envelope[\s>]/;

/** These name the version of SOAP and the action, and so belong to the channel. */
const ownHeaders = ["content-type", "soapaction"];

function soapSettingsSchema<Version extends SoapVersion>(version: Version) {
  return z
    .strictObject({
      method: z.literal(version),
      httpMethod: z.literal("POST", "must be POST").default("POST"),
      ...httpSettings,
      auth: soapAuthSchema.default({ type: "none" }),
      action: z
        .string()
        .max(1_000)
        .regex(/^[!#-[\]-~]*$/, "must be ASCII without blanks, quotes and backslashes")
        .default("")
        .meta({ description: "the action that the WSDL names for the operation" }),
      body: templateSchema.meta({ description: "a template: the whole envelope, or only what goes into its Body" }),
    })
    .superRefine(oneSourcePerHeader)
    .superRefine(({ body, headers }, context) => {
      if (envelopeStart.test(body) && !body.includes(envelopes[version]))
        context.addIssue({
          code: "custom",
          path: ["body"],
          message: `must have the envelope of ${envelopes[version]}`,
        });
      for (const name of Object.keys(headers))
        if (ownHeaders.includes(name.toLowerCase()))
          context.addIssue({ code: "custom", path: ["headers", name], message: "is written by the channel" });
    });
}

export const soap11SettingsSchema = soapSettingsSchema("soap11");
export const soap12SettingsSchema = soapSettingsSchema("soap12");

export type Soap11Settings = z.infer<typeof soap11SettingsSchema>;
export type Soap12Settings = z.infer<typeof soap12SettingsSchema>;
type SoapSettings = Soap11Settings | Soap12Settings;

function renderContent(variables: TemplateVariables, settings: SoapSettings): RenderedContent {
  const source = envelopeStart.test(settings.body) ? settings.body : wrap(settings.body, envelopes[settings.method]);
  const body = renderTemplate(source, "xml", variables);
  if (!body.ok) return { ok: false, field: "body", reason: body.reason };
  const problem = xmlProblem(body.text);
  if (problem !== null) return { ok: false, field: "body", reason: problem };
  return { ok: true, content: { body: body.text, headers: soapHeaders(settings) } };
}

/** On one line with the body, so that the lines that a message names are those of the template. */
function wrap(body: string, namespace: string): string {
  const content = body.replace(/^\s*<\?xml[^>]*\?>/, "");
  const start = `<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="${namespace}"><soap:Body>`;
  return `${start}${content}</soap:Body></soap:Envelope>`;
}

/** SOAP 1.1, section 6.1.1: the action is a header, in quotes. RFC 3902: in SOAP 1.2 it is part of the media type. */
function soapHeaders({ method, action }: SoapSettings): readonly (readonly [string, string])[] {
  if (method === "soap11")
    return [
      ["Content-Type", "text/xml; charset=utf-8"],
      ["SOAPAction", `"${action}"`],
    ];
  const parameter = action === "" ? "" : `; action="${action}"`;
  return [["Content-Type", `application/soap+xml; charset=utf-8${parameter}`]];
}

const common = {
  render: (variables: TemplateVariables, settings: SoapSettings) =>
    renderHttpRequest(variables, settings, renderContent(variables, settings)),
  send: sendOverHttp,
  judge: judgeHttp,
};

export const soap11Channel: Channel<Soap11Settings> = { name: "soap11", settings: soap11SettingsSchema, ...common };
export const soap12Channel: Channel<Soap12Settings> = { name: "soap12", settings: soap12SettingsSchema, ...common };
