import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { type BillingPoint, inStages, prepaid } from "./configuration.ts";
import type { EnteredMoney, MovedSale } from "./record.ts";

/** What the trial does as staff while leads flow: over HTTP, to both APIs, again and again until it is answered. */
export interface Desk {
  readonly apis: readonly string[];
  readonly apiKey: string;
  readonly random: () => number;
  /** Ids of partners by their names. */
  readonly partnerIds: ReadonlyMap<string, string>;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface Told {
  /** In the order in which they came; none of them says "later". Empty: nobody answered in all that time. */
  readonly answers: readonly Answer[];
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
  readonly tries: number;
}

const patienceMs = 300_000;

/**
 * Asks until there is an answer that is not "later", each time another API, with the same key and content. One in ten first
 * requests is given up at once, so that its answer is lost; one in ten is sent to two APIs at the same time; and one in ten is sent
 * again although it was answered.
 */
export async function insist(
  desk: Desk,
  path: string,
  body: object,
  key: string | null = null,
  method: "POST" | "PUT" = "POST",
): Promise<Told> {
  const { apis, random } = desk;
  const [isLost, isDouble, isRepeated] = [random() < 0.1, random() < 0.1, random() < 0.1];
  const first = Math.floor(random() * apis.length);
  const sentAtMs = Date.now();
  const sendTo = async (attempt: number, timeoutMs = 5_000) =>
    send(method, `${apis[(first + attempt) % apis.length]}${path}`, desk.apiKey, body, key, timeoutMs);
  if (isLost) await sendTo(0, 1 + 20 * random());
  for (let tries = 1; ; tries += 1) {
    const both = await Promise.all([sendTo(tries), ...(isDouble ? [sendTo(tries + 1)] : [])]);
    const answers = both.filter((answer) => answer !== null);
    if (answers.length > 0) {
      const again = isRepeated ? await sendTo(tries + 1) : null;
      const all = again === null ? answers : [...answers, again];
      return { answers: all, sentAtMs, answeredAtMs: Date.now(), tries: tries + (isLost ? 1 : 0) };
    }
    if (Date.now() - sentAtMs > patienceMs) return { answers: [], sentAtMs, answeredAtMs: Date.now(), tries };
    await sleep(300);
  }
}

/** Null where nobody can say yet: no answer, 429 and 5xx. */
async function send(
  method: string,
  url: string,
  apiKey: string,
  body: object,
  key: string | null,
  timeoutMs: number,
): Promise<Answer | null> {
  try {
    const response = await fetch(url, {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        "content-type": "application/json",
        ...(key === null ? {} : { "idempotency-key": key }),
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(Math.ceil(timeoutMs)),
    });
    const answer: unknown = response.status === 204 ? null : await response.json();
    return response.status >= 500 || response.status === 429 ? null : { status: response.status, body: answer };
  } catch {
    return null;
  }
}

export const isDone = ({ status }: Answer): boolean => status < 300;

const bookedSchema = z.looseObject({ transactionId: z.string() });

/** No statement of an API lasts as long. */
const overAfterMs = 10_000;

/** Every so often staff enter something. */
const enterEveryMs = 750;

/**
 * Staff enter payments, refunds and corrections until `durationMs` is over: most for the partners that pay beforehand, about as
 * much as their leads cost, so that their money runs out and comes back; the rest for partners with credit.
 */
export async function enterMoney(desk: Desk, durationMs: number, perSecond: number): Promise<readonly EnteredMoney[]> {
  const { random } = desk;
  const startedAt = performance.now();
  const entering: Promise<EnteredMoney>[] = [];
  for (let number = 1; performance.now() - startedAt < durationMs; number += 1) {
    const partner = pick(random, [prepaid.byBank, prepaid.byBank, prepaid.byBankHolding, "plain", "funded", "capped"]);
    const leads = 1 + Math.floor(random() * perSecond * 0.2);
    entering.push(enter(desk, partner, number, Math.round(700 * (leads + random()))));
    await sleep(enterEveryMs * (0.5 + random()));
  }
  return Promise.all(entering);
}

async function enter(desk: Desk, partner: string, number: number, amount: number): Promise<EnteredMoney> {
  const { random } = desk;
  const kind = pick(random, ["payment", "payment", "payment", "payment", "refund", "adjustment"]);
  const isTaken = kind === "refund" || (kind === "adjustment" && random() < 0.5);
  // A part of what is usually paid: much of it is refused all the same, for a prepaid partner seldom has more.
  const given = isTaken ? Math.ceil(amount / 3) : amount;
  const mark = `Entry ${number}`;
  const path = `/v1/partners/${desk.partnerIds.get(partner)}/payments`;
  const signed = kind === "adjustment" && isTaken ? -given : given;
  const body = { kind, amount: signed, reason: mark, reference: `chaos ${number}` };
  let told = await insist(desk, path, body, `money-${number}`);
  const { sentAtMs } = told;
  let { tries } = told;
  if (tries > 1 && !told.answers.some(isDone)) {
    // A try that nobody heard of may still be under way, and find enough money there. Once it is over, the key says what is so.
    await sleep(overAfterMs);
    told = await insist(desk, path, body, `money-${number}`);
    tries += told.tries;
  }
  const booked = told.answers.filter(isDone);
  const { answeredAtMs } = told;
  return {
    partner,
    mark: `${mark} (`,
    amountMinor: isTaken ? -given : given,
    told: told.answers.length === 0 ? "nothing" : booked.length > 0 ? "booked" : "refused",
    transactions: booked.map(({ body }) => bookedSchema.parse(body).transactionId),
    sentAtMs,
    answeredAtMs,
    tries,
  };
}

const soldSchema = z.looseObject({ data: z.array(z.looseObject({ id: z.string(), leadId: z.string() })) });

/** What becomes of a sale in the end, in so many steps. */
const ways: readonly (readonly (BillingPoint | "closed")[])[] = [
  [],
  ["qualified"],
  ["converted"],
  ["qualified", "converted"],
  ["closed"],
  ["qualified", "closed"],
];

/** Staff move what was sold to the partner that pays in stages, until they are told to stop: one step of a sale after the other. */
export async function moveSales(desk: Desk, stop: AbortSignal): Promise<readonly MovedSale[]> {
  const seen = new Set<string>();
  const moving: Promise<MovedSale>[] = [];
  while (!stop.aborted) {
    for (const { id } of await listSold(desk, inStages)) {
      if (seen.has(id)) continue;
      seen.add(id);
      moving.push(moveSale(desk, id, pick(desk.random, ways)));
    }
    await sleep(1_000, undefined, { signal: stop }).catch(() => undefined);
  }
  return Promise.all(moving);
}

async function moveSale(desk: Desk, deliveryId: string, way: readonly (BillingPoint | "closed")[]): Promise<MovedSale> {
  let point: BillingPoint = "accepted";
  let isClosed = false;
  const failed: string[] = [];
  for (const to of way) {
    await sleep(2_000 * desk.random());
    const { answers } = await insist(desk, `/v1/deliveries/${deliveryId}/billing-point`, { point: to });
    // It was given back meanwhile.
    if (answers.some(isReturned)) break;
    if (!answers.some(isDone)) failed.push(`${to}: ${JSON.stringify(answers)}`);
    else if (to === "closed") isClosed = true;
    else point = to;
  }
  return { deliveryId, point, isClosed, failed };
}

const problemSchema = z.looseObject({ code: z.string().optional() });
const isReturned = ({ status, body }: Answer) => status === 409 && problemSchema.parse(body).code === "delivery_state";

/** The newest; none where nobody answers just now. */
export async function listSold(desk: Desk, partner: string): Promise<readonly { id: string; leadId: string }[]> {
  const partnerId = desk.partnerIds.get(partner) ?? "";
  const found = await look(desk, "/v1/deliveries", { partnerId, state: "delivered", limit: "200" });
  return found === null ? [] : soldSchema.parse(found).data;
}

/** Null where nobody answers just now. */
export async function look(desk: Desk, path: string, query: Readonly<Record<string, string>>): Promise<unknown> {
  try {
    const response = await fetch(`${pick(desk.random, desk.apis)}${path}?${new URLSearchParams(query)}`, {
      headers: { authorization: `Bearer ${desk.apiKey}` },
      signal: AbortSignal.timeout(5_000),
    });
    const answer: unknown = await response.json();
    return response.ok ? answer : null;
  } catch {
    return null;
  }
}

export function pick<T>(random: () => number, from: readonly T[]): T {
  const picked = from[Math.floor(random() * from.length)];
  if (picked === undefined) throw new Error("There is nothing to pick from.");
  return picked;
}
