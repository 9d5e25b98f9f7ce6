import { z } from "zod";
import { limitsSchema } from "../partners/limit-windows.ts";
import { billingSchema } from "../prices/billing.ts";
import { priceSchema } from "../prices/price.ts";
import { currencySchema, timeZoneSchema, whenBlockedSchema } from "../schemas.ts";
import { fieldsSchema } from "./fields.ts";
import { filterSchema } from "./filter.ts";

/** The document of a campaign, as the API takes and gives it. Money is in minor units of the partner's currency. */

export const routingMethods = ["priority", "round_robin", "weighted", "highest_price"] as const;

export const routingPartnerSchema = z.strictObject({
  partnerId: z.uuid("must be the id of a partner"),
  /** Lower goes first. */
  priority: z.int().min(0).max(1_000_000).default(10),
  weight: z.int().min(1).max(1_000_000).default(1),
  /** null: the campaign's lead value in the partner's currency, else the partner's own. */
  price: priceSchema.nullable().default(null),
  /** null: the partner's. */
  billing: billingSchema.nullable().default(null),
  filter: filterSchema.nullable().default(null),
  limits: limitsSchema.nullable().default(null),
});

export const routingGroupSchema = z.strictObject({
  id: z.uuid().optional(),
  name: z.string().min(1).max(100).optional(),
  method: z.enum(routingMethods, `must be one of ${routingMethods.join(", ")}`).default("priority"),
  saleLimit: z.int().min(0).max(100).default(0),
  partners: z.array(routingPartnerSchema).max(1000),
});

export const duplicatesSchema = z.strictObject({
  match: z.array(z.string().min(1)).min(1, "must name at least one field").max(10),
  mode: z.enum(["any", "all"], "must be any or all").default("any"),
  days: z.int().min(1).max(3650).default(30),
});

const campaignValueSchema = z.strictObject({ currency: currencySchema, price: priceSchema });

export const campaignSchema = z.strictObject({
  name: z.string().trim().min(1).max(200),
  active: z.boolean().default(true),
  timeZone: timeZoneSchema,
  saleLimit: z.int().min(0).max(100).default(1),
  routeAfterMinutes: z
    .int()
    .min(0)
    .max(10_080)
    .default(0)
    .meta({ description: "how long a lead is left to agents, who may hand it over by telephone, before it is routed" }),
  holdHours: z.int().min(0).max(8760).default(72),
  whenClosed: whenBlockedSchema.default("next"),
  whenCapped: whenBlockedSchema.default("next"),
  whenUnfunded: whenBlockedSchema.default("next"),
  whenUncertain: z.enum(["staff", "next"], "must be staff or next").default("staff"),
  fields: fieldsSchema,
  duplicates: duplicatesSchema.nullable().default(null),
  leadValues: z
    .array(campaignValueSchema)
    .max(20)
    .default([])
    .meta({ description: "what its leads cost partners of each currency; goes before a partner's own lead value" }),
  routing: z.array(routingGroupSchema).max(100).default([]),
});

export type CampaignDocument = z.infer<typeof campaignSchema>;
export type RoutingGroup = Omit<z.infer<typeof routingGroupSchema>, "id"> & { readonly id: string };
export type CampaignValue = z.infer<typeof campaignValueSchema>;
export type Duplicates = z.infer<typeof duplicatesSchema>;
