import { sendReferralStatus } from "../../queues/send-referral-status.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { recordLeadEvent } from "../leads/lead-events.ts";
import type { Change } from "../organisations/record-change.ts";
import type { StatusCallback } from "./protocol.ts";

export interface StatusReport {
  readonly leadId: string;
  readonly status: StatusCallback["status"];
  readonly reason: string | null;
}

export type ReportStatusResult =
  | { readonly kind: "reported" }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "lead_erased" }
  /** Nobody is told, and why. */
  | { readonly kind: "not_wanted"; readonly why: string };

/**
 * Notes what became of a lead that another organisation referred, and sees to it that they hear of it. What they know already
 * is not told again. Refused where the lead came another way, they do not want to hear, or the inbound does not allow it.
 */
export async function reportStatus(
  context: Context,
  { organisationId, by: actor, at }: Change,
  { leadId, status, reason }: StatusReport,
): Promise<ReportStatusResult> {
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    const lead = await transaction
      .selectFrom("leads")
      .select("state")
      .where("id", "=", leadId)
      .forNoKeyUpdate()
      .executeTakeFirst();
    if (lead === undefined) return { kind: "lead_not_found" } as const;
    if (lead.state === "erased") return { kind: "lead_erased" } as const;
    const arrival = await readReferrer(transaction, leadId);
    const why = whyNotTold(arrival);
    if (arrival === null || why !== null) return { kind: "not_wanted", why: why ?? notReferred } as const;
    if (arrival.status === status && arrival.statusReason === reason) return { kind: "known" } as const;
    const sequence = arrival.statusSequence + 1;
    await transaction
      .updateTable("arrivals")
      .set({ status, statusReason: reason, statusAt: at, statusSequence: sequence })
      .where("id", "=", arrival.id)
      .execute();
    const callback = { arrivalId: arrival.id, sequence, status, reason, reportedAt: at, dueAt: at };
    await transaction
      .insertInto("statusCallbacks")
      .values({ id: newId(), organisationId, state: "due", ...callback })
      .execute();
    const detail = { referrer: arrival.referrer, status, reason };
    await recordLeadEvent(transaction, { organisationId, leadId, kind: "status_reported", actor, detail }, at);
    return { kind: "reported" } as const;
  });
  if (result.kind === "known") return { kind: "reported" };
  if (result.kind === "reported") context.waker.wake(sendReferralStatus, { organisationId });
  return result;
}

/** By whom the lead was referred, and whether they may hear of it. The lead is locked: reports of one come one by one. */
async function readReferrer(transaction: Database, leadId: string) {
  const arrival = await transaction
    .selectFrom("arrivals as a")
    .leftJoin("inbounds as i", "i.id", "a.inboundId")
    .leftJoin("connections as k", "k.id", "a.connectionId")
    .select(["a.id", "a.referrer", "a.inboundId", "a.statusUrl", "a.status", "a.statusReason", "a.statusSequence"])
    .select(["i.name as inboundName", "i.reportsStatus"])
    .select(["k.state as connectionState", "k.reportsStatus as connectionReports"])
    .where("a.leadId", "=", leadId)
    .executeTakeFirst();
  return arrival ?? null;
}

const notReferred = "The lead was not referred by another organisation.";

function whyNotTold(arrival: Awaited<ReturnType<typeof readReferrer>>): string | null {
  if (arrival === null) return notReferred;
  if (arrival.inboundId === null) {
    if (arrival.connectionState === "ended") return "The connection that it came over has been ended.";
    return arrival.connectionReports === true ? null : `The connection from ${arrival.referrer} is not to tell it.`;
  }
  if (arrival.reportsStatus !== true)
    return `The inbound ${arrival.inboundName} does not let its referrers hear of it.`;
  return arrival.statusUrl === null ? `${arrival.referrer} did not say where to report it.` : null;
}
