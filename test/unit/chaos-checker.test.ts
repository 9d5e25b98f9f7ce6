import { describe, expect, test } from "@jest/globals";
import type { PartnerStatement, StatementEntry } from "../../bench/chaos/check-money.ts";
import { check, type Evidence, type Verdict } from "../../bench/chaos/checker.ts";
import type { PartnerPlan } from "../../bench/chaos/configuration.ts";
import type { EnteredMoney, ReceivedRequest, ReturnedLead } from "../../bench/chaos/record.ts";

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

/** The first lead, referred to the other organisation by key, arrived there and won. */
const referrals: Evidence["referrals"] = {
  referred: [{ leadId: "lead-1", link: "key", referralIds: ["r1"], tries: 1, failed: [] }],
  told: [{ arrivedAs: "there-1", status: "won", failed: [] }],
  sent: [{ id: "r1", leadId: "lead-1", state: "sent", arrivedAs: "there-1", status: "won" }],
  arrived: [{ id: "there-1", email: lead(1).email, referralId: "r1" }],
};

/** Three leads, sold to ash. */
const well: Evidence = {
  referrals,
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
    verifyFinds: 0,
  },
  entered: [],
  captures: [],
  moved: [],
  returned: [],
  statements: [
    {
      partner: "ash",
      balanceMinor: -3000,
      reservedMinor: 0,
      openingMinor: 0,
      closingMinor: -3000,
      entries: [1, 2, 3].map(() => ({ kind: "post", reason: null, amountMinor: -1000 })),
    },
    { partner: "birch", balanceMinor: 0, reservedMinor: 0, openingMinor: 0, closingMinor: 0, entries: [] },
  ],
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
  ])("%s", (_name, evidence) => expect(found(evidence)).toEqual({ lost: 1 }));

  test("a lead that is sold to a partner who knows nothing of it, and pays for it", () => {
    const requests = [request(1), request(2), request(3, { taken: false, answered: "error" })];
    expect(found({ ...well, requests })).toEqual({ lost: 1, balance_wrong: 1 });
  });

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
    expect(found(withRequest({ partner: "birch", key: "d9" }))).toEqual({
      sold_twice: 1,
      // It has bought one lead more than it was charged for.
      balance_wrong: 1,
    });
  });

  test("a lead that one partner took under two keys", () => {
    expect(found(withRequest({ key: "d9" }))).toEqual({ sold_twice: 1, changed_key: 1 });
  });

  test("not a lead that two partners took of a campaign which sells to two", () => {
    const evidence = { ...withRequest({ partner: "birch", key: "d9" }) };
    const leads = [lead(1, "sold", "shared"), lead(2), lead(3)];
    expect(found({ ...evidence, final: { ...evidence.final, leads } })).not.toHaveProperty("sold_twice");
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

test("cap_overshoot: a lead beyond a daily limit", () => {
  expect(found(withPartner({ dayLimit: 2 }))).toEqual({ cap_overshoot: 1 });
});

/** As above, and ash has paid 5,000, was given 200 back, was refused another 900, and has paid 2,000 by PayPal, of which 500 went back. */
const paid: Evidence = {
  ...well,
  entered: [
    entry(1, { amountMinor: 5000 }),
    entry(2, { amountMinor: -200 }),
    entry(3, { amountMinor: -900, told: "refused", transactions: [] }),
  ],
  captures: [{ partner: "ash", captureId: "CAP", amountMinor: 2000, refundedMinor: 500, approvedAtMs: 900 }],
  statements: [
    statement(3300, [
      line(5000, "Entry 1 (bank)"),
      line(-200, "Entry 2 (bank)", "refund"),
      line(2000, "PayPal CAP"),
      line(-500, "Paid too much", "refund"),
    ]),
  ],
};

function entry(number: number, change: Partial<EnteredMoney> = {}): EnteredMoney {
  const times = { sentAtMs: 800, answeredAtMs: 900, tries: 1 };
  const mark = `Entry ${number} (`;
  return { partner: "ash", mark, amountMinor: 1, told: "booked", transactions: [`t${number}`], ...times, ...change };
}

function line(amountMinor: number, reason: string, kind = "payment") {
  return { kind, reason, amountMinor };
}

/** Of ash, which bought three leads. */
function statement(balanceMinor: number, lines: readonly StatementEntry[], reservedMinor = 0): PartnerStatement {
  const sales = [1, 2, 3].map(() => ({ kind: "post", reason: null, amountMinor: -1000 }));
  const name = { partner: "ash", openingMinor: 0, closingMinor: balanceMinor };
  return { ...name, balanceMinor, reservedMinor, entries: [...lines, ...sales] };
}

/** ash's statement with these lines besides or instead, and the balance that they make. */
function withLines(change: (lines: readonly StatementEntry[]) => readonly StatementEntry[]): Evidence {
  const lines = change(paid.statements[0]?.entries.slice(0, 4) ?? []);
  return {
    ...paid,
    statements: [
      statement(
        lines.reduce((sum, { amountMinor }) => sum + amountMinor, -3000),
        lines,
      ),
    ],
  };
}

test("where money has come and gone as it should every figure is 0", () => expect(found(paid)).toEqual({}));

describe("credited_twice", () => {
  test.each<[string, Evidence]>([
    ["a payment of staff that is booked twice", withLines((lines) => [...lines, line(5000, "Entry 1 (bank)")])],
    ["a refund that is booked twice", withLines((lines) => [...lines, line(-200, "Entry 2 (bank)", "refund")])],
    [
      "a refund that was refused and is booked",
      withLines((lines) => [...lines, line(-900, "Entry 3 (bank)", "refund")]),
    ],
    ["a capture of PayPal's that is credited twice", withLines((lines) => [...lines, line(2000, "PayPal CAP")])],
    ["a capture that PayPal never made", withLines((lines) => [...lines, line(700, "PayPal NONE")])],
  ])("%s", (_name, evidence) => expect(found(evidence)).toEqual({ credited_twice: 1, balance_wrong: 1 }));

  test("one key that was answered with two transactions", () => {
    const [first, ...others] = paid.entered;
    const entered = [{ ...(first ?? entry(1)), transactions: ["t1", "t9"] }, ...others];
    expect(found({ ...paid, entered })).toEqual({ credited_twice: 1 });
  });
});

describe("paid_lost", () => {
  test.each<[string, Evidence]>([
    ["a payment of staff that was answered and is not there", withLines((lines) => lines.slice(1))],
    ["one that is there with another amount", withLines(([, ...lines]) => [line(500, "Entry 1 (bank)"), ...lines])],
    [
      "a capture of PayPal's that is not credited",
      withLines((lines) => lines.filter(({ reason }) => reason !== "PayPal CAP")),
    ],
  ])("%s", (_name, evidence) => expect(found(evidence)).toEqual({ paid_lost: 1, balance_wrong: 1 }));
});

describe("balance_wrong", () => {
  test.each<[string, Evidence]>([
    ["a refund at PayPal that nobody took", withLines((lines) => lines.slice(0, 3))],
    [
      "a statement that does not say what the balance is",
      {
        ...paid,
        statements: [{ ...statement(3300, paid.statements[0]?.entries.slice(0, 4) ?? []), closingMinor: 3200 }],
      },
    ],
    [
      "something that is still reserved",
      { ...paid, statements: [statement(3300, paid.statements[0]?.entries.slice(0, 4) ?? [], 1)] },
    ],
  ])("%s", (_name, evidence) => expect(found(evidence)).toEqual({ balance_wrong: 1 }));

  test("a lead that the partner has and was not charged for", () => {
    const evidence = { ...paid, requests: [...paid.requests, request(4, { leadId: "lead-9" })] };
    expect(found(evidence)).toEqual({ balance_wrong: 1 });
  });
});

describe("sales that are paid in parts", () => {
  const inParts = withPartner({ paidAt: { accepted: 200, qualified: 467, converted: 1000 } });
  const moved = [
    { deliveryId: "d1", point: "qualified" as const, isClosed: false, failed: [] },
    { deliveryId: "d2", point: "accepted" as const, isClosed: true, failed: [] },
  ];
  const charge = (number: number, amountMinor: number) => ({ deliveryId: `d${number}`, kind: "post", amountMinor });
  const right: Evidence = {
    ...inParts,
    moved,
    final: {
      ...inParts.final,
      charges: [charge(1, 200), charge(1, 267), charge(2, 200), charge(3, 200)],
      accounts: [{ partner: "ash", paidMinor: 867, reservedMinor: 533 + 800 }],
    },
    statements: [{ ...statement(-867, [line(2133, "as if")], 1333) }],
  };

  test("each brings what it must at its point, and closed it promises nothing", () => expect(found(right)).toEqual({}));

  test("charged_twice: a part that is paid twice, or not", () => {
    for (const charges of [[...right.final.charges, charge(1, 267)], right.final.charges.slice(1)]) {
      expect(found({ ...right, final: { ...right.final, charges } })).toEqual({ charged_twice: 1 });
    }
  });

  test("balance_wrong: a point that was moved to and not paid", () => {
    expect(found({ ...right, statements: [statement(-600, [line(2400, "as if")], 1600)] })).toEqual({
      balance_wrong: 1,
    });
  });

  test("not_ended: a move that was refused", () => {
    const [first, second] = moved;
    const refused = [{ ...first, failed: ["converted: 409"] }, second];
    expect(found({ ...right, moved: refused as typeof moved })).toEqual({ not_ended: 1 });
  });
});

describe("returns", () => {
  /** ash gave its third lead back. */
  const back: ReturnedLead = {
    partner: "ash",
    deliveryId: "d3",
    leadId: "lead-3",
    told: "accepted",
    askedAtMs: 1_000_500,
    answeredAtMs: 1_001_000,
    tries: 1,
    failed: [],
  };
  const right: Evidence = {
    ...well,
    returned: [back],
    final: {
      ...well.final,
      leads: [lead(1), lead(2), lead(3, "returned")],
      deliveries: [delivery(1), delivery(2), delivery(3, "returned")],
      charges: [...well.final.charges, { deliveryId: "d3", kind: "reverse", amountMinor: 1000 }],
      accounts: [{ partner: "ash", paidMinor: 2000, reservedMinor: 0 }],
    },
    statements: [statement(-2000, [line(1000, "returned", "reverse")])],
  };
  const ending = (change: Partial<Evidence["final"]>): Evidence => ({ ...right, final: { ...right.final, ...change } });

  test("where a lead was given back, and its money too, every figure is 0", () => expect(found(right)).toEqual({}));

  test("returned_and_charged: a return that was accepted, and the money kept", () => {
    const { charges, accounts } = well.final;
    const statements = [statement(-3000, [])];
    expect(found({ ...ending({ charges, accounts }), statements })).toEqual({
      returned_and_charged: 1,
      charged_twice: 2,
      balance_wrong: 1,
    });
  });

  test("returned_and_charged: a return that was accepted, and the sale stands", () => {
    expect(found({ ...well, returned: [back] })).toMatchObject({ returned_and_charged: 1, balance_wrong: 1 });
  });

  test("balance_wrong: a return that was declined, and the money given back", () => {
    const declined = [{ ...back, told: "declined" as const }];
    expect(found({ ...right, returned: declined })).toMatchObject({ balance_wrong: 1, lost: 1 });
  });

  test("returned_to_the_same_partner: a lead that came again after it was given back, not one before", () => {
    const again = (atMs: number) => ({ ...right, requests: [...right.requests, request(3, { number: 9, atMs })] });
    expect(found(again(1_002_000))).toEqual({ returned_to_the_same_partner: 1 });
    expect(found(again(1_000_900))).toEqual({});
  });

  test("sold_twice: not a lead that was given back and went on to the next, but one that went on to two", () => {
    const next = (number: number, name: string) => request(number, { leadId: "lead-3", partner: name, key: name });
    const one = { ...right, requests: [...right.requests, next(4, "birch")] };
    expect(found(one)).not.toHaveProperty("sold_twice");
    expect(found({ ...one, requests: [...one.requests, next(5, "cedar")] })).toMatchObject({ sold_twice: 1 });
  });

  test("lost: a lead that was given back for the next partner, and stayed returned", () => {
    const partners = [partner("ash", { returnsGoOn: true }), partner("birch")];
    expect(found({ ...right, partners })).toEqual({ lost: 1 });
  });

  test("not_ended: a return that nobody answered, or that was refused", () => {
    expect(found({ ...well, returned: [{ ...back, told: "nothing" }] })).toEqual({ not_ended: 1 });
    expect(found({ ...right, returned: [{ ...back, failed: ["409"] }] })).toEqual({ not_ended: 1 });
  });
});

describe("overdrawn", () => {
  test("a lead beyond what the credit pays", () => {
    expect(found(withPartner({ creditMinor: 2_500 }))).toEqual({ overdrawn: 1 });
  });

  const prepaid = (change: Partial<Evidence>): Evidence => ({
    ...paid,
    ...change,
    partners: [partner("ash", { creditMinor: 0 })],
  });

  test("not leads that were paid for before they came", () => expect(found(prepaid({}))).toEqual({}));

  test("a lead that came before the payment that pays for it was sent", () => {
    const [first, ...others] = paid.entered;
    const late = [{ ...(first ?? entry(1)), sentAtMs: 1_000_001 }, ...others];
    expect(found(prepaid({ entered: late }))).toEqual({ overdrawn: 2 });
  });

  test("a lead that came after the money for it had been given back", () => {
    const entered = [...paid.entered, entry(4, { amountMinor: -4_000 })];
    const evidence = withLines((lines) => [...lines, line(-4_000, "Entry 4 (bank)", "refund")]);
    expect(found(prepaid({ ...evidence, entered }))).toMatchObject({ overdrawn: 1 });
  });
});

test("ledger_verify: what `handoff ledger verify` finds", () => {
  expect(found(withFinal({ verifyFinds: 2 }))).toEqual({ ledger_verify: 2 });
});

test("not_ended: money that staff entered and were told nothing about", () => {
  const evidence = { ...paid, entered: [...paid.entered, entry(4, { told: "nothing", transactions: [] })] };
  expect(found(evidence)).toEqual({ not_ended: 1 });
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

describe("referrals", () => {
  const [sent, arrived] = [referrals.sent[0], referrals.arrived[0]];
  if (sent === undefined || arrived === undefined) throw new Error("The evidence has one referral.");
  test.each<[string, Partial<Evidence["referrals"]>, Partial<Verdict["figures"]>]>([
    ["one that is not sent in the end", { sent: [{ ...sent, state: "due" }] }, { referrals_lost: 1 }],
    ["one that arrived with another's content", { arrived: [{ ...arrived, email: "x@test" }] }, { referrals_lost: 1 }],
    ["one that nobody there has", { arrived: [], told: [] }, { referrals_lost: 1 }],
    [
      "one that was asked for and never answered",
      { referred: [{ leadId: "lead-1", link: "key", referralIds: [], tries: 9, failed: [] }], arrived: [] },
      { referrals_lost: 1 },
    ],
    ["one that arrived twice", { arrived: [arrived, { ...arrived, id: "there-2" }] }, { referrals_doubled: 1 }],
    [
      "one that two answers named differently",
      { referred: [{ leadId: "lead-1", link: "key", referralIds: ["r1", "r2"], tries: 2, failed: [] }] },
      { referrals_doubled: 1 },
    ],
    [
      "a lead there that nobody referred",
      { arrived: [arrived, { ...arrived, id: "z", referralId: null }] },
      { referrals_doubled: 1 },
    ],
    ["a status that the sender did not hear of", { sent: [{ ...sent, status: "accepted" }] }, { statuses_lost: 1 }],
    [
      "a status that was refused",
      { told: [{ arrivedAs: "there-1", status: "won", failed: ["lost: 409"] }] },
      { statuses_lost: 1 },
    ],
  ])("%s", (_name, change, figures) => {
    expect(found({ ...well, referrals: { ...referrals, ...change } })).toEqual(figures);
  });
});
