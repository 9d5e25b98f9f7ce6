import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { readIntakeCampaign } from "../../src/leads/intake-campaign.ts";
import { moveBillingPoint } from "../../src/leads/move-billing-point.ts";
import { receiveLead } from "../../src/leads/receive-lead.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { recordPayment } from "../../src/ledger/record-payment.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";
import { expectSoundLedger } from "../helpers/sound-ledger.ts";

/**
 * A model of money that knows the operations alone, and what each of them means for five numbers. Whatever is done in
 * whatever order, the real thing has the same numbers, on real PostgreSQL, with real requests to a partner.
 */

const sellers = useSellers();

type Point = "accepted" | "qualified" | "converted";
const points: readonly Point[] = ["accepted", "qualified", "converted"];

/** Percentages of the value at each point, in whole percent; they may come to less than all of it. */
type Shares = Readonly<Record<Point, number>>;

interface Terms {
  readonly currency: "JPY" | "GBP" | "KWD";
  readonly valueMinor: number;
  /** Where the answer names the price: the most that it may be; `valueMinor` is the least, and what counts without a name. */
  readonly mostMinor: number | null;
  readonly creditMinor: number;
  readonly shares: Shares;
  /** Of what is paid, to the introducer. */
  readonly costPercent: number;
}

const someTerms: fc.Arbitrary<Terms> = fc.record({
  currency: fc.constantFrom("JPY", "GBP", "KWD"),
  valueMinor: fc.integer({ min: 1, max: 5000 }),
  mostMinor: fc.option(fc.integer({ min: 5000, max: 8000 }), { nil: null }),
  creditMinor: fc.constantFrom(0, 1000, 20_000),
  shares: fc
    .tuple(fc.nat(100), fc.nat(100))
    .map(([a, b]) => ({ accepted: Math.min(a, b), qualified: Math.abs(a - b), converted: 100 - Math.max(a, b) })),
  costPercent: fc.integer({ min: 1, max: 100 }),
});

type Step =
  | { readonly kind: "pay" | "refund"; readonly amountMinor: number }
  /** `namedMinor`: the price that the partner's answer names. */
  | { readonly kind: "sell"; readonly answer: "accept" | "reject"; readonly namedMinor: number | null }
  | { readonly kind: "qualify" | "convert" | "close" | "reverse"; readonly which: number };

const someStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("pay" as const), amountMinor: fc.integer({ min: 1, max: 9000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("refund" as const), amountMinor: fc.integer({ min: 1, max: 4000 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("sell" as const),
      answer: fc.constantFrom("accept", "accept", "reject"),
      namedMinor: fc.option(fc.nat(10_000), { nil: null }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom("qualify", "convert", "close", "reverse"), which: fc.nat() }),
  },
);

/** A whole number of hundredths, rounded half to even. Written anew here: the model shares no arithmetic. */
function percentage(amount: number, percent: number): number {
  const whole = Math.floor((amount * percent) / 100);
  const rest = (amount * percent) % 100;
  return rest > 50 || (rest === 50 && whole % 2 === 1) ? whole + 1 : whole;
}

const decimals = { JPY: 0, GBP: 2, KWD: 3 } as const;

/** As a partner writes it: 1250 is 12.50 in GBP, 1250 in JPY, 1.250 in KWD. */
function written(amountMinor: number, { currency }: Terms): string {
  const digits = String(amountMinor).padStart(decimals[currency] + 1, "0");
  const at = digits.length - decimals[currency];
  return decimals[currency] === 0 ? digits : `${digits.slice(0, at)}.${digits.slice(at)}`;
}

interface Sale {
  readonly valueMinor: number;
  readonly leadId: string;
  readonly deliveryId: string;
  at: Point;
  isOver: boolean;
}

class Model {
  readonly #terms: Terms;
  cash = 0;
  funds = 0;
  reserved = 0;
  revenue = 0;
  payable = 0;
  readonly sales: Sale[] = [];

  constructor(terms: Terms) {
    this.#terms = terms;
  }

  /** What is paid in all of a value when a point is reached. */
  paidAt(point: Point, valueMinor: number): number {
    const { shares } = this.#terms;
    const percent = points.slice(0, points.indexOf(point) + 1).reduce((sum, one) => sum + shares[one], 0);
    return percentage(valueMinor, percent);
  }

  owedAt(point: Point, valueMinor: number): number {
    return percentage(this.paidAt(point, valueMinor), this.#terms.costPercent);
  }

  /** What has to be there for a lead: whatever its price turns out to be. */
  get mostMinor(): number {
    return this.paidAt("converted", this.#terms.mostMinor ?? this.#terms.valueMinor);
  }

  canSell(): boolean {
    return this.funds + this.#terms.creditMinor >= this.mostMinor || this.mostMinor === 0;
  }

  pay(amountMinor: number): void {
    this.cash -= amountMinor;
    this.funds += amountMinor;
  }

  canRefund(amountMinor: number): boolean {
    return amountMinor <= this.funds;
  }

  sell(leadId: string, deliveryId: string, namedMinor: number | null): void {
    const { valueMinor: least, mostMinor } = this.#terms;
    const valueMinor = mostMinor === null ? least : Math.min(Math.max(namedMinor ?? least, least), mostMinor);
    const total = this.paidAt("converted", valueMinor);
    this.funds -= total;
    this.reserved += total - this.paidAt("accepted", valueMinor);
    this.revenue += this.paidAt("accepted", valueMinor);
    this.payable += this.owedAt("accepted", valueMinor);
    this.sales.push({ leadId, deliveryId, valueMinor, at: "accepted", isOver: false });
  }

  /** Whether the point may be moved there; to where it is already, nothing happens. */
  move(sale: Sale, to: Point): "moved" | "refused" {
    if (sale.isOver || points.indexOf(to) < points.indexOf(sale.at)) return "refused";
    const dueMinor = this.paidAt(to, sale.valueMinor) - this.paidAt(sale.at, sale.valueMinor);
    this.reserved -= dueMinor;
    this.revenue += dueMinor;
    this.payable += this.owedAt(to, sale.valueMinor) - this.owedAt(sale.at, sale.valueMinor);
    sale.at = to;
    return "moved";
  }

  close(sale: Sale): "moved" | "refused" {
    if (sale.isOver) return "moved";
    if (sale.at === "converted") return "refused";
    this.#giveBackRest(sale);
    sale.isOver = true;
    return "moved";
  }

  reverse(sale: Sale): void {
    if (!sale.isOver) this.#giveBackRest(sale);
    this.funds += this.paidAt(sale.at, sale.valueMinor);
    this.revenue -= this.paidAt(sale.at, sale.valueMinor);
    this.payable -= this.owedAt(sale.at, sale.valueMinor);
    this.sales.splice(this.sales.indexOf(sale), 1);
  }

  #giveBackRest(sale: Sale): void {
    const rest = this.paidAt("converted", sale.valueMinor) - this.paidAt(sale.at, sale.valueMinor);
    this.reserved -= rest;
    this.funds += rest;
  }
}

interface Shop {
  readonly seller: Seller;
  readonly buyer: Buyer;
  readonly introducer: Buyer;
  readonly campaignId: string;
}

async function openShop(seller: Seller, terms: Terms): Promise<Shop> {
  const { currency, valueMinor, mostMinor, creditMinor, shares, costPercent } = terms;
  const share = (point: Point) => (shares[point] === 0 ? null : { percent: shares[point] });
  const billing = { accepted: share("accepted"), qualified: share("qualified"), converted: share("converted") };
  const answer = mostMinor === null ? null : { min: valueMinor, max: mostMinor };
  const leadValue = { default: valueMinor, rules: [], answer };
  const buyer = await seller.partner({ currency, leadValue, creditLimit: creditMinor, billing }, { price: "$.price" });
  const introducer = await seller.partner({ type: "introducer", currency, leadCost: { percent: costPercent } });
  const routing = [{ method: "priority", partners: [{ partnerId: buyer.id }] }];
  return { seller, buyer, introducer, campaignId: await seller.campaign([], { routing, holdHours: 0 }) };
}

async function pay({ buyer }: Shop, seller: Seller, kind: "payment" | "refund", amountMinor: number) {
  const change = { organisationId: seller.organisationId, by: "staff", at: seller.context.clock() };
  const payment = { partnerId: buyer.id, kind, amountMinor, reason: "", idempotencyKey: null };
  return (await recordPayment(seller.context, change, payment)).kind;
}

let leads = 0;

async function receive({ campaignId, introducer }: Shop, seller: Seller): Promise<string> {
  const campaign = await readIntakeCampaign(seller.context, seller.organisationId, campaignId);
  if (campaign === null) throw new Error("no such campaign");
  leads += 1;
  const received = {
    raw: { first_name: "Ann", email: `model${leads}@example.com` },
    idempotencyKey: null,
    source: null,
  };
  const intake = await receiveLead(
    seller.context,
    { campaign, intakeKeyId: null, introducerId: introducer.id },
    received,
  );
  if (intake.kind !== "answered") throw new Error(intake.reason);
  return intake.answer.leadId;
}

async function move(seller: Seller, deliveryId: string, to: Point | "closed") {
  const result = await moveBillingPoint(
    seller.context,
    seller.organisationId,
    { deliveryId, to, reason: null },
    "staff",
  );
  return result.kind;
}

async function reverse({ buyer }: Shop, seller: Seller, leadId: string) {
  const unreferral = { leadId, partnerId: buyer.id, reason: null, reroute: false };
  return (await unreferLead(seller.context, seller.organisationId, unreferral, "staff")).kind;
}

async function perform(shop: Shop, terms: Terms, model: Model, step: Step): Promise<void> {
  const { seller, buyer } = shop;
  switch (step.kind) {
    case "pay":
      expect(await pay(shop, seller, "payment", step.amountMinor)).toBe("booked");
      model.pay(step.amountMinor);
      break;
    case "refund": {
      const can = model.canRefund(step.amountMinor);
      expect(await pay(shop, seller, "refund", step.amountMinor)).toBe(can ? "booked" : "insufficient_funds");
      if (can) model.pay(-step.amountMinor);
      break;
    }
    case "sell": {
      const price = step.namedMinor === null ? undefined : written(step.namedMinor, terms);
      const body = JSON.stringify({ outcome: step.answer === "accept" ? "success" : "no", price });
      sellers.partners.answer(buyer.name, { body });
      const leadId = await receive(shop, seller);
      await seller.settle();
      const [delivery] = await seller.deliveries(leadId);
      const expected = model.canSell() ? (step.answer === "accept" ? "delivered" : "rejected") : undefined;
      expect(delivery?.state).toBe(expected);
      if (delivery?.state === "delivered") model.sell(leadId, delivery.id, step.namedMinor);
      break;
    }
    default: {
      const sale = model.sales[step.which % Math.max(1, model.sales.length)];
      if (sale === undefined) return;
      if (step.kind === "reverse") {
        expect(await reverse(shop, seller, sale.leadId)).toBe("unreferred");
        model.reverse(sale);
      } else if (step.kind === "close") {
        expect(await move(seller, sale.deliveryId, "closed")).toBe(model.close(sale));
      } else {
        const to = step.kind === "qualify" ? "qualified" : "converted";
        expect(await move(seller, sale.deliveryId, to)).toBe(model.move(sale, to));
      }
    }
  }
}

async function numbersOf({ seller, buyer, introducer }: Shop) {
  const { cash = 0, funds = 0, reserved = 0, revenue = 0 } = await seller.funds(buyer);
  const { payable = 0 } = await seller.funds(introducer);
  return { cash, funds, reserved, revenue, payable };
}

test("property: any sequence of payments, sales, billing points and reversals gives the model's numbers", async () => {
  const seller = await sellers.open();
  await fc.assert(
    fc.asyncProperty(someTerms, fc.array(someStep, { minLength: 8, maxLength: 20 }), async (terms, steps) => {
      const shop = await openShop(seller, terms);
      const model = new Model(terms);
      for (const step of steps) {
        await perform(shop, terms, model, step);
        const { cash, funds, reserved, revenue, payable } = model;
        expect(await numbersOf(shop)).toEqual({ cash, funds, reserved, revenue, payable });
        expect(funds + terms.creditMinor).toBeGreaterThanOrEqual(0);
      }
      await expectSoundLedger(seller);
    }),
    { numRuns: 20 },
  );
}, 120_000);

const someClients = fc.array(fc.array(someStep, { minLength: 6, maxLength: 10 }), { minLength: 16, maxLength: 16 });

test("property: sixteen clients at once never overdraw, lose or double anything", async () => {
  const seller = await sellers.open();
  const twin = await sellers.openTwin(seller);
  await fc.assert(
    fc.asyncProperty(someTerms, someClients, async (terms, clients) => {
      const shop = await openShop(seller, terms);
      sellers.partners.answer(shop.buyer.name, "accept");
      const sold: { leadId: string; deliveryId: string }[] = [];
      let isRunning = true;
      const watching = (async () => {
        while (isRunning) expect((await numbersOf(shop)).funds + terms.creditMinor).toBeGreaterThanOrEqual(0);
      })();
      const runClient = async (steps: readonly Step[], own: Seller) => {
        for (const step of steps) {
          if ("amountMinor" in step) {
            await pay(shop, own, step.kind === "pay" ? "payment" : "refund", step.amountMinor);
          } else if (step.kind === "sell") {
            const leadId = await receive(shop, own);
            await own.settle();
            const [delivery] = await own.deliveries(leadId);
            if (delivery !== undefined) sold.push({ leadId, deliveryId: delivery.id });
          } else {
            const sale = sold[step.which % Math.max(1, sold.length)];
            if (sale === undefined) continue;
            if (step.kind === "reverse") await reverse(shop, own, sale.leadId);
            else if (step.kind === "close") await move(own, sale.deliveryId, "closed");
            else await move(own, sale.deliveryId, step.kind === "qualify" ? "qualified" : "converted");
          }
        }
      };
      await Promise.all(clients.map(async (steps, index) => runClient(steps, index % 2 === 0 ? seller : twin)));
      await seller.settle();
      isRunning = false;
      await watching;
      await expectSoundLedger(seller);
      // When every sale has come to an end, nothing is reserved.
      for (const { deliveryId } of sold) await move(seller, deliveryId, "closed");
      const { cash, funds, reserved, revenue } = await numbersOf(shop);
      expect(reserved).toBe(0);
      expect(cash + funds + revenue).toBe(0);
      await expectSoundLedger(seller);
    }),
    { numRuns: 3 },
  );
}, 180_000);
