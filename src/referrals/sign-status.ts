import { signWebhook } from "../channels/sign-webhook.ts";
import { equalDigests } from "../encrypt.ts";

/** A signature that is older or newer than this is refused: what was overheard cannot be sent again later. */
const toleranceMs = 5 * 60_000;

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * The headers that sign a status callback, by Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA-256 over
 * `<webhook-id>.<webhook-timestamp>.<body>`. The key is the referral's `status.key`.
 */
export function signStatus(
  key: string,
  message: { readonly id: string; readonly sentAt: Date; readonly body: string },
) {
  return signWebhook(key, message);
}

/** Whether the key of a referral signed this body within the last five minutes. Compared in constant time. */
export function isSignedStatus(key: string, headers: Headers, body: string, now: Date): boolean {
  const id = textOf(headers["webhook-id"]);
  const timestamp = textOf(headers["webhook-timestamp"]);
  if (id === "" || !/^\d{1,12}$/.test(timestamp)) return false;
  if (Math.abs(now.getTime() - Number(timestamp) * 1000) > toleranceMs) return false;
  const signed = signWebhook(key, { id, sentAt: new Date(Number(timestamp) * 1000), body });
  const expected = Buffer.from(new Map(signed).get("webhook-signature") ?? "");
  return textOf(headers["webhook-signature"])
    .split(" ")
    .some((signature) => equalDigests(Buffer.from(signature), expected));
}

function textOf(header: string | readonly string[] | undefined): string {
  return typeof header === "string" ? header : "";
}
