import { drainPartner } from "../../queues/drain-partner.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Change, recordChange } from "../organisations/record-change.ts";
import { recheckHoldsOf } from "./resume-partner.ts";

/**
 * A partner takes no leads for a while, by its own wish: apart from `active`, which is staff's, and from the pause of its endpoint,
 * which is trouble. Routing takes it for closed until then. What it was given before still goes to it.
 */

export interface OwnPause {
  /** Instants are ISO 8601. */
  readonly since: string;
  /** null: until the partner resumes. */
  readonly until: string | null;
  readonly by: string;
  readonly reason: string | null;
}

/** Whether the pause holds now. */
export function isPaused(pause: OwnPause | null, now: Date): pause is OwnPause {
  return pause !== null && (pause.until === null || new Date(pause.until) > now);
}

/** Begins a partner's own pause, in place of one that holds. Gives false where there is no such partner. */
export async function pausePartner(
  context: Context,
  change: Change,
  partnerId: string,
  { until, reason }: { readonly until: Date | null; readonly reason: string | null },
): Promise<boolean> {
  const pause = { since: change.at.toISOString(), until: until?.toISOString() ?? null, by: change.by, reason };
  return setPause(context, change, partnerId, pause);
}

/** Ends a partner's own pause: leads that wait for it are looked at again. Gives false where there is no such partner. */
export async function endPause(context: Context, change: Change, partnerId: string): Promise<boolean> {
  return setPause(context, change, partnerId, null);
}

async function setPause(context: Context, change: Change, id: string, pause: OwnPause | null): Promise<boolean> {
  const { organisationId, at } = change;
  const isFound = await inOrganisation(context.database, organisationId, async (transaction) => {
    const before = await transaction
      .selectFrom("partners")
      .select("ownPause")
      .where("id", "=", id)
      .forNoKeyUpdate()
      .executeTakeFirst();
    if (before === undefined) return false;
    if (before.ownPause === null && pause === null) return true;
    await transaction
      .updateTable("partners")
      .set({ ownPause: pause === null ? null : JSON.stringify(pause) })
      .where("id", "=", id)
      .execute();
    // Those that wait for the pause's old end may go now, or have to wait on.
    await recheckHoldsOf(transaction, [id], at);
    await recordChange(transaction, change, { kind: "partner", id }, before, { ownPause: pause });
    return true;
  });
  if (isFound) context.waker.wake(drainPartner, { organisationId, partnerId: id });
  return isFound;
}
