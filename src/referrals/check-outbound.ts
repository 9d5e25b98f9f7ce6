import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { storable } from "../delivery/record-exchange.ts";
import { agreeVersion, judgeLink, noCommonVersion } from "./judge-referral.ts";
import { supportedVersions } from "./protocol.ts";
import { askAboutLink } from "./send-over-outbound.ts";

/** What the other side of a link says of itself, and whether a deal could go there. */
export interface OutboundCheck {
  readonly works: boolean;
  /** In plain words. */
  readonly text: string;
  readonly organisation: string | null;
  readonly inbound: string | null;
  readonly versions: readonly number[] | null;
}

/**
 * Asks the other side of an outbound whether the link works, and keeps how it names itself. Ends within ten seconds. Gives
 * null where the organisation has no such outbound.
 */
export async function checkOutbound(
  context: Context,
  organisationId: string,
  id: string,
): Promise<OutboundCheck | null> {
  const outbound = await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .selectFrom("outbounds")
      .select(["url", "keyEncrypted"])
      .where("id", "=", id)
      .where("deletedAt", "is", null)
      .executeTakeFirst(),
  );
  if (outbound === undefined) return null;
  const { url } = outbound;
  const checked = judgeLink(await askAboutLink(context, url, context.vault.decrypt(outbound.keyEncrypted)));
  if (checked.kind === "does_not") {
    const text = `The link does not work. ${storable(checked.reason)}`;
    return { works: false, text, organisation: null, inbound: null, versions: null };
  }
  const { versions } = checked.link;
  const [organisation, inbound] = [storable(checked.link.organisation), storable(checked.link.inbound)];
  await inOrganisation(context.database, organisationId, async (transaction) =>
    transaction
      .updateTable("outbounds")
      .set({ remoteOrganisation: organisation })
      .where("id", "=", id)
      .where("url", "=", url)
      .execute(),
  );
  const leadsTo = `It leads to the inbound “${inbound}” of ${organisation}.`;
  const version = agreeVersion(supportedVersions, versions, new Set());
  const text =
    version === null
      ? `The link does not work. ${leadsTo} ${noCommonVersion(supportedVersions, versions)}`
      : `The link works. ${leadsTo} Both sides speak version ${version} of the referral protocol.`;
  return { works: version !== null, text, organisation, inbound, versions };
}
