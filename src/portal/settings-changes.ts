import { isDeepStrictEqual } from "node:util";
import { sendAlerts } from "../../queues/send-alerts.ts";
import { insertAlerts } from "../alerts/insert-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { FieldError } from "../errors.ts";
import type { PartnerCaller } from "../http/authenticate.ts";
import { parseFields } from "../http/validate.ts";
import type { Change } from "../organisations/record-change.ts";
import { changePartnerIn, wakeAfterChange } from "../partners/store-partner.ts";
import { accessSchema } from "../people/permissions.ts";
import { changesInWords } from "./changes-in-words.ts";
import { type OwnSettings, type OwnSettingsPatch, ownSettingsPatch } from "./own-settings.ts";

export type AskResult =
  | { readonly kind: "changed" | "waiting" | "unchanged" | "not_allowed" }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] };

type Asker = Pick<PartnerCaller, "organisationId" | "partnerId" | "userId" | "actor">;

/**
 * A partner changes its own limits and opening hours: at once, or as a request that staff decide, as the user's access says. Either
 * takes the place of a request that waits. What is so already is no change.
 */
export async function changeOwnSettings(context: Context, asker: Asker, given: OwnSettingsPatch): Promise<AskResult> {
  const { organisationId, partnerId, userId, actor } = asker;
  const change = { organisationId, by: actor, at: context.clock() };
  const { result, stored } = await inOrganisation(context.database, organisationId, async (transaction) => {
    const user = await readUser(transaction, userId);
    if (user.mayChange === "no") return { result: { kind: "not_allowed" } as const, stored: null };
    const present = await lockSettings(transaction, partnerId);
    if (present === null) throw new Error(`Partner ${partnerId} is gone; partners are never deleted.`);
    const patch = differing(present, given);
    if (Object.keys(patch).length === 0) return { result: { kind: "unchanged" } as const, stored: null };
    const isAtOnce = user.mayChange === "at_once";
    const stored = isAtOnce ? await changePartnerIn(transaction, context.vault, change, partnerId, patch) : null;
    if (stored?.kind === "invalid") return { result: stored, stored: null };
    await replacePending(transaction, change, partnerId);
    if (!isAtOnce) await insertRequest(transaction, change, asker, patch, present);
    return { result: { kind: isAtOnce ? "changed" : "waiting" } as const, stored };
  });
  if (stored !== null) wakeAfterChange(context, organisationId, partnerId, stored);
  if (result.kind === "waiting") context.waker.wake(sendAlerts, { organisationId });
  return result;
}

export interface SettingsDecision {
  readonly id: string;
  readonly decision: "approved" | "rejected";
  /** For the partner. */
  readonly note: string | null;
}

export type DecideSettingsResult =
  | { readonly kind: "decided" | "not_found" }
  | { readonly kind: "decided_before"; readonly state: string; readonly by: string | null }
  /** What was to be changed is not as it was when that was asked for. */
  | { readonly kind: "changed_since"; readonly what: readonly string[] }
  | { readonly kind: "invalid"; readonly fields: readonly FieldError[] };

/**
 * Approves or rejects a change that a partner asked for, once, and tells who asked. Approved, it is checked by the rules of now; it
 * is refused where the same settings were changed meanwhile, so that nobody's change is undone unseen.
 */
export async function decideSettingsChange(
  context: Context,
  change: Change,
  decision: SettingsDecision,
): Promise<DecideSettingsResult> {
  const { organisationId } = change;
  const { result, stored } = await inOrganisation(context.database, organisationId, async (transaction) => {
    const found = await readRequest(transaction, decision.id);
    const present = found === null ? null : await lockSettings(transaction, found.partnerId);
    // Again, now that nobody else decides or replaces it.
    const request = present === null ? null : await readRequest(transaction, decision.id);
    if (present === null || request === null) return { result: { kind: "not_found" } as const, stored: null };
    const { state, decidedBy: by, partnerId } = request;
    if (state !== "pending") return { result: { kind: "decided_before", state, by } as const, stored: null };
    if (decision.decision === "rejected") {
      await settle(transaction, change, request, decision);
      return { result: { kind: "decided" } as const, stored: null };
    }
    const refusal = refusalOf(request, present);
    if (refusal !== null) return { result: refusal, stored: null };
    const stored = await changePartnerIn(transaction, context.vault, change, partnerId, request.patch);
    if (stored.kind === "invalid") return { result: stored, stored: null };
    await settle(transaction, change, request, decision);
    return { result: { kind: "decided" } as const, stored: { partnerId, changed: stored } };
  });
  if (stored !== null) wakeAfterChange(context, organisationId, stored.partnerId, stored.changed);
  if (result.kind === "decided") context.waker.wake(sendAlerts, { organisationId });
  return result;
}

/** Why a request cannot be approved as things are; null where it can. */
function refusalOf(
  { patch, before }: SettingsRequest,
  present: OwnSettings,
): Extract<DecideSettingsResult, { kind: "changed_since" | "invalid" }> | null {
  const parsed = parseFields(ownSettingsPatch, patch);
  if (!parsed.ok) return { kind: "invalid", fields: parsed.fields };
  const now = pick(present, patch);
  return isDeepStrictEqual(now, before) ? null : { kind: "changed_since", what: changesInWords(before, now) };
}

async function readUser(transaction: Database, userId: string) {
  const { access } = await transaction
    .selectFrom("users")
    .select("access")
    .where("id", "=", userId)
    .executeTakeFirstOrThrow();
  return { mayChange: accessSchema.parse(access).mayChangeSettings };
}

/** The partner's settings, which nobody else changes until the transaction ends; null where there is no such partner. */
async function lockSettings(transaction: Database, partnerId: string): Promise<OwnSettings | null> {
  const row = await transaction
    .selectFrom("partners")
    .select(["limits", "schedule"])
    .where("id", "=", partnerId)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return row ?? null;
}

/** What of the patch is not so already. */
function differing(present: OwnSettings, given: OwnSettingsPatch): OwnSettingsPatch {
  // As it will be stored: what is left out of a schedule is not there.
  const { limits, schedule } = ownSettingsPatch.parse(JSON.parse(JSON.stringify(given)));
  return {
    ...(limits === undefined || isDeepStrictEqual(limits, present.limits) ? {} : { limits }),
    ...(schedule === undefined || isDeepStrictEqual(schedule, present.schedule) ? {} : { schedule }),
  };
}

/** Of the settings those that the patch names. */
function pick({ limits, schedule }: OwnSettings, patch: OwnSettingsPatch): OwnSettingsPatch {
  return {
    ...(patch.limits === undefined ? {} : { limits }),
    ...(patch.schedule === undefined ? {} : { schedule }),
  };
}

async function replacePending(transaction: Database, { by, at }: Change, partnerId: string): Promise<void> {
  await transaction
    .updateTable("settingsChanges")
    .set({ state: "replaced", decidedAt: at, decidedBy: by })
    .where("partnerId", "=", partnerId)
    .where("state", "=", "pending")
    .execute();
}

async function insertRequest(
  transaction: Database,
  { organisationId, by, at }: Change,
  { partnerId, userId }: Asker,
  patch: OwnSettingsPatch,
  present: OwnSettings,
): Promise<void> {
  const id = newId();
  const before = pick(present, patch);
  const request = { id, organisationId, partnerId, state: "pending", askedAt: at, askedBy: by } as const;
  const undecided = { askedByUserId: userId, decidedAt: null, decidedBy: null, note: null };
  await transaction
    .insertInto("settingsChanges")
    .values({ ...request, ...undecided, patch: JSON.stringify(patch), before: JSON.stringify(before) })
    .execute();
  const detail = { change: id, asked_by: by, what: changesInWords(before, patch).join("; ") };
  const about = { kind: "settings_change_open", channel: "email", recipient: null, partnerId } as const;
  const alert = { ...about, key: `settings-change-open-${id}`, leadId: null, deliveryId: null, detail };
  await insertAlerts(transaction, organisationId, [alert], at);
}

async function readRequest(transaction: Database, id: string) {
  const row = await transaction
    .selectFrom("settingsChanges")
    .select(["id", "partnerId", "patch", "before", "state", "decidedBy", "askedByUserId"])
    .where("id", "=", id)
    .executeTakeFirst();
  return row ?? null;
}

type SettingsRequest = NonNullable<Awaited<ReturnType<typeof readRequest>>>;

/** Ends a request and tells who asked, if they still sign in. */
async function settle(
  transaction: Database,
  { organisationId, by, at }: Change,
  { id, partnerId, patch, before, askedByUserId }: SettingsRequest,
  { decision, note }: SettingsDecision,
): Promise<void> {
  await transaction
    .updateTable("settingsChanges")
    .set({ state: decision, decidedAt: at, decidedBy: by, note })
    .where("id", "=", id)
    .where("state", "=", "pending")
    .execute();
  const asker = await transaction
    .selectFrom("users")
    .select("email")
    .where("id", "=", askedByUserId)
    .where("disabledAt", "is", null)
    .executeTakeFirst();
  if (asker === undefined) return;
  const detail = { change: id, decision, note, what: changesInWords(before, patch).join("; ") };
  const about = { kind: "settings_change_decided", channel: "email", recipient: asker.email, partnerId } as const;
  const alert = { ...about, key: `settings-change-decided-${id}`, leadId: null, deliveryId: null, detail };
  await insertAlerts(transaction, organisationId, [alert], at);
}
