import { sql } from "kysely";
import { insertAlerts, paymentProblemAlert } from "../alerts/insert-alerts.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { recordSet } from "../db/record-set.ts";
import type { Change } from "../organisations/record-change.ts";
import type { Problem } from "./decide-top-up.ts";

/** What a problem is about; both null for what belongs to no payment. */
interface About {
  readonly partnerId: string | null;
  readonly topUpId: string | null;
}

/**
 * Records problems and tells staff by email, in the transaction that met them: each once. One that is met again is counted.
 * Gives whether there is mail to send.
 */
export async function recordProblems(
  transaction: Database,
  organisationId: string,
  problems: readonly Problem[],
  about: About,
  at: Date,
): Promise<boolean> {
  if (problems.length === 0) return false;
  const rows = problems.map(({ key, kind, what }) => ({ id: newId(), key, kind, what }));
  await sql`
    insert into payment_problems (id, organisation_id, key, kind, what, partner_id, top_up_id, created_at, last_at)
    select g.id, ${organisationId}::uuid, g.key, g.kind, g.what, ${about.partnerId}::uuid, ${about.topUpId}::uuid,
      ${at}::timestamptz, ${at}::timestamptz
    from ${recordSet(rows, "id uuid, key text, kind text, what text")} as g
    on conflict (organisation_id, key) do update
      set count = payment_problems.count + 1, last_at = excluded.last_at
  `.execute(transaction);
  const alerts = problems.map(({ key, what }) => paymentProblemAlert(about.partnerId, key, what));
  return (await insertAlerts(transaction, organisationId, alerts, at)) > 0;
}

/** Marks a problem as dealt with. Gives "not_found" where there is none; one that was resolved before stays as it was. */
export async function resolveProblem(
  context: Context,
  { organisationId, by, at }: Change,
  id: string,
  note: string | null,
): Promise<"resolved" | "not_found"> {
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const found = await transaction.selectFrom("paymentProblems").select("id").where("id", "=", id).executeTakeFirst();
    if (found === undefined) return "not_found";
    await transaction
      .updateTable("paymentProblems")
      .set({ resolvedAt: at, resolvedBy: by, note })
      .where("id", "=", id)
      .where("resolvedAt", "is", null)
      .execute();
    return "resolved";
  });
}
