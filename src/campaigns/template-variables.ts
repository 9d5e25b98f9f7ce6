import type { FieldValue } from "../channels/contract.ts";
import { sampleVariables } from "../channels/sample-variables.ts";
import type { Field } from "./fields.ts";

export interface TemplateVariable {
  /** As a template writes it: `lead.first_name`. */
  readonly name: string;
  readonly type: string;
  readonly sample: FieldValue;
}

/** Every variable that a partner's templates can print for leads with these fields, with a made-up value. */
export function templateVariables(fields: readonly Field[]): TemplateVariable[] {
  const [sample] = sampleVariables(fields);
  const typeOf = (key: string, value: FieldValue) => fields.find((field) => field.key === key)?.type ?? typeof value;
  const listed = (prefix: string, values: Readonly<Record<string, FieldValue>>) =>
    Object.entries(values).map(([key, value]) => ({
      name: `${prefix}.${key}`,
      type: typeOf(key, value),
      sample: value,
    }));
  return [
    ...listed("lead", sample.lead),
    ...listed("contacts[0]", sample.contacts[0] ?? {}),
    ...listed("campaign", { id: sample.campaign.id, name: sample.campaign.name }),
    ...listed("partner", sample.partner),
    ...listed("delivery", sample.delivery),
  ];
}
