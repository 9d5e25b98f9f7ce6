import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { sql } from "kysely";
import { eraseLead } from "../../src/leads/erase-lead.ts";
import { referLead } from "../../src/leads/refer-lead.ts";
import { unreferLead } from "../../src/leads/unrefer-lead.ts";
import { answerOffer } from "../../src/offers/answer-offer.ts";
import { expireDueOffers } from "../../src/offers/expire-offers.ts";
import { markTransfer } from "../../src/offers/mark-transfer.ts";
import { openTransfer } from "../../src/offers/open-transfer.ts";
import { type Buyer, type Seller, useSellers } from "../helpers/seller.ts";
import { expectSoundLedger } from "../helpers/sound-ledger.ts";

/**
 * Offers, transfers and what staff do meanwhile, in any order and several at once, on real PostgreSQL with real partners:
 * every place and every penny is where the state of its delivery says, and no exclusive lead is anybody's twice.
 */

const sellers = useSellers();

const verbs = ["accept", "decline", "unrefer", "erase", "refer", "ask", "made", "not_made"] as const;

interface Act {
  readonly verb: (typeof verbs)[number];
  readonly lead: number;
  readonly partner: number;
  readonly yes: boolean;
}

/** What happens at the same time, and how many minutes pass before it. */
interface Step {
  readonly acts: readonly Act[];
  readonly newLeads: number;
  readonly minutes: number;
  readonly settles: boolean;
}

const someAct: fc.Arbitrary<Act> = fc.record({
  verb: fc.constantFrom(...verbs),
  lead: fc.nat(20),
  partner: fc.nat(2),
  yes: fc.boolean(),
});
const someStep: fc.Arbitrary<Step> = fc.record({
  acts: fc.array(someAct, { maxLength: 4 }),
  newLeads: fc.nat(2),
  minutes: fc.constantFrom(0, 0, 1, 2, 30, 60),
  settles: fc.boolean(),
});

interface Shop {
  readonly seller: Seller;
  readonly buyers: readonly Buyer[];
  readonly leadIds: string[];
}

async function act({ seller, buyers, leadIds }: Shop, { verb, lead, partner, yes }: Act): Promise<void> {
  const { context, organisationId } = seller;
  const leadId = leadIds[lead % Math.max(1, leadIds.length)];
  const partnerId = buyers[partner]?.id;
  if (leadId === undefined || partnerId === undefined) return;
  const deliveryId = (await seller.deliveries(leadId)).find(({ state }) => state === "offered")?.id ?? leadId;
  switch (verb) {
    case "accept":
    case "decline":
      await answerOffer(
        context,
        organisationId,
        { deliveryId, partnerId: null, answer: verb, reason: null, by: "link" },
        "x",
      );
      return;
    case "unrefer":
      await unreferLead(context, organisationId, { leadId, partnerId, reason: null, reroute: yes }, "x");
      return;
    case "erase":
      if (yes) await eraseLead(context, { organisationId, by: "x", at: context.clock() }, leadId);
      return;
    case "refer":
      await referLead(context, organisationId, { leadId, partnerId, override: false, reason: null }, "x");
      return;
    case "ask":
      await openTransfer(context, organisationId, leadId, "x");
      return;
    case "made":
    case "not_made":
      await markTransfer(
        context,
        organisationId,
        { transferId: deliveryId, transferred: verb === "made", reason: null },
        "x",
      );
  }
}

/** Of each partner what is counted and reserved, beside what its deliveries say. */
async function checkCounts({ seller, buyers }: Shop): Promise<void> {
  for (const buyer of buyers) {
    const { rows } = await seller.inOrganisation(async (transaction) =>
      sql<{ places: number; reserved: number; late: number }>`
        select count(*) filter (where reserved_at is not null) as places,
          coalesce(sum(price_minor) filter (where state in ('offered', 'sending')), 0) as reserved,
          count(*) filter (where (state in ('offered', 'sending', 'delivered')) <> (reserved_at is not null)) as late
        from deliveries where partner_id = ${buyer.id}`.execute(transaction),
    );
    const counted = { places: (await seller.usage(buyer)).totalLeads, reserved: (await seller.funds(buyer)).reserved };
    expect({ ...counted, late: 0 }).toEqual(rows[0]);
  }
  const { rows: shared } = await seller.inOrganisation(async (transaction) =>
    sql`select lead_id from deliveries where state in ('offered', 'sending', 'delivered') group by lead_id having count(*) > 1`.execute(
      transaction,
    ),
  );
  expect(shared).toEqual([]);
}

test("whatever is done with offers, in any order and at once, all counts and all money stay exact", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(someStep, { minLength: 4, maxLength: 10 }), async (steps) => {
      const seller = await sellers.open();
      const accepting = { acceptFirst: { deadlineHours: 1 } };
      const buyers = [
        await seller.partner({ ...accepting, limits: { day: 3 }, contact: { transferPhone: "+447700900201" } }),
        await seller.partner(accepting),
        await seller.partner({ contact: { transferPhone: "+447700900202" }, limits: { hour: 2 } }),
      ];
      const routing = [{ method: "round_robin", partners: buyers.map(({ id }) => ({ partnerId: id, price: 1001 })) }];
      const campaignId = await seller.campaign([], { routing });
      const shop: Shop = { seller, buyers, leadIds: [] };
      let now = seller.context.clock().getTime();
      for (const { acts, newLeads, minutes, settles } of steps) {
        for (let count = 0; count < newLeads; count += 1) shop.leadIds.push(await seller.lead(campaignId));
        now += minutes * 60_000;
        seller.setTime(new Date(now).toISOString());
        const routes = settles
          ? [seller.route(campaignId), expireDueOffers(seller.context, seller.organisationId)]
          : [];
        await Promise.all([...acts.map(async (one) => act(shop, one)), ...routes]);
        if (settles) await seller.settle();
        await checkCounts(shop);
      }
      // Days later nothing is open any more, and all that was taken in has ended.
      for (const hours of [2, 24, 80, 81]) {
        seller.setTime(new Date(now + hours * 3_600_000).toISOString());
        await seller.settle();
      }
      await checkCounts(shop);
      const states = Object.keys(await seller.leadStates(campaignId));
      expect(states.filter((state) => ["received", "routing", "held"].includes(state))).toEqual([]);
      await expectSoundLedger(seller);
    }),
    { numRuns: 6 },
  );
}, 120_000);
