import { parsePhoneNumberFromString } from "libphonenumber-js/max";
import { z } from "zod";
import { emailSettingsSchema, internetSettingsSchema } from "../channels/settings.ts";
import { billingSchema } from "../prices/billing.ts";
import { leadCostSchema } from "../prices/lead-cost.ts";
import { priceSchema } from "../prices/price.ts";
import { returnPolicySchema } from "../returns/return-policy.ts";
import { currencySchema, minorUnitsSchema, timeZoneSchema, whenBlockedSchema } from "../schemas.ts";
import { acceptFirstSchema } from "./accept-first.ts";
import { limitsSchema } from "./limit-windows.ts";
import { scheduleSchema, timeOfDay } from "./schedule.ts";

/** The document of a partner, as the API takes and gives it. Money is in minor units of the partner's currency. */

export const phoneSchema = z
  .string()
  .transform((text, context) => {
    const phone = parsePhoneNumberFromString(text);
    if (phone?.isPossible() === true) return phone.number as string;
    context.addIssue({
      code: "custom",
      message: "must be a phone number with its country code, such as +442079460000",
    });
    return z.NEVER;
  })
  .pipe(z.string());

const contactSchema = z.strictObject({
  name: z.string().trim().max(200).nullable().default(null),
  email: z.email("must be an email address").nullable().default(null),
  phone: phoneSchema.nullable().default(null),
  /** Where an agent transfers a caller to. */
  transferPhone: phoneSchema.nullable().default(null),
  address: z.string().trim().min(1).max(1000).nullable().default(null).meta({ description: "on invoices" }),
  taxId: z.string().trim().min(1).max(100).nullable().default(null).meta({ description: "on invoices" }),
});

const alertsSchema = z.strictObject({
  leadReferredSms: z.boolean().default(false),
  leadReferredEmail: z.boolean().default(false),
  leadOfferedSms: z.boolean().default(false),
  leadOfferedEmail: z.boolean().default(true),
  fundsSms: z.boolean().default(false),
  fundsEmail: z.boolean().default(false),
  fundsSummaryAt: z
    .string()
    .regex(timeOfDay, "must be a time of day from 00:00 to 23:59, such as 18:00")
    .nullable()
    .default(null)
    .meta({
      description: "in the partner's time zone: a summary each day at this time, instead of low and out of funds",
    }),
});

export const partnerTypes = ["introducer", "partner", "both"] as const;

export const partnerSchema = z.strictObject({
  name: z.string().trim().min(1).max(200),
  type: z.enum(partnerTypes, `must be one of ${partnerTypes.join(", ")}`).default("partner"),
  active: z.boolean().default(true),
  timeZone: timeZoneSchema,
  currency: currencySchema,
  leadValue: priceSchema.default(0),
  billing: billingSchema.nullable().default(null),
  creditLimit: minorUnitsSchema.default(0),
  lowFundsThreshold: minorUnitsSchema
    .default(0)
    .meta({ description: "funds are low when less than this is available; 0: never" }),
  /** What it is paid for leads that it introduces; an intake key may say otherwise. */
  leadCost: leadCostSchema.nullable().default(null),
  /** What was agreed about returns; null: none by the partner itself. */
  returns: returnPolicySchema.nullable().default(null),
  contact: contactSchema.prefault({}),
  limits: limitsSchema.prefault({}),
  schedule: scheduleSchema.nullable().default(null),
  acceptFirst: acceptFirstSchema
    .nullable()
    .default(null)
    .meta({ description: "whether it accepts each lead before it gets it, and how long it has for that" }),
  /** null: as the campaign says. */
  whenClosed: whenBlockedSchema.nullable().default(null),
  whenCapped: whenBlockedSchema.nullable().default(null),
  whenUnfunded: whenBlockedSchema.nullable().default(null),
  alerts: alertsSchema.prefault({}),
  internet: internetSettingsSchema.nullable().default(null),
  email: emailSettingsSchema.nullable().default(null),
  concurrency: z.int().min(1).max(100).default(10),
  ratePerMinute: z.int().min(0).max(100_000).default(0),
  spreadSeconds: z.int().min(0).max(3600).default(5),
});

export type PartnerDocument = z.infer<typeof partnerSchema>;
export type PartnerContact = z.infer<typeof contactSchema>;
export type PartnerAlerts = z.infer<typeof alertsSchema>;
