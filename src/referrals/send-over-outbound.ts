import type { HttpRequest, Reply } from "../channels/contract.ts";
import { sendHttp } from "../channels/send-http.ts";
import type { Context } from "../context.ts";
import { newId } from "../db/id.ts";
import { sendContext } from "../delivery/attempt-delivery.ts";
import { mask, recordReply } from "../delivery/record-exchange.ts";
import type { ClaimedReferral } from "./claim-referrals.ts";
import { agreeVersion, judgeReferral, noCommonVersion, type ReferralOutcome } from "./judge-referral.ts";
import { supportedVersions } from "./protocol.ts";

/** What became of one try, whatever kind of link it went over. */
export interface Carried {
  readonly outcome: ReferralOutcome;
  /** Of the answer, where there was one over HTTP. */
  readonly status: number | null;
  /** Masked and cut short. */
  readonly response: Record<string, unknown> | null;
}

const timeoutMs = 30_000;

/** As much of an answer is kept. */
const keptCharacters = 4_000;

/**
 * Sends a referral to the address of its outbound. Every try carries the same content under the same key, so that what arrived
 * without our knowing arrives once. Where the other side does not speak the version, the highest that both know goes at once.
 *
 * What was confirmed was confirmed for one address: an outbound that was switched off, deleted or turned to another address
 * since then gets nothing.
 */
export async function sendOverOutbound(
  context: Context,
  referral: ClaimedReferral,
  spoken: readonly number[] = supportedVersions,
): Promise<Carried> {
  const { outbound } = referral;
  if (outbound === null || outbound.isDeleted) return cancelled("The outbound was deleted before it was sent.");
  if (!outbound.enabled) return cancelled("The outbound was switched off before it was sent.");
  if (outbound.url !== referral.url) return cancelled("The outbound was turned to another address before it was sent.");
  const key = context.vault.decrypt(outbound.keyEncrypted);
  const statusKey = context.vault.decrypt(referral.statusKeyEncrypted);
  const refused = new Set<number>();
  for (let version: number = referral.content.version; ; ) {
    const { content } = referral;
    const document = { ...content, version, status: { ...content.status, key: statusKey } };
    const request = post(outbound.url, key, JSON.stringify(document), [key, statusKey]);
    const reply = maskReply(await sendHttp(request, sendContext(context, referral.id)), request.secrets);
    const judged = judgeReferral(reply, referral.id);
    if (judged.kind !== "other_version") return carried(judged, reply);
    refused.add(version);
    const agreed = agreeVersion(spoken, judged.supported, refused);
    if (agreed === null) {
      return carried({ kind: "refused", reason: noCommonVersion(spoken, judged.supported) }, reply);
    }
    version = agreed;
  }
}

/** Asks the other side about the link, with the outbound's key. */
export async function askAboutLink(context: Context, url: string, key: string): Promise<Reply> {
  const request = { ...post(url, key, "", [key]), method: "GET", headers: [acceptJson], timeoutMs: 10_000 };
  return maskReply(await sendHttp(request, sendContext(context, newId())), request.secrets);
}

const acceptJson = ["accept", "application/json"] as const;

function post(url: string, key: string, body: string, secrets: readonly string[]): HttpRequest {
  return {
    kind: "http",
    method: "POST",
    url,
    headers: [["content-type", "application/json"], acceptJson],
    body,
    timeoutMs,
    followRedirects: false,
    secrets,
    authentication: { type: "bearer", token: key },
  };
}

function cancelled(reason: string): Carried {
  return { outcome: { kind: "cancelled", reason }, status: null, response: null };
}

/** Who echoes our credentials does not get them stored, nor shown in a reason. */
function maskReply(reply: Reply, secrets: readonly string[]): Reply {
  if (reply.kind === "failure") return reply;
  const headers = Object.entries(reply.headers).map(([name, value]) => [name, mask(value, secrets)]);
  return { ...reply, headers: Object.fromEntries(headers), body: mask(reply.body, secrets) };
}

function carried(outcome: ReferralOutcome, reply: Reply): Carried {
  if (reply.kind === "failure") return { outcome, status: null, response: recordReply(reply, []) };
  const short = { ...reply, body: reply.body.slice(0, keptCharacters) };
  return { outcome, status: reply.status, response: recordReply(short, []) };
}
