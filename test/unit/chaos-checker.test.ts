import { describe, expect, test } from "@jest/globals";
import { check, type Evidence, type Verdict } from "../../bench/chaos/checker.ts";
import type { PartnerPlan } from "../../bench/chaos/configuration.ts";
import type { ReceivedRequest } from "../../bench/chaos/record.ts";

/** The checker of `npm run chaos` says 0 of everything when all is well, and finds each thing that must not be. */

const partner = (name: string, change: Partial<PartnerPlan> = {}): PartnerPlan => ({
  name,
  method: "json",
  weight: 1,
  priceMinor: 1000,
  creditMinor: 100_000,
  dayLimit: 0,
  mix: {},
  open: null,
  document: {},
  ...change,
});

const request = (number: number, change: Partial<ReceivedRequest> = {}): ReceivedRequest => ({
  number,
  atMs: 1_000_000,
  partner: "ash",
  key: `d${number}`,
  leadId: `lead-${number}`,
  body: "same",
  answered: "good",
  taken: true,
  ...change,
});

const answer = (number: number): Evidence["answered"][number] => ({
  number,
  campaign: "exclusive",
  leadId: `lead-${number}`,
  status: "received",
  sentAtMs: 0,
  answeredAtMs: 1,
  tries: 1,
  contradicted: false,
});

const lead = (number: number, state = "sold", campaign = "exclusive") => ({
  id: `lead-${number}`,
  campaign,
  state,
  email: `person.${number}@example.com`,
});

const delivery = (number: number, state = "delivered", name = "ash") => ({
  id: `d${number}`,
  leadId: `lead-${number}`,
  partner: name,
  state,
});

/** Three leads, sold to ash. */
const well: Evidence = {
  partners: [partner("ash"), partner("birch")],
  campaigns: [
    { name: "exclusive", saleLimit: 1, share: 0.5 },
    { name: "shared", saleLimit: 2, share: 0.5 },
  ],
  answered: [1, 2, 3].map(answer),
  requests: [1, 2, 3].map((number) => request(number)),
  forbidden: 0,
  mails: [],
  final: {
    leads: [1, 2, 3].map((number) => lead(number)),
    deliveries: [1, 2, 3].map((number) => delivery(number)),
    charges: [1, 2, 3].map((number) => ({ deliveryId: `d${number}`, kind: "post", amountMinor: 1000 })),
    accounts: [
      { partner: "ash", paidMinor: 3000, reservedMinor: 0 },
      { partner: "birch", paidMinor: 0, reservedMinor: 0 },
    ],
    entriesSum: 0,
    balancesWrong: 0,
    alertsOpen: 0,
  },
};

const withFinal = (change: Partial<Evidence["final"]>): Evidence => ({ ...well, final: { ...well.final, ...change } });
const withPartner = (change: Partial<PartnerPlan>): Evidence => ({
  ...well,
  partners: [partner("ash", change), partner("birch")],
});
const withRequest = (change: Partial<ReceivedRequest>): Evidence => ({
  ...well,
  requests: [...well.requests, request(1, { number: 4, ...change })],
});

/** The figures that are not 0. */
const found = (evidence: Evidence): Partial<Verdict["figures"]> =>
  Object.fromEntries(Object.entries(check(evidence).figures).filter(([, figure]) => figure !== 0));

test("where all is well every figure is 0", () => {
  expect(check(well)).toMatchObject({ final: { sold: 3 }, duplicateRequests: 0, examples: [] });
  expect(found(well)).toEqual({});
});

describe("lost", () => {
  test.each<[string, Evidence]>([
    ["a lead that was answered and is not stored", { ...well, answered: [1, 2, 3, 4].map(answer) }],
    [
      "a lead that is stored with another's content",
      withFinal({ leads: [lead(1), lead(2), { ...lead(3), email: "person.7@example.com" }] }),
    ],
    ["a partner that had to get leads and got too few", withPartner({ mustGet: 4 })],
    [
      "a lead that is sold to a partner who knows nothing of it",
      { ...well, requests: [request(1), request(2), request(3, { taken: false, answered: "error" })] },
    ],
  ])("%s", (_name, evidence) => expect(found(evidence)).toEqual({ lost: 1 }));

  test.each(["received", "held", "duplicate", "unsold"])("a lead that ends as %s though it was sold", (state) => {
    expect(found(withFinal({ leads: [lead(1), lead(2), lead(3, state)] }))).toEqual({ lost: 1 });
  });

  test("a lead that is unsold although there are partners who take every lead", () => {
    const evidence = withFinal({
      leads: [lead(1), lead(2), lead(3, "unsold")],
      deliveries: [delivery(1), delivery(2), delivery(3, "failed")],
      charges: well.final.charges.slice(0, 2),
      accounts: [{ partner: "ash", paidMinor: 2000, reservedMinor: 0 }],
    });
    expect(found(evidence)).toEqual({ lost: 1 });
  });
});

describe("sold_twice", () => {
  test("an exclusive lead that two partners took", () => {
    expect(found(withRequest({ partner: "birch", key: "d9" }))).toEqual({ sold_twice: 1 });
  });

  test("a lead that one partner took under two keys", () => {
    expect(found(withRequest({ key: "d9" }))).toEqual({ sold_twice: 1, changed_key: 1 });
  });

  test("not a lead that two partners took of a campaign which sells to two", () => {
    const evidence = { ...withRequest({ partner: "birch", key: "d9" }) };
    const leads = [lead(1, "sold", "shared"), lead(2), lead(3)];
    expect(found({ ...evidence, final: { ...evidence.final, leads } })).toEqual({});
  });

  test("a lead that one partner got by mail and another by HTTP", () => {
    expect(found({ ...well, mails: [{ key: "m1", leadId: "lead-1" }] })).toEqual({ sold_twice: 1 });
  });
});

describe("charged_twice", () => {
  const charge = (deliveryId: string, amountMinor = 1000, kind = "post") => ({ deliveryId, kind, amountMinor });
  test.each<[string, Evidence["final"]["charges"]]>([
    ["twice", [...well.final.charges, charge("d1")]],
    ["not at all", well.final.charges.slice(1)],
    ["and given back", [...well.final.charges, charge("d1", 1000, "reverse")]],
    ["too little", [charge("d1", 999), ...well.final.charges.slice(1)]],
  ])("a delivery that was charged %s", (_name, charges) => {
    expect(found(withFinal({ charges }))).toEqual({ charged_twice: 1 });
  });

  test("a partner who has paid or promised another sum than what it bought", () => {
    const accounts = [
      { partner: "ash", paidMinor: 4000, reservedMinor: 0 },
      { partner: "birch", paidMinor: 0, reservedMinor: 500 },
    ];
    expect(found(withFinal({ accounts }))).toEqual({ charged_twice: 2 });
  });
});

describe("cap_overshoot", () => {
  test.each([
    ["a daily limit", { dayLimit: 2 }],
    ["what the credit pays", { creditMinor: 2_500 }],
  ])("a lead beyond %s", (_name, change) => expect(found(withPartner(change))).toEqual({ cap_overshoot: 1 }));
});

describe("outside_schedule", () => {
  test.each<[string, number, number]>([
    ["before the opening", 2_000_000, 3_000_000],
    ["long after the closing", 0, 900_000],
  ])("requests %s", (_name, from, to) => {
    expect(found(withPartner({ open: [[from, to]] }))).toEqual({ outside_schedule: 3 });
  });

  test("not requests that were on their way when the partner closed", () => {
    expect(found(withPartner({ open: [[0, 995_000]] }))).toEqual({});
  });

  test("a request one moment after the closing, where the time is set", () => {
    const evidence = withPartner({ open: [[0, Date.parse("2026-03-29T01:30:00Z")]] });
    const requests = [request(1, { clock: "2026-03-29T01:30:00.000Z" }), request(2), request(3)];
    expect(found({ ...evidence, requests })).toEqual({ outside_schedule: 1 });
  });
});

test("ledger_sum: entries that do not add up, and balances that are not those of their entries", () => {
  expect(found(withFinal({ entriesSum: -1, balancesWrong: 1 }))).toEqual({ ledger_sum: 2 });
});

test("stored_twice: a lead that is stored twice, or was answered with two ids", () => {
  const leads = [...well.final.leads, { ...lead(4), email: "person.1@example.com" }];
  const deliveries = [...well.final.deliveries, delivery(4)];
  const evidence = withFinal({ leads, deliveries });
  expect(found(evidence)).toMatchObject({ stored_twice: 1 });
  expect(found({ ...well, answered: [answer(1), answer(2), { ...answer(3), contradicted: true }] })).toEqual({
    stored_twice: 1,
  });
});

test("changed_key: a request that came again with another key or body", () => {
  expect(found(withRequest({ body: "other" }))).toEqual({ changed_key: 1 });
  expect(found(withRequest({ key: "d9", taken: false, answered: "error" }))).toEqual({ changed_key: 1 });
});

test("reached_forbidden: a request at the private address", () => {
  expect(found({ ...well, forbidden: 1 })).toEqual({ reached_forbidden: 1 });
});

test("not_ended: deliveries and alerts under way, and leads that were never answered", () => {
  expect(found(withFinal({ alertsOpen: 2 }))).toEqual({ not_ended: 1 });
  expect(found({ ...well, answered: [...well.answered, { ...answer(4), leadId: null }] })).toEqual({ not_ended: 1 });
  const deliveries = [...well.final.deliveries, { ...delivery(4, "held"), leadId: "lead-3" }];
  expect(found(withFinal({ deliveries }))).toEqual({ not_ended: 1 });
});

test("duplicate_requests are counted by what became of the request before", () => {
  const verdict = check({
    ...well,
    requests: [request(1, { answered: "busy", taken: false }), ...well.requests, request(1, { number: 5 })],
  });
  expect(verdict.duplicateRequests).toBe(2);
  expect(Object.keys(verdict.duplicatesBy)).toHaveLength(2);
  expect(verdict.duplicatesBy).toMatchObject({ "answered 429": 1 });
});
