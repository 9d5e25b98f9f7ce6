import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type PreviewField, previewFields, previewOf } from "../campaigns/preview.ts";
import type { FieldValue, MailRequest, TemplateVariables } from "../channels/contract.ts";
import { emailChannel } from "../channels/email.ts";
import { moneyFields } from "../channels/money-fields.ts";
import { type PlaceName, renderTemplate } from "../channels/templates.ts";
import type { Context } from "../context.ts";
import type { LeadFields } from "../db/tables.ts";
import { requireInvoice } from "../invoices/invoice.ts";
import { offerUrlOf } from "../offers/offer-link.ts";
import { openDeliverySettings } from "../partners/delivery-settings.ts";
import { linkOf } from "../people/links.ts";
import { projectRoot } from "../project-root.ts";
import type { ClaimedAlert } from "./claim-alerts.ts";
import { fitSms, type SmsText } from "./fit-sms.ts";
import { recipientSeparator } from "./insert-alerts.ts";
import { type LeadContact, leadContact } from "./lead-contact.ts";

/** What the template of an alert sees. Where an alert is about no lead, or no partner, those are empty. */
interface AlertVariables extends TemplateVariables {
  readonly organisation: { readonly name: string };
  readonly partner: TemplateVariables["partner"] & { readonly time_zone: string };
  /** Found among the lead's fields, whatever the campaign calls them. */
  readonly contact: LeadContact;
  /** What a partner may see of a lead that it has not accepted yet. */
  readonly preview: readonly PreviewField[];
  /** What the alert is about, beyond the rest: reason, until, ... */
  readonly alert: Readonly<Record<string, FieldValue>>;
}

export type AlertMail = Pick<MailRequest, "to" | "subject" | "text" | "html" | "headers" | "attachments">;

export type RenderedAlert<Content> =
  | { readonly ok: true; readonly content: Content }
  | { readonly ok: false; readonly reason: string };

/** The SMS of an alert, one line, counted and cut to what an SMS holds. Says which template cannot be used, and why. */
export async function renderAlertSms(context: Context, alert: ClaimedAlert): Promise<RenderedAlert<SmsText>> {
  const rendered = await renderFiles(context, alert, {
    text: [`sms/${fileName(alert)}.liquid`, "line"],
  });
  return rendered.ok ? { ok: true, content: fitSms(rendered.content.text) } : rendered;
}

/** The mail of an alert. Says which template cannot be used, and why. */
export async function renderAlertMail(
  context: Context,
  organisationId: string,
  alert: ClaimedAlert,
): Promise<RenderedAlert<AlertMail>> {
  if (alert.kind === "lead_copy") return renderLeadCopy(context, alert);
  const name = `email/alert-${fileName(alert)}`;
  const rendered = await renderFiles(context, withLink(context, alert), {
    subject: [`${name}.subject.liquid`, "line"],
    text: [`${name}.text.liquid`, "text"],
    html: [`${name}.html.liquid`, "html"],
  });
  if (!rendered.ok) return rendered;
  const attachments = alert.kind === "invoice" ? [await attachInvoice(context, organisationId, alert)] : [];
  return { ok: true, content: { to: [alert.recipient], ...rendered.content, headers: [], attachments } };
}

/** An alert that brings a link to set a password has the end of it encrypted: what is stored opens nothing. */
function withLink({ config, vault }: Context, alert: ClaimedAlert): ClaimedAlert {
  if (alert.kind !== "invitation" && alert.kind !== "password_reset") return alert;
  const { token, ...detail } = alert.detail;
  if (typeof token !== "string") throw new Error("The link of this alert was taken out before it was sent.");
  return { ...alert, detail: { ...detail, link: linkOf(config.publicUrl, alert.kind, vault.decrypt(token)) } };
}

async function attachInvoice(context: Context, organisationId: string, alert: ClaimedAlert) {
  const { invoice, lines } = await requireInvoice(context, organisationId, String(alert.detail.invoice_id));
  // Fonts and their code are 25 MiB, which a worker that mails no invoice does without.
  const { invoicePdf } = await import("../invoices/invoice-paper.ts");
  return {
    name: `${invoice.reference.replace(/[^\w.-]/g, "-")}.pdf`,
    contentType: "application/pdf",
    content: await invoicePdf(context, invoice, lines),
  };
}

/** The mail that the partner's email settings make of the lead, to those it was meant for when the lead was sold. */
function renderLeadCopy(context: Context, alert: ClaimedAlert): RenderedAlert<AlertMail> {
  const { email } = openDeliverySettings(context.vault, { internet: null, email: alert.partnerEmail });
  if (email === null) return { ok: false, reason: "The partner has no email settings any more." };
  const rendered = emailChannel.render(alertVariables(context, alert), email);
  if (!rendered.ok) return { ok: false, reason: `The partner's ${rendered.field} cannot be used: ${rendered.reason}.` };
  if (rendered.request.kind !== "mail") throw new Error("The email channel rendered something that is no mail.");
  const { subject, text, html, headers } = rendered.request;
  return {
    ok: true,
    content: { to: alert.recipient.split(recipientSeparator), subject, text, html, headers, attachments: [] },
  };
}

function fileName(alert: ClaimedAlert): string {
  return alert.kind.replaceAll("_", "-");
}

async function renderFiles<Part extends string>(
  context: Context,
  alert: ClaimedAlert,
  files: Readonly<Record<Part, readonly [file: string, place: PlaceName]>>,
): Promise<RenderedAlert<Readonly<Record<Part, string>>>> {
  const variables = alertVariables(context, alert);
  const content = {} as Record<Part, string>;
  for (const part of Object.keys(files) as Part[]) {
    const [file, place] = files[part];
    const source = await readTemplate(context.config.dataDirectory, file);
    if (source === null) return { ok: false, reason: `There is no template ${file}.` };
    const rendered = renderTemplate(source, place, variables);
    if (!rendered.ok) return { ok: false, reason: `The template ${file} cannot be used: ${rendered.reason}.` };
    content[part] = rendered.text;
  }
  return { ok: true, content };
}

/** An operator's own template in the data folder goes before the one that Handoff brings. A change counts at once. */
async function readTemplate(dataDirectory: string, file: string): Promise<string | null> {
  const path = [dataDirectory, projectRoot].map((folder) => join(folder, "templates", file)).find(existsSync);
  return path === undefined ? null : readFile(path, "utf8");
}

function alertVariables(context: Context, alert: ClaimedAlert): AlertVariables {
  const { lead, contact, contacts, preview } = shownOf(alert);
  return {
    organisation: { name: alert.organisationName },
    partner: {
      id: alert.partnerId ?? "",
      name: alert.partnerName ?? "",
      time_zone: alert.partnerTimeZone ?? "UTC",
    },
    campaign: {
      id: alert.campaignId ?? "",
      name: alert.campaignName ?? "",
      money: moneyFields(alert.campaignFields ?? []),
    },
    lead: { ...lead, id: alert.leadId, received_at: alert.receivedAt?.toISOString() ?? null },
    contacts,
    contact,
    preview,
    delivery: { id: alert.deliveryId ?? "", price_minor: alert.priceMinor, currency: alert.currency, test: false },
    alert: {
      id: alert.id,
      created_at: alert.createdAt.toISOString(),
      ...alert.detail,
      ...alert.returned,
      ...offerOf(context, alert),
    },
  };
}

/** What of a lead an alert's template can print. Of one that is only offered that is the preview, whatever the template names. */
function shownOf({ kind, campaignFields, leadFields, leadSource, contacts }: ClaimedAlert) {
  const all = campaignFields ?? [];
  const isOffered = kind === "lead_offered";
  const shown = isOffered ? previewFields(all) : all;
  const absent = Object.fromEntries(all.map((field): [string, FieldValue] => [field.key, null]));
  const known: LeadFields = isOffered
    ? Object.fromEntries(shown.map(({ key }) => [key, leadFields?.[key] ?? null]))
    : { ...leadFields };
  const fields = { ...absent, ...known };
  return {
    lead: { ...fields, source: isOffered ? null : leadSource },
    contact: leadContact(shown, fields),
    contacts: isOffered ? [] : contacts,
    preview: previewOf(all, known),
  };
}

function offerOf(context: Context, { kind, deliveryId, offerUntil }: ClaimedAlert): AlertVariables["alert"] {
  if (kind !== "lead_offered" || deliveryId === null) return {};
  return { url: offerUrlOf(context, deliveryId), until: offerUntil?.toISOString() ?? null };
}
