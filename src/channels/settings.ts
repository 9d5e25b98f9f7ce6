import { z } from "zod";
import { jsonSettingsSchema } from "./json.ts";
import { postSettingsSchema } from "./post.ts";
import { soap11SettingsSchema, soap12SettingsSchema } from "./soap.ts";
import { xmlSettingsSchema } from "./xml.ts";

export { type EmailSettings, emailSettingsSchema } from "./email.ts";
export { keepMaskedSecrets, mapSecrets, maskSecrets, secretPaths } from "./secrets.ts";

/** The settings of the channels over HTTP: one document, told apart by its `method`. */
export const internetSettingsSchema = z.discriminatedUnion(
  "method",
  [jsonSettingsSchema, xmlSettingsSchema, soap11SettingsSchema, soap12SettingsSchema, postSettingsSchema],
  { error: "must have a method: json, xml, soap11, soap12 or post" },
);

export type InternetSettings = z.infer<typeof internetSettingsSchema>;
