import { type MailCatcher, startMailCatcher } from "./mail-catcher.ts";
import { type PartnerFormat, partnerFormats } from "./partner-formats.ts";
import { type PartnerServer, startPartnerServer } from "./partner-server.ts";
import { type PayPalCatcher, startPayPalCatcher } from "./paypal-catcher.ts";
import { type SmsCatcher, startSmsCatcher } from "./sms-catcher.ts";

export interface DemoReceivers {
  readonly partners: PartnerServer;
  /** Where each partner takes leads. */
  readonly partnerUrls: Readonly<Record<PartnerFormat, string>>;
  readonly mail: MailCatcher;
  readonly sms: SmsCatcher;
  readonly payPal: PayPalCatcher;
  /** `host:port` of each, for HANDOFF_ALLOW_HOSTS: they are on private addresses. */
  readonly allowHosts: readonly string[];
  stop(): Promise<void>;
}

export interface DemoReceiverOptions {
  readonly host?: string;
  readonly httpPort?: number;
  readonly smtpPort?: number;
  readonly smsPort?: number;
  readonly payPalPort?: number;
  /** Where a payer's browser reaches the pages of the demo's PayPal, where that is by another name. */
  readonly payPalPagesUrl?: string | null;
}

/**
 * Starts the six kinds of partner, the SMS service and the PayPal that the demo and the tests talk to: real servers that
 * check what they get. A port left out is a free one; a port that is taken is an error that names it.
 */
export async function startDemoReceivers(options: DemoReceiverOptions = {}): Promise<DemoReceivers> {
  const { host = "127.0.0.1", httpPort = 0, smtpPort = 0, smsPort = 0, payPalPort = 0, payPalPagesUrl } = options;
  const started: { stop(): Promise<void> }[] = [];
  const keep = <T extends { stop(): Promise<void> }>(receiver: T): T => {
    started.unshift(receiver);
    return receiver;
  };
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((receiver) => receiver.stop()));
  };
  try {
    const partners = keep(await startPartnerServer(host, httpPort));
    const mail = keep(await startMailCatcher(host, smtpPort));
    const sms = keep(await startSmsCatcher(host, smsPort));
    const payPal = keep(await startPayPalCatcher(host, payPalPort, payPalPagesUrl ?? null));
    const urls = partnerFormats.map((format) => [format, `${partners.url}/${format}`] as const);
    const allowHosts = [new URL(partners.url).host, `${host}:${mail.port}`, new URL(sms.url).host];
    return { partners, partnerUrls: toRecord(urls), mail, sms, payPal, allowHosts, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function toRecord(urls: readonly (readonly [PartnerFormat, string])[]): Record<PartnerFormat, string> {
  const record = { xml: "", json: "", soap11: "", soap12: "", post: "" };
  for (const [format, url] of urls) {
    record[format] = url;
  }
  return record;
}
