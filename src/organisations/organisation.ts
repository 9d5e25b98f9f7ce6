import { z } from "zod";
import { returnReasonsSchema, usualReturnReasons } from "../returns/return-reasons.ts";
import { currencySchema, minorUnitsSchema, percentSchema, timeZoneSchema } from "../schemas.ts";

/** The document of an organisation, as the API takes and gives it. */
export const organisationSchema = z.strictObject({
  name: z.string().trim().min(1).max(200),
  timeZone: timeZoneSchema,
  currency: currencySchema,
  smsRate: minorUnitsSchema.default(0).meta({ description: "what an SMS segment costs, in minor units" }),
  staffEmail: z
    .email("must be an email address")
    .nullable()
    .default(null)
    .meta({ description: "where alerts to staff go; none are sent where it is null" }),
  address: z.string().trim().min(1).max(1000).nullable().default(null).meta({ description: "on invoices" }),
  taxId: z.string().trim().min(1).max(100).nullable().default(null).meta({ description: "on invoices" }),
  taxName: z.string().trim().min(1).max(40).default("VAT").meta({ description: "what the tax on invoices is called" }),
  taxPercent: percentSchema.default(0).meta({ description: "the tax on invoices; at most four decimals" }),
  invoicePrefix: z
    .string()
    .max(20)
    .regex(/^[\w ./-]*$/, "must be of letters, digits, blanks and . / - _")
    .default("INV-")
    .meta({ description: "goes before an invoice's number" }),
  invoiceDueDays: z.int().min(0).max(365).default(14).meta({ description: "from the day of issue" }),
  returnReasons: returnReasonsSchema.default([...usualReturnReasons]).meta({ description: "what returns may be for" }),
});
/** As it is given: what has a usual value may be left out. */
export type NewOrganisation = z.input<typeof organisationSchema>;
export type OrganisationDocument = z.infer<typeof organisationSchema>;
