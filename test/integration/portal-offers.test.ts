import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import type { Browser } from "../helpers/people.ts";
import { openPortal, type Portal, type PortalPartner } from "../helpers/portal.ts";

/** Leads that are offered to a partner, and what its own people answer. */

let portal: Portal;
let partner: PortalPartner;
let user: Browser;
beforeAll(async () => {
  portal = await openPortal();
  partner = await portal.partner({ acceptFirst: { deadlineHours: 4 } });
  const fields = [
    { key: "first_name", type: "text", required: true, group: "contact" },
    { key: "email", type: "email", group: "contact" },
    { key: "postcode", type: "postcode", country: "GB", preview: true },
  ];
  await portal.staff.call("PATCH", `/v1/campaigns/${partner.campaignId}`, { fields });
  user = await portal.user(partner);
});
afterAll(async () => portal.close());

let offered = 0;
const offer = async () => {
  portal.later(1_000);
  offered += 1;
  return portal.sell(partner, { first_name: "Secret", email: `secret${offered}@example.com`, postcode: "SW1A 1AA" });
};
const answer = async (id: string, verb: "accept" | "decline", body?: object) =>
  user.call("POST", `/v1/portal/offers/${id}/${verb}`, body);
const openIds = async (more = "") =>
  Object((await user.call("GET", `/v1/portal/offers${more}`)).body).data.map(
    (one: { deliveryId: string }) => one.deliveryId,
  );

describe("an offer", () => {
  test("shows what the campaign lets be seen, and nothing else of the lead; nor is it among the partner's leads", async () => {
    const { id } = await offer();
    const list = await user.call("GET", "/v1/portal/offers");
    const one = await user.call("GET", `/v1/portal/offers/${id}`);
    const until = new Date(portal.now().getTime() + 4 * 3_600_000).toISOString();
    expect(one.body).toMatchObject({
      ...{ deliveryId: id, state: "offered", price: 1250, currency: "GBP", until, answeredAt: null },
      preview: [{ key: "postcode", value: "SW1A 1AA" }],
    });
    expect(list.value("data.0")).toEqual(one.body);
    for (const { raw } of [list, one]) expect(raw).not.toMatch(/secret/i);
    expect((await user.call("GET", `/v1/portal/leads/${id}`)).status).toBe(404);
    expect((await user.call("GET", "/v1/portal/leads?name=secret")).body).toMatchObject({ data: [] });
    await answer(id, "decline", {});
  });

  test("that is accepted is delivered and becomes the partner's lead; a second answer changes nothing", async () => {
    const { id } = await offer();
    const answers = await Promise.all([answer(id, "accept"), answer(id, "accept"), answer(id, "decline", {})]);
    const kinds = answers.map(({ status, value }) => [status, value("answer") ?? value("code")]);
    expect(kinds.filter(([status]) => status === 200)).toHaveLength(1);
    expect(kinds.filter(([, code]) => code === "delivery_state")).toHaveLength(2);
    const isAccepted = kinds.some(([, kind]) => kind === "accepted");
    await drainDueDeliveries(portal.server.context, portal.staff.organisationId, partner.id);
    expect((await user.call("GET", `/v1/portal/leads/${id}`)).status).toBe(isAccepted ? 200 : 404);
    const again = await offer();
    expect((await answer(again.id, "accept")).body).toEqual({ deliveryId: again.id, answer: "accepted" });
    await drainDueDeliveries(portal.server.context, portal.staff.organisationId, partner.id);
    expect((await user.call("GET", `/v1/portal/leads/${again.id}`)).body).toMatchObject({
      fields: { first_name: "Secret" },
      paid: 1250,
    });
  });

  test("is listed while it waits, page by page, and not any more once it was answered or is over", async () => {
    const offers = [await offer(), await offer(), await offer()];
    expect(await openIds()).toEqual(offers.map(({ id }) => id).reverse());
    const first = await user.call("GET", "/v1/portal/offers?limit=2");
    expect(await openIds(`?cursor=${first.text("nextCursor")}`)).toEqual([offers[0]?.id]);
    await answer(offers[0]?.id ?? "", "decline", { reason: "Too far" });
    expect(await openIds()).toEqual([offers[2]?.id, offers[1]?.id]);
    portal.later(5 * 3_600_000);
    const late = await answer(offers[1]?.id ?? "", "accept");
    expect(late.body).toMatchObject({ status: 409, code: "offer_expired" });
    const staff = await portal.staff.call("GET", `/v1/leads/${offers[0]?.leadId}`);
    expect(staff.raw).toContain("Too far");
  });

  test("is answered by who may alone; who may not sees it", async () => {
    const { id } = await offer();
    const reader = await portal.user(partner, { mayAccept: false });
    expect((await reader.call("GET", `/v1/portal/offers/${id}`)).status).toBe(200);
    expect((await reader.call("POST", `/v1/portal/offers/${id}/accept`)).status).toBe(403);
    expect((await reader.call("POST", `/v1/portal/offers/${id}/decline`, {})).status).toBe(403);
  });
});
