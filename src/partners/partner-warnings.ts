import type { Config } from "../config.ts";
import type { Warning } from "../http/api.ts";
import { billingPoints, partsOf, sumOf } from "../prices/billing.ts";
import { limitWarnings } from "./limit-windows.ts";
import type { PartnerDocument } from "./partner.ts";

/** Whether a price that the partner's answer names would be found. */
export function readsPrice({ internet }: Pick<PartnerDocument, "internet">): boolean {
  return internet !== null && internet.price !== undefined;
}

/** What is allowed in a partner's settings and yet hardly meant: each with its field and what follows from it. */
export function partnerWarnings(document: PartnerDocument, config: Pick<Config, "smtp" | "twilio">): Warning[] {
  const { type, internet, email, limits, leadValue, billing } = document;
  const warnings: Warning[] = limitWarnings(limits).map(({ field, message }) => ({
    field: `limits.${field}`,
    message,
  }));
  const warn = (isSo: boolean, field: string, message: string) => {
    if (isSo) warnings.push({ field, message });
  };
  warn(
    type !== "introducer" && internet === null && email === null,
    "internet",
    "No delivery is set up: the partner gets no leads.",
  );
  warn(
    email !== null && config.smtp === null,
    "email",
    "No mail server is configured (SMTP_HOST): nothing can be sent.",
  );
  warn(
    typeof leadValue === "object" && leadValue.answer !== null && !readsPrice(document),
    "leadValue.answer",
    "The partner's answer is to name the price, and no path to it is set (internet.price).",
  );
  const hasAmounts = billingPoints.some((point) => billing?.[point]?.amount !== undefined);
  const wholeMinor = 1_000_000;
  warn(
    !hasAmounts && sumOf(partsOf(wholeMinor, billing)) < wholeMinor,
    "billing",
    `All billing points together are ${sumOf(partsOf(wholeMinor, billing)) / 10_000} % of a lead's value.`,
  );
  return [...warnings, ...alertWarnings(document, config)];
}

function alertWarnings({ contact, alerts, acceptFirst }: PartnerDocument, config: Pick<Config, "twilio">): Warning[] {
  const warnings: Warning[] = [];
  const warn = (isSo: boolean, field: string, message: string) => {
    if (isSo) warnings.push({ field, message });
  };
  warn(
    alerts.fundsSummaryAt !== null && !alerts.fundsSms && !alerts.fundsEmail,
    "alerts.fundsSummaryAt",
    "A summary has a time, and is sent neither by SMS (fundsSms) nor by email (fundsEmail).",
  );
  warn(
    acceptFirst !== null &&
      !(alerts.leadOfferedEmail && contact.email !== null) &&
      !(alerts.leadOfferedSms && contact.phone !== null),
    "acceptFirst",
    "The partner has to accept its leads, and is told of none by email or SMS.",
  );
  warn(
    (alerts.leadReferredSms || alerts.leadOfferedSms || alerts.fundsSms) && contact.phone === null,
    "contact.phone",
    "Alerts by SMS are on and there is no phone number.",
  );
  warn(
    (alerts.leadReferredEmail || alerts.fundsEmail) && contact.email === null,
    "contact.email",
    "Alerts by email are on and there is no address.",
  );
  for (const name of ["leadReferredSms", "leadOfferedSms", "fundsSms"] as const) {
    warn(
      alerts[name] && config.twilio === null,
      `alerts.${name}`,
      "No SMS service is configured (TWILIO_ACCOUNT_SID).",
    );
  }
  return warnings;
}
