import type { Field } from "../campaigns/fields.ts";
import { normaliseFields } from "../campaigns/normalise-fields.ts";
import type { TemplateVariables } from "../channels/contract.ts";
import { moneyFields } from "../channels/money-fields.ts";
import { type ChannelSettings, channelFor } from "../channels/registry.ts";
import { sampleVariables } from "../channels/sample-variables.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { type SentOver, sendContext, sendOver } from "../delivery/attempt-delivery.ts";
import { recordRequest } from "../delivery/record-exchange.ts";
import type { FieldError } from "../errors.ts";
import { type Change, recordChange } from "../organisations/record-change.ts";
import { namedFields } from "./check-delivery.ts";
import { type DeliverySettings, openDeliverySettings } from "./delivery-settings.ts";

/** What a partner's delivery is tried with. */
export interface Trial {
  readonly partnerId: string;
  /** By default over the internet where that is set up, as for real leads. */
  readonly via?: "internet" | "email" | undefined;
  /** Whose fields the lead has; by default those of the first campaign that the partner is in. */
  readonly campaignId?: string | undefined;
  /** In place of made-up values, as they would come in. */
  readonly fields?: Readonly<Record<string, unknown>> | undefined;
  /** A lead that is stored. Never sent in a trial. */
  readonly leadId?: string | undefined;
}

export type TrialRefusal =
  | { readonly kind: "not_found" }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] };

export type Preview =
  | TrialRefusal
  | { readonly kind: "rendered"; readonly channel: string; readonly request: Record<string, unknown> }
  | { readonly kind: "not_renderable"; readonly channel: string; readonly field: string; readonly reason: string };

/** Renders what the partner would be sent, with secrets masked, and sends nothing. */
export async function previewDelivery(context: Context, organisationId: string, trial: Trial): Promise<Preview> {
  const prepared = await inOrganisation(context.database, organisationId, async (transaction) =>
    prepareTrial(transaction, context, trial),
  );
  if (prepared.kind !== "prepared") return prepared;
  const channel = channelFor(prepared.settings);
  const rendered = channel.render(prepared.variables, prepared.settings);
  if (!rendered.ok) {
    return { kind: "not_renderable", channel: channel.name, field: rendered.field, reason: rendered.reason };
  }
  return { kind: "rendered", channel: channel.name, request: recordRequest(rendered.request) };
}

export type TestSend = TrialRefusal | ({ readonly kind: "sent" } & SentOver);

/**
 * Sends the partner a made-up lead, marked as a test by `delivery.test` and the header X-Handoff-Test. Takes no place, costs
 * nothing and leaves nothing but a record of who did it. Ends with the settings' own time limit.
 */
export async function sendTest(context: Context, change: Change, trial: Omit<Trial, "leadId">): Promise<TestSend> {
  const { organisationId } = change;
  const prepared = await inOrganisation(context.database, organisationId, async (transaction) => {
    const made = await prepareTrial(transaction, context, trial);
    if (made.kind === "prepared") {
      const object = { kind: "partner", id: trial.partnerId } as const;
      await recordChange(transaction, change, object, null, { testSent: channelFor(made.settings).name });
    }
    return made;
  });
  if (prepared.kind !== "prepared") return prepared;
  const { settings, variables } = prepared;
  const marked = { ...settings, headers: { ...settings.headers, "X-Handoff-Test": "true" } };
  const sent = await sendOver(marked, variables, sendContext(context, variables.delivery.id));
  return { kind: "sent", ...sent };
}

interface Prepared {
  readonly kind: "prepared";
  readonly settings: ChannelSettings;
  readonly variables: TemplateVariables;
}

async function prepareTrial(transaction: Database, { vault }: Context, trial: Trial): Promise<Prepared | TrialRefusal> {
  const partner = await transaction
    .selectFrom("partners")
    .select(["id", "name", "currency", "leadValueMinor", "internet", "email"])
    .where("id", "=", trial.partnerId)
    .executeTakeFirst();
  if (partner === undefined) return { kind: "not_found" };
  const delivery = openDeliverySettings(vault, partner);
  const settings = trial.via === undefined ? (delivery.internet ?? delivery.email) : delivery[trial.via];
  if (settings === null) return invalid("via", "required", "no such way of delivery is set up for the partner");
  const lead = await readTrialLead(transaction, trial, delivery);
  if (lead.kind !== "lead") return lead;
  const { kind: _kind, ...values } = lead;
  const price = { price_minor: partner.leadValueMinor, currency: partner.currency };
  const variables: TemplateVariables = {
    ...values,
    partner: { id: partner.id, name: partner.name },
    delivery: { id: newId(), ...price, test: true },
  };
  return { kind: "prepared", settings, variables };
}

type TrialLead = TrialRefusal | ({ readonly kind: "lead" } & Pick<TemplateVariables, "lead" | "contacts" | "campaign">);

async function readTrialLead(transaction: Database, trial: Trial, delivery: DeliverySettings): Promise<TrialLead> {
  if (trial.leadId !== undefined) return readStoredLead(transaction, trial.leadId, trial.campaignId);
  const campaign = await findCampaign(transaction, trial);
  if (campaign === null && trial.campaignId !== undefined) {
    return invalid("campaignId", "unknown_campaign", `there is no campaign ${trial.campaignId}`);
  }
  const fields: readonly Field[] = campaign?.fields ?? namedFields(delivery);
  const [sample] = sampleVariables(fields);
  const given = trial.fields ?? {};
  const named = fields.filter((field) => Object.hasOwn(given, field.key));
  const unknown = Object.keys(given).find((key) => !named.some((field) => field.key === key));
  if (unknown !== undefined) return invalid(`fields.${unknown}`, "unknown_field", "is not a field that the lead has");
  const normalised = normaliseFields(named, given);
  if (!normalised.ok) {
    const problems = normalised.problems.map((problem) => ({ ...problem, field: `fields.${problem.field}` }));
    return { kind: "invalid", fields: problems };
  }
  return {
    kind: "lead",
    lead: { ...sample.lead, ...normalised.values },
    contacts: sample.contacts,
    campaign:
      campaign === null ? sample.campaign : { id: campaign.id, name: campaign.name, money: moneyFields(fields) },
  };
}

async function findCampaign(transaction: Database, { campaignId, partnerId }: Trial) {
  const all = transaction.selectFrom("campaigns").select(["id", "name", "fields", "routing"]).orderBy("id");
  if (campaignId !== undefined) return (await all.where("id", "=", campaignId).executeTakeFirst()) ?? null;
  const campaigns = await all.execute();
  const routes = ({ routing }: (typeof campaigns)[number]) =>
    routing.some((group) => group.partners.some((partner) => partner.partnerId === partnerId));
  return campaigns.find(routes) ?? null;
}

async function readStoredLead(
  transaction: Database,
  leadId: string,
  campaignId: string | undefined,
): Promise<TrialLead> {
  const row = await transaction
    .selectFrom("leads as l")
    .innerJoin("campaigns as c", "c.id", "l.campaignId")
    .select([
      "l.id",
      "l.fields",
      "l.receivedAt",
      "l.source",
      "c.id as campaignId",
      "c.name as campaignName",
      "c.fields as campaignFields",
    ])
    .where("l.id", "=", leadId)
    .executeTakeFirst();
  if (row === undefined) return invalid("leadId", "unknown_lead", `there is no lead ${leadId}`);
  if (campaignId !== undefined && campaignId !== row.campaignId) {
    return invalid("campaignId", "other_campaign", "the lead is of another campaign");
  }
  const contacts = await transaction
    .selectFrom("contacts")
    .select("fields")
    .where("leadId", "=", leadId)
    .orderBy("position")
    .execute();
  return {
    kind: "lead",
    lead: { ...row.fields, id: row.id, received_at: row.receivedAt.toISOString(), source: row.source },
    contacts: contacts.map((contact) => contact.fields),
    campaign: { id: row.campaignId, name: row.campaignName, money: moneyFields(row.campaignFields) },
  };
}

function invalid(field: string, code: string, message: string): TrialRefusal {
  return { kind: "invalid", fields: [{ field, code, message }] };
}
