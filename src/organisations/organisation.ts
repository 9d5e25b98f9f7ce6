import { z } from "zod";
import { currencySchema, minorUnitsSchema, timeZoneSchema } from "../schemas.ts";

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
});
export type OrganisationDocument = z.infer<typeof organisationSchema>;
