import { createSign, createVerify, generateKeyPairSync, randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { newName, now } from "./paypal-books.ts";

/** PayPal's webhooks: sent with a signature over their bytes, sent again where they were not taken, and verified for who asks. */

const callTimeoutMs = 10_000;
/** PayPal tries for three days; a demo does not last as long. */
const triesAfterMs = [0, 500, 2_000, 8_000];

export interface WebhookEvent {
  readonly id: string;
  readonly type: string;
  /** The bytes that are sent, each time the same. */
  readonly body: string;
}

export interface Delivery {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class Webhooks {
  readonly #keys = generateKeyPairSync("rsa", { modulusLength: 2048 });
  readonly #urls = new Map<string, string>();
  readonly #stopped = new AbortController();
  readonly #base: () => string;
  readonly events: WebhookEvent[] = [];
  /** Events are kept and not sent while this is off. */
  isSending = true;

  constructor(base: () => string) {
    this.#base = base;
    // Each event that is still to be sent listens.
    setMaxListeners(0, this.#stopped.signal);
  }

  register(url: string, id = newName()): string {
    this.#urls.set(id, url);
    return id;
  }

  stop(): void {
    this.#stopped.abort();
  }

  /** Something happened: every registered address hears of it, after the answer that it happened in. */
  emit(type: string, resourceType: string, resource: object): WebhookEvent {
    const id = `WH-${newName()}-${newName()}`;
    const summary = `${type} of the demo`;
    const document = { id, event_version: "1.0", create_time: now(), resource_type: resourceType, event_type: type };
    const event = { id, type, body: JSON.stringify({ ...document, summary, resource, resource_version: "2.0" }) };
    this.events.push(event);
    if (this.events.length > 1_000) this.events.shift();
    if (this.isSending) for (const webhookId of this.#urls.keys()) void this.#insist(webhookId, event);
    return event;
  }

  /** The request that tells of an event, signed. */
  sign(webhookId: string, { body }: WebhookEvent): Delivery {
    const [id, time] = [randomUUID(), now()];
    const signature = createSign("RSA-SHA256")
      .update(signedText(id, time, webhookId, body))
      .sign(this.#keys.privateKey);
    return {
      url: this.#urls.get(webhookId) ?? "",
      headers: {
        "content-type": "application/json",
        "paypal-transmission-id": id,
        "paypal-transmission-time": time,
        "paypal-transmission-sig": signature.toString("base64"),
        "paypal-cert-url": `${this.#base()}/v1/notifications/certs/CERT-demo`,
        "paypal-auth-algo": "SHA256withRSA",
        "user-agent": "PayPal/AUHD-demo",
      },
      body,
    };
  }

  /** Sends an event once; gives the status it was answered with. */
  async send(webhookId: string, event: WebhookEvent): Promise<number> {
    const { url, headers, body } = this.sign(webhookId, event);
    const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(callTimeoutMs)]);
    const response = await fetch(url, { method: "POST", headers, body, redirect: "manual", signal });
    await response.arrayBuffer();
    return response.status;
  }

  async #insist(webhookId: string, event: WebhookEvent): Promise<void> {
    for (const delayMs of triesAfterMs) {
      try {
        await sleep(delayMs + 20, undefined, { signal: this.#stopped.signal, ref: false });
        if ((await this.send(webhookId, event)) < 300) return;
      } catch {
        if (this.#stopped.signal.aborted) return;
      }
    }
  }

  /** Says SUCCESS for what was sent by us, to this webhook, with these very bytes. */
  verify(rawRequest: string): "SUCCESS" | "FAILURE" | null {
    const mark = '"webhook_event":';
    const at = rawRequest.indexOf(mark);
    const about = readObject(rawRequest);
    if (at === -1 || about === null) return null;
    const given = ["transmission_id", "transmission_time", "transmission_sig", "webhook_id", "auth_algo", "cert_url"];
    const [id, time, sig, webhookId, algo, certUrl] = given.map((name) => about.get(name));
    if (![id, time, sig, webhookId, algo, certUrl].every((value) => typeof value === "string" && value !== ""))
      return null;
    if (algo !== "SHA256withRSA" || !this.#urls.has(String(webhookId))) return "FAILURE";
    const body = rawRequest.slice(at + mark.length).replace(/\}$/, "");
    const text = signedText(String(id), String(time), String(webhookId), body);
    const verifier = createVerify("RSA-SHA256").update(text);
    return verifier.verify(this.#keys.publicKey, Buffer.from(String(sig), "base64")) ? "SUCCESS" : "FAILURE";
  }
}

/** https://developer.paypal.com/api/rest/webhooks/rest/: four parts, the last a checksum of the body as it was sent. */
function signedText(id: string, time: string, webhookId: string, body: string): string {
  return `${id}|${time}|${webhookId}|${crc32(body)}`;
}

function readObject(text: string): Map<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? new Map(Object.entries(value)) : null;
  } catch {
    return null;
  }
}
