import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { unusedUsage } from "../../src/partners/limit-usage.ts";
import type { Limits } from "../../src/partners/limit-windows.ts";
import type { Buyer, Candidate, Standing } from "../../src/routing/assess.ts";
import { type Choice, choosePartners, type Group, type Market, type Placed } from "../../src/routing/choose.ts";

const now = new Date("2026-03-04T10:00:00Z");
const noLimits: Limits = { hour: 0, day: 0, week: 0, month: 0, total: 0, spendDay: 0, spendWeek: 0, spendMonth: 0 };
/** A Wednesday morning is outside these hours. */
const evenings = { wed: [{ from: "18:00", to: "20:00" }] };

function candidate(partnerId: string, groupId: string, change: Partial<Candidate> = {}): Candidate {
  return {
    groupId,
    partnerId,
    priority: 10,
    weight: 1,
    priceMinor: 1000,
    terms: null,
    pricing: null,
    filter: null,
    limits: null,
    ...change,
  };
}

function buyer(id: string, change: Partial<Buyer> = {}): Buyer {
  return {
    id,
    active: true,
    type: "partner",
    hasDelivery: true,
    timeZone: "Europe/London",
    currency: "GBP",
    limits: noLimits,
    schedule: null,
    whenClosed: "next",
    whenCapped: "next",
    whenUnfunded: "next",
    spreadMs: 5000,
    acceptFirst: null,
    transferPhone: null,
    pausedUntil: null,
    pauseReason: null,
    ownPause: null,
    ...change,
  };
}

function market(
  groups: readonly Group[],
  buyers: readonly Buyer[],
  change: Partial<Market> = {},
  availableMinor = 1e9,
): Market {
  const standing = (id: string): Standing => ({
    usage: unusedUsage("o", id, null),
    campaignUsage: unusedUsage("o", id, "c"),
    availableMinor,
  });
  return {
    groups,
    saleLimit: 1,
    buyers: new Map(buyers.map((one) => [one.id, one])),
    standings: new Map(buyers.map(({ id }) => [id, standing(id)])),
    turns: new Map(),
    ...change,
  };
}

function choose(
  of: Market,
  change: { fields?: Record<string, string>; mayWait?: boolean; placed?: Placed[]; hadBy?: Map<string, string> } = {},
): Choice {
  const { fields = {}, mayWait = true, hadBy = new Map<string, string>() } = change;
  const lead = { fields, introducerId: null, mayWait, hadBy };
  return choosePartners(lead, change.placed ?? [], new Map(), of, now);
}

const sentTo = (choice: Choice) => choice.sends.map((send) => send.partnerId);
const heldFor = (choice: Choice) => choice.holds.map((hold) => hold.candidate.partnerId);

function group(id: string, method: Group["method"], candidates: readonly Candidate[], saleLimit = 0): Group {
  return { id, method, saleLimit, candidates };
}

describe("the order in which partners are asked", () => {
  test("priority: the lowest number first", () => {
    const routing = group("g", "priority", [
      candidate("a", "g", { priority: 2 }),
      candidate("b", "g", { priority: 1 }),
    ]);
    expect(sentTo(choose(market([routing], [buyer("a"), buyer("b")])))).toEqual(["b"]);
  });

  test("priority: partners of one priority take turns", () => {
    const routing = group("g", "priority", [candidate("a", "g"), candidate("b", "g")]);
    const shared = market([routing], [buyer("a"), buyer("b")]);
    expect([1, 2, 3, 4].flatMap(() => sentTo(choose(shared)))).toEqual(["a", "b", "a", "b"]);
  });

  test("highest price first, whatever the priority", () => {
    const rows = [candidate("a", "g", { priority: 1 }), candidate("b", "g", { priority: 2, priceMinor: 1001 })];
    expect(sentTo(choose(market([group("g", "highest_price", rows)], [buyer("a"), buyer("b")])))).toEqual(["b"]);
  });

  test("round robin gives each partner its turn", () => {
    const ids = ["a", "b", "c"];
    const routing = group(
      "g",
      "round_robin",
      ids.map((id) => candidate(id, "g")),
    );
    const shared = market(
      [routing],
      ids.map((id) => buyer(id)),
    );
    expect([1, 2, 3, 4, 5, 6].flatMap(() => sentTo(choose(shared)))).toEqual(["a", "b", "c", "a", "b", "c"]);
  });

  test("weighted: after any number of leads each partner has its share to within one and a half leads", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 80 }),
        (weights, leads) => {
          const ids = weights.map((_, index) => `p${index}`);
          const rows = weights.map((weight, index) => candidate(`p${index}`, "g", { weight }));
          const shared = market(
            [group("g", "weighted", rows)],
            ids.map((id) => buyer(id)),
          );
          const counts = new Map<string, number>();
          for (let lead = 0; lead < leads; lead += 1) {
            for (const id of sentTo(choose(shared))) counts.set(id, (counts.get(id) ?? 0) + 1);
          }
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          weights.forEach((weight, index) => {
            const share = (leads * weight) / total;
            expect(Math.abs((counts.get(`p${index}`) ?? 0) - share)).toBeLessThanOrEqual(1.5);
          });
        },
      ),
    );
  });

  test("a partner that is closed while others get leads does not catch up in a burst", () => {
    const routing = group("g", "weighted", [candidate("a", "g"), candidate("b", "g")]);
    const shared = market([routing], [buyer("a"), buyer("b", { schedule: evenings })]);
    for (let lead = 0; lead < 10; lead += 1) choose(shared);
    const reopened = { ...shared, buyers: new Map([buyer("a"), buyer("b")].map((one) => [one.id, one])) };
    const next = [1, 2, 3, 4].flatMap(() => sentTo(choose(reopened)));
    expect(next.filter((id) => id === "b")).toHaveLength(2);
  });

  test("groups are asked in order", () => {
    const first = group("first", "priority", [
      candidate("a", "first", { filter: { field: "kind", op: "equals", value: "x" } }),
    ]);
    const second = group("second", "priority", [candidate("b", "second")]);
    const shared = market([first, second], [buyer("a"), buyer("b")]);
    expect(sentTo(choose(shared, { fields: { kind: "x" } }))).toEqual(["a"]);
    expect(sentTo(choose(shared, { fields: { kind: "y" } }))).toEqual(["b"]);
  });
});

describe("how many partners get one lead", () => {
  const ids = ["a", "b", "c", "d"];
  const four = () => ids.map((id) => buyer(id));
  const row = (id: string) => candidate(id, "g");

  test("one, when the lead is exclusive", () => {
    expect(sentTo(choose(market([group("g", "priority", ids.map(row))], four())))).toEqual(["a"]);
  });

  test("as many as the campaign's sale limit, and all for 0", () => {
    const routing = [group("g", "priority", ids.map(row))];
    expect(sentTo(choose(market(routing, four(), { saleLimit: 3 })))).toEqual(["a", "b", "c"]);
    expect(sentTo(choose(market(routing, four(), { saleLimit: 0 })))).toEqual(ids);
  });

  test("no more of one group than its own sale limit", () => {
    const first = group("g", "priority", ["a", "b"].map(row), 1);
    const second = group("h", "priority", [candidate("c", "h"), candidate("d", "h")], 1);
    expect(sentTo(choose(market([first, second], four(), { saleLimit: 3 })))).toEqual(["a", "c"]);
  });

  test("a refused lead goes on to the next, and never to the same partner again", () => {
    const shared = market([group("g", "priority", ids.map(row))], four());
    expect(sentTo(choose(shared, { hadBy: new Map([["a", "rejected"]]) }))).toEqual(["b"]);
  });

  test("a partner that stands in two groups gets a shared lead once", () => {
    const groups = [group("g", "priority", [row("a")]), group("h", "priority", [candidate("a", "h")])];
    expect(sentTo(choose(market(groups, [buyer("a")], { saleLimit: 2 })))).toEqual(["a"]);
  });

  test("places that are taken count", () => {
    const shared = market([group("g", "priority", ids.map(row))], four(), { saleLimit: 2 });
    const placed = [{ partnerId: "a", groupId: "g" }];
    expect(sentTo(choose(shared, { placed, hadBy: new Map([["a", "delivered"]]) }))).toEqual(["b"]);
  });
});

describe("blocked is not lost", () => {
  const rows = [candidate("closed", "g", { priority: 1 }), candidate("open", "g", { priority: 2 })];

  test("a partner set to next is passed over while another can take the lead", () => {
    const choice = choose(
      market([group("g", "priority", rows)], [buyer("closed", { schedule: evenings }), buyer("open")]),
    );
    expect([sentTo(choice), heldFor(choice)]).toEqual([["open"], []]);
  });

  test("a partner set to hold is waited for although another could take the lead", () => {
    const waits = buyer("closed", { schedule: evenings, whenClosed: "hold" });
    const choice = choose(market([group("g", "priority", rows)], [waits, buyer("open")]));
    expect([sentTo(choice), heldFor(choice)]).toEqual([[], ["closed"]]);
    expect(choice.holds[0]?.until).toEqual(new Date("2026-03-04T18:00:00Z"));
  });

  test("a partner is waited for only when every block it has says hold", () => {
    const waits = buyer("closed", { schedule: evenings, whenClosed: "hold", whenUnfunded: "next" });
    const shared = market([group("g", "priority", rows)], [waits, buyer("open")]);
    const standing = shared.standings.get("closed");
    if (standing !== undefined) standing.availableMinor = 0;
    expect(sentTo(choose(shared))).toEqual(["open"]);
  });

  test("when nobody can take it now, it is held for the one who can take it first", () => {
    const late = buyer("a", { schedule: { wed: [{ from: "20:00", to: "21:00" }] } });
    const soon = buyer("b", { schedule: { wed: [{ from: "12:00", to: "13:00" }] } });
    const routing = group("g", "priority", [
      candidate("a", "g", { priority: 1 }),
      candidate("b", "g", { priority: 2 }),
    ]);
    const choice = choose(market([routing], [late, soon]));
    expect(heldFor(choice)).toEqual(["b"]);
    expect(choice.considered.find((entry) => entry.partnerId === "b")?.result).toBe("held");
  });

  test("a lead whose hold is over waits for nobody, and goes to whoever can take it", () => {
    const waits = buyer("closed", { schedule: evenings, whenClosed: "hold" });
    const over = choose(market([group("g", "priority", rows)], [waits, buyer("open")]), { mayWait: false });
    expect([sentTo(over), heldFor(over)]).toEqual([["open"], []]);
    const nobody = choose(market([group("g", "priority", rows)], [waits, buyer("open", { schedule: evenings })]), {
      mayWait: false,
    });
    expect([sentTo(nobody), heldFor(nobody)]).toEqual([[], []]);
    expect(nobody.considered.map(({ result }) => result)).toEqual(["blocked", "blocked"]);
  });

  test("a lead that no partner could ever take is not held", () => {
    const routing = group("g", "priority", [
      candidate("a", "g", { filter: { field: "kind", op: "exists", value: true } }),
    ]);
    const choice = choose(market([routing], [buyer("a", { schedule: evenings })]));
    expect([sentTo(choice), heldFor(choice)]).toEqual([[], []]);
  });

  test("round robin: a partner that is waited for gives up its turn to the next lead", () => {
    const waits = buyer("a", { schedule: evenings, whenClosed: "hold" });
    const routing = group("g", "round_robin", [candidate("a", "g"), candidate("b", "g")]);
    const shared = market([routing], [waits, buyer("b")]);
    const choices = [choose(shared), choose(shared), choose(shared)];
    expect(choices.map((choice) => heldFor(choice)[0] ?? sentTo(choice)[0])).toEqual(["a", "b", "a"]);
  });
});

describe("every decision is explained", () => {
  test("all reasons of a partner at once, for every partner of every group", () => {
    const filter = { field: "postcode", op: "startsWith", value: "SW" } as const;
    const routing = group("g", "priority", [candidate("a", "g", { filter }), candidate("b", "g")]);
    const bad = buyer("a", { active: false, schedule: evenings, limits: { ...noLimits, day: 1 } });
    const shared = market([routing], [bad, buyer("b")], {}, 0);
    const standing = shared.standings.get("a");
    if (standing !== undefined)
      standing.usage = { ...standing.usage, dayStart: new Date("2026-03-04T00:00:00Z"), dayLeads: 1 };
    const { considered } = choose(shared, { fields: { postcode: "N1" } });
    const codes = (id: string) =>
      considered.find((entry) => entry.partnerId === id)?.reasons.map((reason) => reason.code);
    expect(codes("a")).toEqual(["partner_inactive", "filter_not_matched", "closed", "limit_reached", "no_funds"]);
    expect(codes("b")).toEqual(["no_funds"]);
  });

  test("property: nobody gets a lead against a reason, nobody twice, never more than the sale limit, and everybody is explained", () => {
    const someBuyer = fc.record({
      active: fc.boolean(),
      closed: fc.boolean(),
      whenClosed: fc.constantFrom("next" as const, "hold" as const),
      dayLimit: fc.integer({ min: 0, max: 2 }),
      availableMinor: fc.integer({ min: 0, max: 4000 }),
    });
    const someMethod = fc.constantFrom(
      "priority" as const,
      "round_robin" as const,
      "weighted" as const,
      "highest_price" as const,
    );
    fc.assert(
      fc.property(
        fc.array(someBuyer, { minLength: 1, maxLength: 6 }),
        fc.array(someMethod, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 1, max: 8 }),
        (specs, methods, saleLimit, leads) => {
          const buyers = specs.map((spec, index) =>
            buyer(`p${index}`, {
              active: spec.active,
              schedule: spec.closed ? evenings : null,
              whenClosed: spec.whenClosed,
              limits: { ...noLimits, day: spec.dayLimit },
            }),
          );
          const groups = methods.map((method, index) =>
            group(
              `g${index}`,
              method,
              buyers.map(({ id }) => candidate(id, `g${index}`)),
            ),
          );
          const shared = market(groups, buyers, { saleLimit });
          specs.forEach((spec, index) => {
            const standing = shared.standings.get(`p${index}`);
            if (standing !== undefined) standing.availableMinor = spec.availableMinor;
          });
          const got = new Map<string, number>();
          for (let lead = 0; lead < leads; lead += 1) {
            const choice = choose(shared);
            const sent = sentTo(choice);
            expect(new Set([...sent, ...heldFor(choice)]).size).toBe(sent.length + choice.holds.length);
            if (saleLimit > 0) expect(sent.length + choice.holds.length).toBeLessThanOrEqual(saleLimit);
            expect(choice.considered).toHaveLength(buyers.length * methods.length);
            for (const entry of choice.considered) {
              if (entry.result === "sent" || entry.result === "not_needed") expect(entry.reasons).toEqual([]);
              else expect(entry.reasons.length).toBeGreaterThan(0);
            }
            for (const id of sent) got.set(id, (got.get(id) ?? 0) + 1);
          }
          specs.forEach((spec, index) => {
            const count = got.get(`p${index}`) ?? 0;
            if (spec.dayLimit > 0) expect(count).toBeLessThanOrEqual(spec.dayLimit);
            expect(count * 1000).toBeLessThanOrEqual(spec.availableMinor);
            if (!spec.active || spec.closed) expect(count).toBe(0);
          });
        },
      ),
    );
  });
});
