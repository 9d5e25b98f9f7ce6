import { afterAll, beforeAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import { minor } from "../../demo/paypal-books.ts";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";
import { type BegunTopUp, openPaymentBench, type PaymentBench } from "../helpers/payments.ts";

/** Whatever happens at PayPal, here and in between, and in whatever order it is heard of: the books come to what PayPal holds. */

let bench: PaymentBench;
beforeAll(async () => {
  bench = await openPaymentBench();
});
afterAll(async () => bench.close());

const step = fc.oneof(
  fc.record({
    do: fc.constant("approve" as const),
    how: fc.constantFrom("at_once" as const, "for_review" as const, "refused" as const),
  }),
  fc.record({ do: fc.constant("end review" as const), as: fc.constantFrom("COMPLETED" as const, "DECLINED" as const) }),
  fc.record({
    do: fc.constant("refund at PayPal" as const),
    share: fc.constantFrom(0.2, 0.5, 1),
    how: fc.constantFrom("REFUNDED" as const, "REVERSED" as const),
  }),
  fc.record({ do: fc.constant("refund by staff" as const), share: fc.constantFrom(0.2, 0.5, 1), isHeld: fc.boolean() }),
  fc.record({ do: fc.constant("end refunds" as const), as: fc.constantFrom("COMPLETED" as const, "FAILED" as const) }),
  fc.record({
    do: fc.constant("hear" as const),
    from: fc.constantFrom("return" as const, "poll" as const, "staff" as const),
  }),
  fc.record({ do: fc.constant("webhook" as const), which: fc.nat() }),
  fc.record({
    do: fc.constant("trouble" as const),
    calls: fc.integer({ min: 1, max: 3 }),
    how: fc.constantFrom("lost" as const, "busy" as const),
  }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const amountMinor = 10_000;

/** Most stories begin with money at PayPal, so that what follows is about money that is there. */
const beginnings: Readonly<Record<string, readonly Step[]>> = {
  nothing: [],
  paid: [
    { do: "approve", how: "at_once" },
    { do: "hear", from: "return" },
  ],
  "under review": [
    { do: "approve", how: "for_review" },
    { do: "hear", from: "return" },
  ],
  "a refund under way": [
    { do: "approve", how: "at_once" },
    { do: "hear", from: "return" },
    { do: "refund by staff", share: 0.5, isHeld: true },
  ],
};

async function take(topUp: BegunTopUp, what: Step): Promise<void> {
  const { payPal, client } = bench;
  const [capture] = payPal.books.capturesOf(topUp.orderId);
  switch (what.do) {
    case "approve":
      return payPal.approve(topUp.orderId, what.how);
    case "end review":
      return capture === undefined ? undefined : payPal.endReview(capture.id, what.as);
    case "refund at PayPal": {
      if (capture === undefined || capture.status === "PENDING" || capture.status === "DECLINED") return;
      const back = Math.floor((payPal.books.leftOf(capture) * what.share) / 100);
      if (back > 0) payPal.refundAtPayPal(capture.id, `${back}.00`, what.how);
      return;
    }
    case "refund by staff":
      payPal.holdRefunds(what.isHeld);
      await client.call("POST", `/v1/top-ups/${topUp.id}/refunds`, {
        amount: amountMinor * what.share,
        reason: "Asked",
      });
      return payPal.holdRefunds(false);
    case "end refunds":
      for (const { id } of payPal.books.refundsOf(capture?.id ?? "")) payPal.endRefund(id, what.as);
      return;
    case "hear":
      if (what.from === "return") await bench.comeBack(topUp);
      else if (what.from === "staff") await client.call("POST", `/v1/top-ups/${topUp.id}/capture`);
      else {
        await bench.makeDue();
        await bench.poll();
      }
      return;
    case "webhook": {
      const { events } = payPal.webhooks;
      if (events.length > 0) await bench.sendWebhook(what.which % events.length);
      return;
    }
    case "trouble": {
      let left = what.calls;
      return payPal.misbehave(({ url }) => {
        if (url.pathname.endsWith("/token") || left === 0) return undefined;
        left -= 1;
        return what.how === "lost" ? { cutOff: true } : { status: 503 };
      });
    }
  }
}

test("after any sequence of events, told in any order and number, each capture is credited once and each refund taken once", async () => {
  const { payPal } = bench;
  const story = fc.record({
    beginning: fc.constantFrom(...Object.values(beginnings)),
    steps: fc.array(step, { minLength: 3, maxLength: 12 }),
    order: fc.array(fc.nat(), { minLength: 1, maxLength: 8 }),
  });
  await fc.assert(
    fc.asyncProperty(story, async ({ beginning, steps, order }) => {
      payPal.webhooks.events.length = 0;
      const partner = await bench.partner();
      const topUp = await bench.topUp(partner, amountMinor);
      for (const one of [...beginning, ...steps]) await take(topUp, one);
      payPal.misbehave(null);
      // All that was said until now comes again, out of order; then PayPal is asked once more, twice.
      const { events } = payPal.webhooks;
      for (const number of order) if (events.length > 0) await bench.sendWebhook(number % events.length);
      await bench.sendWebhooks();
      for (let round = 0; round < 2; round += 1) {
        await bench.makeDue();
        await bench.poll();
      }

      const captures = payPal.books.capturesOf(topUp.orderId);
      const isPaid = captures.some(({ status }) => status !== "PENDING" && status !== "DECLINED");
      const refunds = captures.flatMap(({ id }) => payPal.books.refundsOf(id));
      const gone = refunds.filter(
        ({ status, customId }) => status === "COMPLETED" || (status === "PENDING" && customId !== null),
      );
      const expected = (isPaid ? amountMinor : 0) - gone.reduce((sum, { amount }) => sum + minor(amount), 0);
      const { balance, cash, transactions } = await bench.books(partner);
      expect({ balance, cash }).toEqual({ balance: expected, cash: expected === 0 ? 0 : -expected });
      const shown = await bench.read(topUp.id);
      const states = (Object(shown.body) as { refunds: { state: string; taken: boolean }[] }).refunds;
      expect(states.filter(({ taken }) => taken).length).toBe(gone.length);
      expect(states.filter(({ state }) => state === "requested")).toEqual([]);
      // A refund that was not made in the end was taken and given back.
      const { payment = 0, refund = 0 } = transactions;
      expect(payment - (isPaid ? 1 : 0)).toBe(refund - gone.length);
    }),
    { numRuns: 24 },
  );
  const rules = await verifyLedger(bench.server.owner, null);
  expect(rules.filter(({ wrong }) => wrong > 0)).toEqual([]);
}, 120_000);
