import { z } from "zod";
import { isAllowedHost, portOf, readOutboundUrl } from "../channels/address-guard.ts";
import { secretMask } from "../channels/http-settings.ts";

/** A link to another organisation's inbound: for which stage it is offered, and where it leads. */
export const outboundSchema = z.strictObject({
  name: z.string().trim().min(1).max(200),
  url: z
    .string()
    .max(2_000, "must be at most 2000 characters")
    .meta({ description: "the referral URL that the other organisation gave you; https" }),
  key: z
    .string()
    .min(1, "must not be empty")
    .max(500, "must be at most 500 characters")
    .refine(
      (key) => key === secretMask || /^[\x21-\x7e]+$/.test(key),
      "must be the key as it was given, without blanks",
    )
    .meta({ description: "the key that came with it; shown as •••••• , which stands for the one that is stored" }),
  workflowId: z.uuid("must be the id of a workflow"),
  stageId: z.uuid("must be the id of a stage").meta({ description: "of the workflow: deals there may be referred" }),
  enabled: z.boolean().default(true),
});
export type OutboundDocument = z.infer<typeof outboundSchema>;

/**
 * What is wrong with the address of an outbound, in words that follow its name; null where it may be used. What the host
 * means in the network is looked at whenever it is connected to.
 */
export function urlProblem(url: string, allowHosts: readonly string[]): string | null {
  const read = readOutboundUrl(url);
  if (!read.ok) return `must be a referral URL, such as https://crm.example.com/v1/referrals/inbound/…. ${read.detail}`;
  const { protocol, hostname } = read.url;
  if (protocol === "https:" || isAllowedHost(allowHosts, hostname, portOf(read.url))) return null;
  return "must begin with https://: client data goes there";
}

/** The other organisation as a person is told of it: as it named itself, else by the host that the link leads to. */
export function partyOf(outbound: { readonly remoteOrganisation: string | null; readonly url: string }): string {
  return outbound.remoteOrganisation ?? `whoever answers at ${new URL(outbound.url).host}`;
}
