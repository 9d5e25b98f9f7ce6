import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { demoPayPalAccount, type PayPalCatcher } from "../../demo/paypal-catcher.ts";
import { prepaid } from "./configuration.ts";
import { fractionOf } from "./random.ts";
import type { PayPalCapture } from "./record.ts";
import { ask } from "./set-up.ts";
import { type Desk, insist, isDone, pick } from "./staff.ts";

/** Partners that pay through PayPal while leads flow, and PayPal, which tells of it or does not. */
export interface Payers {
  /** Payments until `durationMs` is over; ends when everybody has done what they meant to. */
  pay(durationMs: number, perSecond: number): Promise<void>;
  /** PayPal is out of reach, or is back. Gives how many calls it has reset because of that. */
  setDown(isDown: boolean): number;
  /** Orders that the payer has approved. */
  readonly approvedOrders: readonly string[];
  /** Refunds that PayPal has made. */
  refundCount(): number;
  captures(): readonly PayPalCapture[];
  /** What was told how, for people to read. */
  describe(): string;
  stop(): Promise<void>;
}

interface Approved {
  readonly partner: string;
  readonly atMs: number;
}

interface State {
  readonly desk: Desk;
  readonly payPal: PayPalCatcher;
  readonly accountId: string;
  readonly webhookId: string;
  readonly approved: Map<string, Approved>;
  readonly told: { returns: number; webhooks: number; unsentWebhooks: number; asked: number; resetCalls: number };
  isDown: boolean;
}

/** The organisation takes payments from now on. */
export async function openPayers(desk: Desk, payPal: PayPalCatcher, baseUrl: string): Promise<Payers> {
  payPal.webhooks.isSending = false;
  const webhookId = payPal.webhooks.register(baseUrl);
  const account = {
    environment: "sandbox",
    ...demoPayPalAccount,
    webhookId,
    amounts: { GBP: { minimum: 500, maximum: 1_000_000 } },
  };
  const api = { base: desk.apis[1] ?? "", apiKey: desk.apiKey };
  const { id: accountId } = z
    .looseObject({ id: z.string() })
    .parse(await ask(api, "PUT", "/v1/paypal-account", account));
  const told = { returns: 0, webhooks: 0, unsentWebhooks: 0, asked: 0, resetCalls: 0 };
  const state: State = { desk, payPal, accountId, webhookId, approved: new Map(), told, isDown: false };
  payPal.misbehave(() => misbehave(state));
  const stopping = new AbortController();
  const running = [carryWebhooks(state, stopping.signal), endReviews(state, stopping.signal)];
  return {
    pay: async (durationMs, perSecond) => pay(state, durationMs, perSecond),
    setDown(isDown) {
      state.isDown = isDown;
      return told.resetCalls;
    },
    get approvedOrders() {
      return [...state.approved.keys()];
    },
    refundCount: () => payPal.books.refunds.size,
    captures: () => captures(state),
    describe: () =>
      `${state.approved.size} approved, ${told.returns} returns of browsers, ${told.webhooks} webhooks (${told.unsentWebhooks} events were never told), ${told.asked} × asked by staff, ${payPal.books.refunds.size} refunds`,
    async stop() {
      stopping.abort();
      await Promise.all(running);
    },
  };
}

/** PayPal's own bad days. What is cut off was done. */
function misbehave({ isDown, told, desk: { random } }: State) {
  if (isDown) {
    told.resetCalls += 1;
    return { reset: true };
  }
  const at = random();
  if (at < 0.05) return { status: 500, body: "{}" };
  if (at < 0.09) return { reset: true };
  if (at < 0.15) return { cutOff: true };
  if (at < 0.16) return { hang: true };
  return at < 0.25 ? { delayMs: 400 } : undefined;
}

const payEveryMs = 1_000;

async function pay(state: State, durationMs: number, perSecond: number): Promise<void> {
  const { random } = state.desk;
  const startedAt = performance.now();
  const paying: Promise<void>[] = [];
  for (let number = 1; performance.now() - startedAt < durationMs; number += 1) {
    const partner = pick(random, [prepaid.byPayPal, prepaid.byPayPal, prepaid.byPayPal, "plain"]);
    const leads = 1 + Math.floor(random() * perSecond * 0.15);
    paying.push(payOnce(state, partner, number, Math.round(900 * (leads + random()))));
    await sleep(payEveryMs * (0.5 + random()));
  }
  await Promise.all(paying);
}

const topUpSchema = z.looseObject({ id: z.string(), orderId: z.string() });

async function payOnce(state: State, partner: string, number: number, amount: number): Promise<void> {
  const { desk, payPal } = state;
  const { random } = desk;
  const path = `/v1/partners/${desk.partnerIds.get(partner)}/top-ups`;
  const { answers } = await insist(desk, path, { amount }, `top-up-${number}`);
  const begun = answers.find(isDone);
  // One in twenty payers thinks better of it.
  if (begun === undefined || random() < 0.05) return;
  const { id, orderId } = topUpSchema.parse(begun.body);
  await sleep(1_500 * random());
  state.approved.set(orderId, { partner, atMs: Date.now() });
  const how = random();
  if (how < 0.1) {
    // A card that is refused; the payer takes another, later.
    payPal.approve(orderId, "refused");
    await tellOf(state, id, orderId);
  }
  payPal.approve(orderId, how > 0.8 ? "for_review" : "at_once");
  await tellOf(state, id, orderId);
  await giveBack(state, id, orderId);
}

/** The payer's browser comes back, or does not, or more than once; staff ask. The webhooks go their own way. */
async function tellOf({ desk, payPal, told }: State, id: string, orderId: string): Promise<void> {
  const { random } = desk;
  const returnUrl = new URL(payPal.books.orders.get(orderId)?.returnUrl ?? "");
  const comeBack = async () => {
    await sleep(2_500 * random());
    told.returns += 1;
    const url = `${pick(random, desk.apis)}${returnUrl.pathname}?token=${orderId}`;
    await fetch(url, { signal: AbortSignal.timeout(10_000) })
      .then(async (response) => response.arrayBuffer())
      .catch(() => undefined);
  };
  const returns = Array.from({ length: pick(random, [0, 0, 1, 1, 2, 3]) }, comeBack);
  const asks = random() < 0.2 ? [insist(desk, `/v1/top-ups/${id}/capture`, {})] : [];
  told.asked += asks.length;
  await Promise.all([...returns, ...asks]);
}

/** A part of it goes back: as staff here ask for, as somebody does at PayPal, or as PayPal does after a dispute. */
async function giveBack({ desk, payPal }: State, id: string, orderId: string): Promise<void> {
  const { random } = desk;
  const how = random();
  if (how > 0.35) return;
  await sleep(1_000 + 3_000 * random());
  const [capture] = payPal.books.capturesOf(orderId);
  if (capture === undefined) return;
  const part = Math.ceil(payPal.books.leftOf(capture) * (0.1 + 0.5 * random()));
  if (part === 0) return;
  if (how < 0.2) {
    await insist(desk, `/v1/top-ups/${id}/refunds`, { amount: part, reason: "Paid too much" }, `back-${orderId}`);
  } else if (capture.status === "COMPLETED" || capture.status === "PARTIALLY_REFUNDED") {
    payPal.refundAtPayPal(capture.id, (part / 100).toFixed(2), how < 0.28 ? "REFUNDED" : "REVERSED");
  }
}

/** Each event is told up to three times, late and in any order; one in four never. */
async function carryWebhooks(state: State, signal: AbortSignal): Promise<void> {
  const { desk, payPal, told } = state;
  const { random } = desk;
  const seen = new Set<string>();
  const carrying: Promise<void>[] = [];
  const carry = async (event: PayPalCatcher["webhooks"]["events"][number]) => {
    await sleep(4_000 * random());
    for (let tries = 0; tries < 5 && !signal.aborted; tries += 1) {
      const { headers, body } = payPal.webhooks.sign(state.webhookId, event);
      const url = `${pick(random, desk.apis)}/v1/paypal-webhooks/${state.accountId}`;
      const status = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(10_000) })
        .then((response) => response.status)
        .catch(() => 0);
      if (status === 204) {
        told.webhooks += 1;
        return;
      }
      await sleep(1_500);
    }
  };
  while (!signal.aborted) {
    for (const event of payPal.webhooks.events) {
      if (seen.has(event.id)) continue;
      seen.add(event.id);
      const times = pick(random, [0, 1, 1, 3]);
      if (times === 0) told.unsentWebhooks += 1;
      carrying.push(...Array.from({ length: times }, async () => carry(event)));
    }
    await sleep(150, undefined, { signal }).catch(() => undefined);
  }
  await Promise.all(carrying);
}

/** PayPal looks at what it holds for some seconds, and lets most of it through. */
async function endReviews({ payPal }: State, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const { id, status, createTime } of payPal.books.captures.values()) {
      if (status !== "PENDING" || Date.now() - Date.parse(createTime) < 2_000 + 4_000 * fractionOf(id)) continue;
      payPal.endReview(id, fractionOf(`review of ${id}`) < 0.75 ? "COMPLETED" : "DECLINED");
    }
    await sleep(300, undefined, { signal }).catch(() => undefined);
  }
}

function captures({ payPal: { books }, approved }: State): readonly PayPalCapture[] {
  return [...books.captures.values()].flatMap((capture) => {
    const payer = approved.get(capture.orderId);
    if (capture.status === "PENDING" || capture.status === "DECLINED") return [];
    const amountMinor = minorOf(capture.amount.value);
    const back = books.refundsOf(capture.id).filter(({ status }) => status === "COMPLETED");
    return [
      {
        partner: payer?.partner ?? "nobody who approved it",
        captureId: capture.id,
        amountMinor,
        refundedMinor: back.reduce((sum, { amount }) => sum + minorOf(amount.value), 0),
        approvedAtMs: payer?.atMs ?? Number.POSITIVE_INFINITY,
      },
    ];
  });
}

const minorOf = (value: string): number => Math.round(Number(value) * 100);
