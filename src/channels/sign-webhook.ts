import { createHmac } from "node:crypto";

/**
 * Standard Webhooks (https://www.standardwebhooks.com). Takes the body exactly as it will be sent; gives the headers
 * that sign it. The secret is `whsec_` followed by base64, or is taken as it stands.
 */
export function signWebhook(
  secret: string,
  message: { readonly id: string; readonly sentAt: Date; readonly body: string },
): readonly (readonly [name: string, value: string])[] {
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice("whsec_".length), "base64") : Buffer.from(secret);
  const timestamp = String(Math.floor(message.sentAt.getTime() / 1000));
  const signature = createHmac("sha256", key).update(`${message.id}.${timestamp}.${message.body}`).digest("base64");
  return [
    ["webhook-id", message.id],
    ["webhook-timestamp", timestamp],
    ["webhook-signature", `v1,${signature}`],
  ];
}
