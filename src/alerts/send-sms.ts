import { z } from "zod";
import type { Config } from "../config.ts";
import type { Context } from "../context.ts";
import { type AlertOutcome, failForGood, retryLater } from "./alert-outcome.ts";
import type { ClaimedAlert } from "./claim-alerts.ts";
import { explainTwilioError } from "./explain-twilio-error.ts";
import type { SmsText } from "./fit-sms.ts";
import { NoAnswer, refusalOf, twilioClient } from "./twilio-client.ts";

/** Where Twilio reports what became of a message. It signs its requests with this address, so both sides write it alike. */
export function smsStatusUrl(config: Config): string {
  return `${config.publicUrl.replace(/\/+$/, "")}/v1/alerts/sms-status`;
}

/**
 * Hands an SMS to Twilio. Refused for good where Twilio says that this message will never go (4xx); to be tried again
 * when it is busy, fails or cannot be reached: a message that a failed answer hid may then arrive twice.
 */
export async function sendSms(
  context: Context,
  alert: ClaimedAlert,
  { body, segments }: SmsText,
): Promise<AlertOutcome> {
  const { config } = context;
  if (config.twilio === null) {
    return failForGood(
      "not_configured",
      "No SMS service is configured (TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_FROM).",
    );
  }
  const { from } = config.twilio;
  const client = twilioClient(context, config.twilio, alert.id);
  const message = { to: alert.recipient, from, body };
  try {
    const created = await client.messages
      .create({ ...message, statusCallback: smsStatusUrl(config) })
      // Twilio takes no address that only this machine or its network can reach: then the message goes without reports.
      .catch(async (error: unknown) =>
        refusalOf(error)?.code === badStatusCallback ? client.messages.create(message) : Promise.reject(error),
      );
    return { kind: "sent", code: null, providerId: z.string().min(1).parse(created.sid), segments };
  } catch (error) {
    return judge(error);
  }
}

const badStatusCallback = 21609;

/** Client errors that say "later", not "no". */
const passingStatuses: ReadonlySet<number> = new Set([408, 425, 429]);

function judge(error: unknown): AlertOutcome {
  if (error instanceof NoAnswer)
    return retryLater(`sms_${error.code}`, `The SMS service could not be asked: ${error.message}`);
  const refusal = refusalOf(error);
  if (refusal !== null) {
    const { status, code, message } = refusal;
    const reason =
      code === undefined
        ? `The SMS service answered with status ${status} and no reason.`
        : explainTwilioError(code, message ?? null);
    const isFinal = status >= 400 && status < 500 && !passingStatuses.has(status);
    return (isFinal ? failForGood : retryLater)(`twilio_${code ?? status}`, reason);
  }
  if (error instanceof SyntaxError || error instanceof z.ZodError) {
    return retryLater("sms_answer", "The SMS service's answer could not be read.");
  }
  throw error;
}
