import type { Reply } from "../channels/contract.ts";
import { sendMail } from "../channels/send-mail.ts";
import type { Context } from "../context.ts";
import { type AlertOutcome, failForGood, retryLater } from "./alert-outcome.ts";
import type { ClaimedAlert } from "./claim-alerts.ts";
import type { AlertMail } from "./render-alert.ts";

const timeoutMs = 20_000;

/** How much of what a mail server says is kept with the alert. */
const longestReply = 300;

/** Hands a mail to the operator's mail server. Every attempt of one alert bears the same Message-ID. */
export async function sendAlertMail(context: Context, alert: ClaimedAlert, mail: AlertMail): Promise<AlertOutcome> {
  const { smtp } = context.config;
  if (smtp === null) {
    return failForGood("not_configured", "No mail server is configured (SMTP_HOST, SMTP_PORT and SMTP_FROM).");
  }
  const reply = await sendMail(
    { kind: "mail", ...mail, timeoutMs, secrets: [] },
    {
      // The operator's own server may be a private one.
      allowHosts: [`${smtp.host}:${smtp.port}`],
      idempotencyKey: alert.id,
      now: context.clock,
      smtp,
    },
  );
  return judge(reply);
}

function judge(reply: Reply): AlertOutcome {
  if (reply.kind === "failure") {
    // What cannot be put into a mail will not be one the next time either; everything else may pass.
    const isFinal = reply.code === "protocol" && reply.arrived === "no";
    return (isFinal ? failForGood : retryLater)(`smtp_${reply.code}`, reply.detail);
  }
  const said = reply.body.slice(0, longestReply);
  const code = `smtp_${reply.status}`;
  if (reply.status < 300) return { kind: "sent", code: null, providerId: said, segments: null };
  if (reply.status < 500) return retryLater(code, `The mail server says that it cannot take the mail now: ${said}`);
  return failForGood(code, `The mail server refused the mail: ${said}`);
}
