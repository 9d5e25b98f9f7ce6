import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { XMLParser } from "fast-xml-parser";

/** A call that was asked for, and what the one who picks up is put through to. */
export interface ReceivedCall {
  readonly receivedAt: string;
  readonly sid: string;
  readonly to: string;
  readonly from: string;
  /** What is dialled then, and for how many seconds it rings. */
  readonly dialled: string;
  readonly callerId: string;
  readonly ringSeconds: number;
  /** Where the end of that is reported to; null: nowhere. */
  readonly action: string | null;
}

export type AskedCall =
  | { readonly ok: true; readonly call: ReceivedCall }
  | { readonly ok: false; readonly code: number; readonly message: string };

const number = /^\+[1-9]\d{7,14}$/;
const instructions = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: "", parseTagValue: false });

/** Reads a request for a call whose instructions are one `<Dial>` of one `<Number>`; refuses with Twilio's own codes. */
export function readCall(form: URLSearchParams): AskedCall {
  const [to, from, twiml] = [form.get("To") ?? "", form.get("From") ?? "", form.get("Twiml") ?? ""];
  const refuse = (code: number, message: string) => ({ ok: false, code, message }) as const;
  if (to === "") return refuse(21201, "No 'To' number is specified");
  if (!number.test(to)) return refuse(21211, `Invalid 'To' Phone Number: ${to}`);
  if (from === "") return refuse(21213, "'From' phone number is required");
  if (!number.test(from)) return refuse(21212, `Invalid From Number (caller ID): ${from}`);
  if (from === "+15005550001") return refuse(21210, `'From' phone number not verified: ${from}`);
  if (twiml === "") return refuse(21205, "Url parameter is required.");
  const dial: unknown = instructions.parse(twiml)?.Response?.Dial;
  const read = (key: string) => String(new Map(Object.entries(Object(dial))).get(key) ?? "");
  if (!number.test(read("Number"))) return refuse(12100, "Document parse failure");
  const call: ReceivedCall = {
    receivedAt: new Date().toISOString(),
    sid: `CA${randomBytes(16).toString("hex")}`,
    to,
    from,
    dialled: read("Number"),
    callerId: read("callerId"),
    ringSeconds: Number(read("timeout")),
    action: read("action") || null,
  };
  return { ok: true, call };
}

/** Twilio's document of a call that is on its way. */
export function callDocument({ sid, to, from }: ReceivedCall, accountSid: string): object {
  const uri = `/2010-04-01/Accounts/${accountSid}/Calls/${sid}.json`;
  return {
    account_sid: accountSid,
    api_version: "2010-04-01",
    direction: "outbound-api",
    from,
    sid,
    status: "queued",
    to,
    uri,
  };
}

const reportTimeoutMs = 5_000;

/** Reports that the dialled number answered (+44 7700 900999: that it was engaged), as Twilio does when that is over. */
export async function reportCall(
  { sid, dialled, action }: ReceivedCall,
  accountSid: string,
  sign: (address: string, form: URLSearchParams) => string,
  stopped: AbortSignal,
): Promise<void> {
  if (action === null) return;
  const status = dialled === "+447700900999" ? "busy" : "completed";
  const form = new URLSearchParams({
    AccountSid: accountSid,
    CallSid: sid,
    CallStatus: "in-progress",
    DialCallStatus: status,
  });
  try {
    await sleep(50, undefined, { signal: stopped, ref: false });
    await fetch(action, {
      method: "POST",
      headers: { "X-Twilio-Signature": sign(action, form), "User-Agent": "TwilioProxy/1.1" },
      body: form,
      redirect: "manual",
      signal: AbortSignal.any([stopped, AbortSignal.timeout(reportTimeoutMs)]),
    });
  } catch {
    // Whoever asked for reports is away, or we are stopping. Twilio does not insist either.
  }
}
