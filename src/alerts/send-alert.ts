import type { Context } from "../context.ts";
import { type AlertOutcome, failForGood, retryLater } from "./alert-outcome.ts";
import type { ClaimedAlert } from "./claim-alerts.ts";
import { renderAlertMail, renderAlertSms } from "./render-alert.ts";
import { sendAlertMail } from "./send-alert-mail.ts";
import { maximumAttempts } from "./settle-alerts.ts";

/** Renders and sends one alert and logs what came of it, without a word of what it says or to whom. Never throws. */
export async function sendAlert(context: Context, organisationId: string, alert: ClaimedAlert): Promise<AlertOutcome> {
  const startedMs = performance.now();
  const outcome = await attempt(context, organisationId, alert).catch((error: unknown) =>
    failUnexpectedly(context, alert, error),
  );
  const { id, kind, channel, attemptCount } = alert;
  const durationMs = Math.round(performance.now() - startedMs);
  const entry = { organisationId, alertId: id, kind, channel, attempt: attemptCount, result: outcome.kind };
  context.log.info({ ...entry, code: outcome.code, durationMs }, "alert.attempted");
  return outcome;
}

async function attempt(context: Context, organisationId: string, alert: ClaimedAlert): Promise<AlertOutcome> {
  if (alert.attemptCount > maximumAttempts) {
    return failForGood("interrupted", "The worker stopped during the last attempt; whether it was sent is not known.");
  }
  if (alert.leadState === "erased")
    return failForGood("lead_erased", "The lead was erased before this alert was sent.");
  if (alert.kind === "lead_offered" && !isOfferOpen(alert, context.clock()))
    return failForGood("offer_over", "The offer was answered or over before this alert was sent.");
  if (alert.channel === "sms") {
    const sms = await renderAlertSms(context, alert);
    if (!sms.ok) return failForGood("template", sms.reason);
    // Twilio's code is 20 MiB, which a worker that sends no SMS does without.
    const { sendSms } = await import("./send-sms.ts");
    return sendSms(context, alert, sms.content);
  }
  const mail = await renderAlertMail(context, organisationId, alert);
  return mail.ok ? sendAlertMail(context, alert, mail.content) : failForGood("template", mail.reason);
}

function isOfferOpen({ deliveryState, offerUntil }: ClaimedAlert, now: Date): boolean {
  return deliveryState === "offered" && offerUntil !== null && offerUntil > now;
}

/** Our own fault, so the log gets the place. The message stays out of it: it may quote what the alert says. */
function failUnexpectedly(context: Context, alert: ClaimedAlert, error: unknown): AlertOutcome {
  const name = error instanceof Error ? error.name : typeof error;
  const frames = error instanceof Error ? (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line)) : [];
  context.log.error({ alertId: alert.id, error: name, stack: frames.slice(0, 12).join("\n") }, "alert.broke_off");
  return retryLater("internal", "Something went wrong inside Handoff; the log says where.");
}
