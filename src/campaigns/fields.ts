import { isSupportedCountry } from "libphonenumber-js";
import { z } from "zod";
import { isCurrency } from "../money.ts";

/** The fields that a campaign asks for. What each type takes and gives is in normalise-fields.ts. */

/** Names that a lead has of its own, and names that JavaScript gives a meaning. */
const reservedKeys = ["id", "received_at", "source", "contacts", "__proto__", "constructor", "prototype"];

const keySchema = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, {
    error: "must be 1 to 63 lower-case letters, digits and underscores, and begin with a letter",
    abort: true,
  })
  .refine((key) => !reservedKeys.includes(key), "is reserved: choose another key");

const countrySchema = z.string().regex(/^[A-Z]{2}$/, {
  error: "must be a country of ISO 3166 in two capital letters, such as GB",
  abort: true,
});

export const groupSchema = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,62}$/, "must be lower-case letters, digits and underscores, such as contact");

const ofEveryType = {
  key: keySchema,
  label: z.string().trim().min(1, "must not be empty").max(200, "must be at most 200 characters").optional(),
  required: z.boolean().optional(),
  group: groupSchema.optional().meta({ description: "contact marks the fields of the main contact" }),
  shareable: z.boolean().optional().meta({ description: "goes along when a lead is referred to another organisation" }),
  preview: z.boolean().optional().meta({ description: "whether a partner sees it before it has accepted the lead" }),
};

const choiceSchema = z.string().trim().min(1, "must not be empty").max(200, "must be at most 200 characters");

function inOrder(limits: { readonly min?: number | undefined; readonly max?: number | undefined }): boolean {
  return limits.min === undefined || limits.max === undefined || limits.min <= limits.max;
}
const minAboveMax = { path: ["min"], error: "must not be above max" };

export const fieldTypes = [
  "text",
  "email",
  "phone",
  "date",
  "number",
  "money",
  "boolean",
  "choice",
  "postcode",
] as const;

export const fieldSchema = z.discriminatedUnion(
  "type",
  [
    z.strictObject({
      ...ofEveryType,
      type: z.literal("text"),
      maxLength: z.int().min(1).max(50_000).optional().meta({ description: "in characters; 5000 if absent" }),
    }),
    z.strictObject({ ...ofEveryType, type: z.literal("email") }),
    z.strictObject({
      ...ofEveryType,
      type: z.literal("phone"),
      country: countrySchema
        .refine((country) => isSupportedCountry(country), "has no telephone numbers that we know of")
        .optional()
        .meta({ description: "where a number without a country code belongs" }),
    }),
    z.strictObject({
      ...ofEveryType,
      type: z.literal("date"),
      format: z
        .enum(["dmy", "mdy", "ymd"], "must be dmy, mdy or ymd")
        .optional()
        .meta({ description: "how to read 03/04/2026, which is refused if absent" }),
    }),
    z
      .strictObject({
        ...ofEveryType,
        type: z.literal("number"),
        min: z.number().optional(),
        max: z.number().optional(),
      })
      .refine(inOrder, minAboveMax),
    z
      .strictObject({
        ...ofEveryType,
        type: z.literal("money"),
        min: z.int().optional().meta({ description: "in minor units" }),
        max: z.int().optional().meta({ description: "in minor units" }),
        currency: z
          .string()
          .refine(isCurrency, "must be a currency of ISO 4217 in three capital letters, such as GBP")
          .optional(),
        decimals: z
          .int()
          .min(0)
          .max(4)
          .optional()
          .meta({ description: "if absent those of the currency, without one 2" }),
      })
      .refine(inOrder, minAboveMax),
    z.strictObject({ ...ofEveryType, type: z.literal("boolean") }),
    z.strictObject({
      ...ofEveryType,
      type: z.literal("choice"),
      choices: z
        .array(choiceSchema)
        .min(1, "must hold at least one choice")
        .max(500, "must hold at most 500 choices")
        .refine((choices) => new Set(choices.map(foldCase)).size === choices.length, {
          error: "must differ from each other in more than capital letters",
        }),
    }),
    z.strictObject({ ...ofEveryType, type: z.literal("postcode"), country: countrySchema.optional() }),
  ],
  {
    error: (issue) => (issue.code === "invalid_union" ? `must be one of ${fieldTypes.join(", ")}` : undefined),
  },
);
export type Field = z.infer<typeof fieldSchema>;

/** A campaign's list of fields. Refused: two fields of one key, a reserved key, an option that the type does not have. */
export const fieldsSchema = z
  .array(fieldSchema)
  .min(1, "must hold at least one field")
  .max(200, "must hold at most 200 fields")
  .superRefine((fields, context) => {
    fields.forEach((field, index) => {
      const first = fields.findIndex((other) => other.key === field.key);
      if (first === index) return;
      context.addIssue({ code: "custom", path: [index, "key"], message: `is already the key of field ${first + 1}` });
    });
  });

/** What two spellings of one text have in common. */
export function foldCase(text: string): string {
  return text.normalize("NFC").toLowerCase();
}
