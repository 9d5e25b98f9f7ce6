import { z } from "zod";
import type { Channel, ChannelRequest, Rendered, Reply, SendContext, TemplateVariables } from "./contract.ts";
import { readDefaultTemplate } from "./default-template.ts";
import { renderHeaders } from "./http-channel.ts";
import { lineTemplateSchema, templateSchema, timeoutSchema } from "./http-settings.ts";
import { judgeMail } from "./judge.ts";
import { listSecrets } from "./secrets.ts";
import { sendMail } from "./send-mail.ts";
import { type PlaceName, renderTemplate } from "./templates.ts";

export const emailSettingsSchema = z.strictObject({
  to: z
    .array(z.email("must be an email address").max(254))
    .min(1, "must name at least one recipient")
    .max(20, "must name at most 20 recipients"),
  subject: lineTemplateSchema.optional().meta({ description: "a template; absent: that of the template" }),
  template: z
    .strictObject({
      subject: lineTemplateSchema.optional(),
      text: templateSchema,
      html: templateSchema.nullable().default(null),
    })
    .nullable()
    .default(null)
    .meta({ description: "null: a list of the lead's fields" }),
  headers: z
    .record(
      z
        .string()
        .max(200)
        .regex(/^X-[A-Za-z0-9-]+$/i, "must begin with X-, followed by letters, digits and hyphens"),
      z
        .string()
        .max(4_096)
        .regex(/^\P{Cc}*$/u, "must not hold line breaks or other control characters"),
    )
    .default({}),
  timeoutMs: timeoutSchema,
});

export type EmailSettings = z.infer<typeof emailSettingsSchema>;

const defaults = {
  subject: readDefaultTemplate("email/lead.subject.liquid"),
  text: readDefaultTemplate("email/lead.text.liquid"),
  html: readDefaultTemplate("email/lead.html.liquid"),
};

function render(variables: TemplateVariables, settings: EmailSettings): Rendered {
  const template = settings.template ?? defaults;
  const subject = renderPart("subject", settings.subject ?? template.subject ?? defaults.subject, "line", variables);
  if (!subject.ok) return subject;
  const text = renderPart("template.text", template.text, "text", variables);
  if (!text.ok) return text;
  const html = template.html === null ? null : renderPart("template.html", template.html, "html", variables);
  if (html?.ok === false) return html;
  const headers = renderHeaders(settings.headers, variables);
  if (!headers.ok) return headers;
  return {
    ok: true,
    request: {
      kind: "mail",
      to: settings.to,
      subject: subject.text,
      text: text.text,
      html: html?.text ?? null,
      headers: headers.headers,
      timeoutMs: settings.timeoutMs,
      secrets: listSecrets(settings),
    },
  };
}

type RenderedPart =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly field: string; readonly reason: string };

function renderPart(field: string, template: string, place: PlaceName, variables: TemplateVariables): RenderedPart {
  const rendered = renderTemplate(template, place, variables);
  return rendered.ok ? rendered : { ok: false, field, reason: rendered.reason };
}

async function send(request: ChannelRequest, context: SendContext): Promise<Reply> {
  if (request.kind !== "mail") throw new Error("A request over HTTP was given to email: send it by its own channel.");
  return sendMail(request, context);
}

export const emailChannel: Channel<EmailSettings> = {
  name: "email",
  settings: emailSettingsSchema,
  render,
  send,
  judge: judgeMail,
};
