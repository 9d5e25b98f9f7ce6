import { z } from "zod";
import { limitsSchema } from "../partners/limit-windows.ts";
import { scheduleSchema } from "../partners/schedule.ts";

/** What of its own settings a partner may change, or ask to be changed. */
export const ownSettingsSchema = z.strictObject({ limits: limitsSchema, schedule: scheduleSchema.nullable() });
export type OwnSettings = z.infer<typeof ownSettingsSchema>;

export const ownSettingsPatch = z.strictObject({
  limits: limitsSchema.optional(),
  schedule: scheduleSchema.nullable().optional(),
});
export type OwnSettingsPatch = z.infer<typeof ownSettingsPatch>;

export const settingsChangeStates = ["pending", "approved", "rejected", "replaced"] as const;
export type SettingsChangeState = (typeof settingsChangeStates)[number];
