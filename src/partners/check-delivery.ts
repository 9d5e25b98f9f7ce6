import type { Field } from "../campaigns/fields.ts";
import { checkEmailSettings, checkInternetSettings } from "../channels/check-settings.ts";
import { type SampleField, sampleVariables } from "../channels/sample-variables.ts";
import { createTrialTime, type TrialTime } from "../channels/trial-time.ts";
import type { Database } from "../db/database.ts";
import type { FieldError } from "../errors.ts";
import type { DeliverySettings } from "./delivery-settings.ts";

/** For all campaigns of a partner together, or all partners of a campaign. */
export const checkMs = 2_000;

/** A campaign whose leads the settings have to fit. */
export interface FittedCampaign {
  readonly name: string;
  readonly fields: readonly SampleField[];
}

/**
 * Tries settings (secrets in the clear or masked) on sample leads of each campaign; what cannot be rendered within `time`
 * is named by its field before a real lead meets it. Without a campaign, whatever fields the templates name are taken to be
 * there.
 */
export async function checkDelivery(
  settings: DeliverySettings,
  campaigns: readonly FittedCampaign[],
  time: TrialTime = createTrialTime(checkMs),
): Promise<readonly FieldError[]> {
  const fitted = campaigns.length > 0 ? campaigns : [{ name: "", fields: namedFields(settings) }];
  const found = new Map<string, FieldError>();
  for (const { name, fields } of fitted) {
    const samples = sampleVariables(fields);
    const { internet, email } = settings;
    const problems = [
      ...(internet === null ? [] : await checkInternetSettings(internet, samples, time)).map(
        (problem) => ["internet", problem] as const,
      ),
      ...(email === null ? [] : await checkEmailSettings(email, samples, time)).map(
        (problem) => ["email", problem] as const,
      ),
    ];
    for (const [part, problem] of problems) {
      const field = `${part}.${problem.field}`;
      const message = fitted.length > 1 ? `${problem.message} (campaign ${name})` : problem.message;
      if (!found.has(field)) found.set(field, { field, code: "not_renderable", message });
    }
    // What is over its time has been named for that.
    if (time.isOver()) break;
  }
  return [...found.values()];
}

/** Every name after a dot in the templates, as a text field: which of them a campaign has is not known yet. */
export function namedFields(settings: object): Field[] {
  const names = new Set<string>();
  for (const [block] of JSON.stringify(settings).matchAll(/\{[{%][\s\S]*?[%}]\}/g)) {
    for (const [, name] of block.matchAll(/\.\s*([a-z][a-z0-9_]{0,62})\b/g)) if (name !== undefined) names.add(name);
  }
  return [...names].map((key) => ({ key, type: "text", group: "contact" }));
}

/** The campaigns whose routing names this partner. */
export async function readFittedCampaigns(
  transaction: Database,
  partnerId: string,
): Promise<readonly FittedCampaign[]> {
  const campaigns = await transaction.selectFrom("campaigns").select(["name", "fields", "routing"]).execute();
  return campaigns.filter(({ routing }) =>
    routing.some((group) => group.partners.some((partner) => partner.partnerId === partnerId)),
  );
}
