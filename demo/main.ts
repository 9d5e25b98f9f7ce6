import { startDemoReceivers } from "./receivers.ts";

/** The receivers as a program of their own, for docker-compose.yml: PARTNER_PORT, MAIL_PORT, SMS_PORT, PAYPAL_PORT, HOST. */
const port = (name: string, usual: number): number => Number(process.env[name] ?? usual);

const receivers = await startDemoReceivers({
  host: process.env.HOST ?? "0.0.0.0",
  httpPort: port("PARTNER_PORT", 4000),
  smtpPort: port("MAIL_PORT", 4025),
  smsPort: port("SMS_PORT", 4010),
  payPalPort: port("PAYPAL_PORT", 4020),
  payPalPagesUrl: process.env.PAYPAL_PAGES_URL ?? null,
});
process.stdout.write(
  `The demo receivers are ready: ${receivers.partners.url} (what came, as a page), ${receivers.sms.url}/messages, ${receivers.payPal.url} (payments).\n`,
);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    receivers.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
}
