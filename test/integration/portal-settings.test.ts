import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { drainDueDeliveries } from "../../src/delivery/drain-partner.ts";
import { recheckHolds } from "../../src/delivery/recheck-holds.ts";
import { routeDueLeads } from "../../src/routing/route-leads.ts";
import { call } from "../helpers/api.ts";
import { addCampaign } from "../helpers/api-documents.ts";
import type { Browser } from "../helpers/people.ts";
import { openPortal, type Portal, type PortalPartner } from "../helpers/portal.ts";

/** What partners change of their own settings: at once, or with staff's consent; and their own pause. */

let portal: Portal;
beforeAll(async () => {
  portal = await openPortal();
  await portal.staff.call("PATCH", "/v1/organisation", { staffEmail: "staff@sellers.test" });
});
afterAll(async () => portal.close());

const none = { hour: 0, day: 0, week: 0, month: 0, total: 0, spendDay: 0, spendWeek: 0, spendMonth: 0 };
const schedule = { mon: [{ from: "09:00", to: "17:00" }], closedDates: ["2026-12-25"] };
const settingsOf = async ({ id }: PortalPartner) => {
  const { limits, schedule } = Object((await portal.staff.call("GET", `/v1/partners/${id}`)).body);
  return { limits, schedule };
};
const patch = async (user: Browser, body: object) => user.call("PATCH", "/v1/portal/settings", body);
const decide = async (id: string, decision: string, note: string | null = null) =>
  portal.staff.call("POST", `/v1/settings-changes/${id}/decide`, { decision, note });
const alertsOf = async (kind: string, { id }: PortalPartner) => {
  const all = Object((await portal.staff.call("GET", "/v1/alerts?limit=200")).body).data;
  return all.filter((alert: { kind: string; partnerId: string }) => alert.kind === kind && alert.partnerId === id);
};

describe("limits and opening hours", () => {
  test("are shown with what is used of them, and changed at once by who may", async () => {
    const partner = await portal.partner({ limits: { day: 5 } });
    await portal.sell(partner);
    const user = await portal.user(partner, { mayChangeSettings: "at_once" });
    expect((await user.call("GET", "/v1/portal/settings")).body).toMatchObject({
      ...{
        limits: { ...none, day: 5 },
        schedule: null,
        timeZone: "Europe/London",
        mayChange: "at_once",
        pending: null,
      },
      usage: { day: { leads: 1, limit: 5, spend: 1250 } },
    });
    const changed = await patch(user, { limits: { day: 9, month: 50 }, schedule });
    expect(changed.body).toMatchObject({
      outcome: "changed",
      settings: { limits: { ...none, day: 9, month: 50 }, schedule },
    });
    expect(await settingsOf(partner)).toEqual({ limits: { ...none, day: 9, month: 50 }, schedule });
    const [change] = Object((await portal.staff.call("GET", `/v1/changes?objectId=${partner.id}`)).body).data;
    expect(change).toMatchObject({
      changedBy: expect.stringContaining(partner.name),
      ...{ before: { limits: { day: 5 }, schedule: null }, after: { limits: { day: 9 }, schedule } },
    });
    expect((await patch(user, { limits: { day: 9, month: 50 } })).value("outcome")).toBe("unchanged");
    expect((await patch(user, {})).value("outcome")).toBe("unchanged");
  });

  test("are refused where the rules refuse them, by the same words as to staff", async () => {
    const user = await portal.user(await portal.partner());
    expect((await patch(user, { limits: { day: -1 } })).body).toMatchObject({
      status: 422,
      fields: [{ field: "limits.day" }],
    });
    const bad = { schedule: { mon: [{ from: "09:00", to: "09:00" }] } };
    expect((await patch(user, bad)).body).toMatchObject({ status: 422, fields: [{ field: "schedule.mon.0.to" }] });
    expect((await patch(user, { creditLimit: 1 })).body).toMatchObject({
      fields: [{ field: "creditLimit", code: "unknown_field" }],
    });
  });

  test("of who may not change them are not changed, and who has lost the right meanwhile has lost it", async () => {
    const partner = await portal.partner();
    const reader = await portal.user(partner, {
      level: "all_but_leads",
      mayAccept: false,
      mayUpdateStatus: false,
      mayReturn: false,
      mayChangeSettings: "no",
    });
    expect((await reader.call("GET", "/v1/portal/settings")).status).toBe(200);
    expect((await patch(reader, { limits: { day: 1 } })).body).toMatchObject({ status: 403, code: "not_allowed" });
    const user = await portal.user(partner);
    const access = { level: "leads" };
    await portal.staff.call("PATCH", `/v1/partner-users/${user.id}`, { access });
    expect((await patch(user, { limits: { day: 1 } })).body).toMatchObject({ status: 403, code: "not_allowed" });
    expect((await settingsOf(partner)).limits).toEqual(none);
  });
});

describe("a change that is to be approved", () => {
  const open = async () => {
    const partner = await portal.partner({ limits: { day: 5 } });
    const user = await portal.user(partner, { mayChangeSettings: "after_approval" });
    return { partner, user };
  };
  const ask = async (user: Browser, body: object) => {
    const answer = await patch(user, body);
    expect(answer.value("outcome")).toBe("waiting");
    return answer.text("settings.pending.id");
  };

  test("waits, tells staff what is asked, and holds once it is approved; who asked is told", async () => {
    const { partner, user } = await open();
    const id = await ask(user, { limits: { day: 20 } });
    expect((await settingsOf(partner)).limits).toMatchObject({ day: 5 });
    const listed = await portal.staff.call("GET", `/v1/settings-changes?state=pending&partnerId=${partner.id}`);
    expect(listed.body).toMatchObject({
      data: [
        {
          id,
          partnerName: partner.name,
          before: { limits: { day: 5 } },
          patch: { limits: { day: 20 } },
          changes: ["limit day: 5 → 20"],
        },
      ],
    });
    expect(await alertsOf("settings_change_open", partner)).toMatchObject([{ recipient: "staff@sellers.test" }]);
    const approved = await decide(id, "approved", "Gladly");
    expect(approved.body).toMatchObject({ state: "approved", decidedBy: "API key test", note: "Gladly" });
    expect((await settingsOf(partner)).limits).toMatchObject({ day: 20 });
    expect(await alertsOf("settings_change_decided", partner)).toMatchObject([{ recipient: user.email }]);
    const own = await user.call("GET", "/v1/portal/settings/changes");
    expect(own.body).toMatchObject({ data: [{ id, state: "approved", note: "Gladly" }] });
    expect(own.raw).not.toContain("API key");
    expect((await user.call("GET", "/v1/portal/settings")).value("pending")).toBeNull();
  });

  test("is rejected with a note, and nothing is changed; it is decided once", async () => {
    const { partner, user } = await open();
    const id = await ask(user, { schedule });
    expect((await decide(id, "rejected", "Not in December")).body).toMatchObject({ state: "rejected" });
    expect(await settingsOf(partner)).toMatchObject({ schedule: null });
    expect((await decide(id, "approved")).body).toMatchObject({
      status: 409,
      code: "settings_change_decided",
      detail: expect.stringContaining("rejected"),
    });
    const both = await open();
    const other = await ask(both.user, { limits: { day: 6 } });
    const statuses = await Promise.all([decide(other, "approved"), decide(other, "rejected")]);
    expect(statuses.map(({ status }) => status).sort()).toEqual([200, 409]);
  });

  test("is replaced by a newer one", async () => {
    const { partner, user } = await open();
    const first = await ask(user, { limits: { day: 7 } });
    const second = await ask(user, { limits: { day: 8 } });
    expect((await decide(first, "approved")).body).toMatchObject({
      code: "settings_change_decided",
      detail: expect.stringContaining("replaced"),
    });
    await decide(second, "approved");
    expect((await settingsOf(partner)).limits).toMatchObject({ day: 8 });
    const third = await ask(user, { limits: { day: 9 } });
    const colleague = await portal.user(partner, { mayChangeSettings: "at_once" });
    await patch(colleague, { limits: { day: 10 } });
    expect((await decide(third, "approved")).body).toMatchObject({ code: "settings_change_decided" });
    expect((await settingsOf(partner)).limits).toMatchObject({ day: 10 });
  });

  test("is not approved over what was changed meanwhile; other changes do not matter", async () => {
    const { partner, user } = await open();
    const id = await ask(user, { limits: { day: 20 } });
    await portal.staff.call("PATCH", `/v1/partners/${partner.id}`, { schedule, contact: { name: "Else" } });
    await portal.staff.call("PATCH", `/v1/partners/${partner.id}`, { limits: { day: 3 } });
    expect((await decide(id, "approved")).body).toMatchObject({
      ...{ status: 409, code: "settings_changed_since", detail: "Meanwhile: limit day: 5 → 3." },
    });
    expect((await settingsOf(partner)).limits).toMatchObject({ day: 3 });
    await portal.staff.call("PATCH", `/v1/partners/${partner.id}`, { limits: { day: 5 } });
    expect((await decide(id, "approved")).status).toBe(200);
    expect(await settingsOf(partner)).toMatchObject({ limits: { day: 20 }, schedule });
  });

  test("is not told to a user who was disabled meanwhile", async () => {
    const { partner, user } = await open();
    const id = await ask(user, { limits: { day: 20 } });
    await portal.staff.call("PATCH", `/v1/partner-users/${user.id}`, { disabled: true });
    await decide(id, "approved");
    expect(await alertsOf("settings_change_decided", partner)).toEqual([]);
  });
});

describe("a partner's own pause", () => {
  const explain = async ({ campaignId }: PortalPartner) =>
    Object((await portal.staff.call("POST", `/v1/campaigns/${campaignId}/explain`, { first_name: "Ann" })).body)
      .partners[0];

  test("keeps leads away, with a reason of its own, until it ends", async () => {
    const partner = await portal.partner();
    const user = await portal.user(partner);
    const until = new Date(portal.now().getTime() + 3_600_000).toISOString();
    const begun = await user.call("POST", "/v1/portal/pause", { until, reason: "On holiday" });
    expect(begun.body).toMatchObject({
      pause: { until, reason: "On holiday", by: expect.stringContaining(partner.name) },
    });
    expect(await explain(partner)).toMatchObject({
      result: "held",
      reasons: [{ code: "partner_paused", until, text: `The partner has paused itself, until ${until}.` }],
    });
    expect((await portal.staff.call("GET", `/v1/partners/${partner.id}`)).body).toMatchObject({
      active: true,
      ownPause: { until },
    });
    portal.later(3_600_000);
    expect(await explain(partner)).toMatchObject({ result: "sent", reasons: [] });
    expect((await user.call("GET", "/v1/portal/account")).value("pause")).toBeNull();
    expect((await portal.staff.call("GET", `/v1/partners/${partner.id}`)).value("ownPause")).toBeNull();
  });

  test("without an end excludes, and is ended by the partner or by staff", async () => {
    const partner = await portal.partner();
    const user = await portal.user(partner);
    await user.call("POST", "/v1/portal/pause", {});
    expect(await explain(partner)).toMatchObject({
      result: "excluded",
      reasons: [{ code: "partner_paused", until: null }],
    });
    expect((await user.call("POST", "/v1/portal/resume")).body).toEqual({ pause: null });
    expect(await explain(partner)).toMatchObject({ result: "sent" });
    await user.call("POST", "/v1/portal/pause", {});
    expect((await portal.staff.call("POST", `/v1/partners/${partner.id}/end-pause`)).status).toBe(204);
    expect(await explain(partner)).toMatchObject({ result: "sent" });
    const changes = Object((await portal.staff.call("GET", `/v1/changes?objectId=${partner.id}`)).body).data;
    expect(changes.slice(0, 2)).toMatchObject([
      { changedBy: "API key test", after: { ownPause: null } },
      { after: { ownPause: {} } },
    ]);
  });

  test("has leads wait or go on as was agreed for when the partner is closed, and lets them go when it resumes", async () => {
    const waiting = await portal.partner({ whenClosed: "hold" });
    const next = await portal.partner();
    const { organisationId } = portal.staff;
    const { id, intakeKey } = await addCampaign(portal.staff, [], {
      duplicates: null,
      routing: [
        { method: "priority", partners: [waiting, next].map((one, priority) => ({ partnerId: one.id, priority })) },
      ],
    });
    const user = await portal.user(waiting);
    const until = new Date(portal.now().getTime() + 86_400_000).toISOString();
    await user.call("POST", "/v1/portal/pause", { until });
    const leadId = (await call(portal.server.api, null, "POST", `/v1/intake/${intakeKey}`, { first_name: "Ann" })).text(
      "leadId",
    );
    await routeDueLeads(portal.server.context, organisationId, id);
    const held = await portal.staff.call("GET", `/v1/leads/${leadId}`);
    expect(held.body).toMatchObject({
      state: "held",
      deliveries: [{ partnerId: waiting.id, hold: { until, reason: { code: "partner_paused" } } }],
    });
    await user.call("POST", "/v1/portal/resume");
    await recheckHolds(portal.server.context, { id: waiting.id, organisationId });
    await routeDueLeads(portal.server.context, organisationId, id);
    await drainDueDeliveries(portal.server.context, organisationId, waiting.id);
    expect((await portal.staff.call("GET", `/v1/leads/${leadId}`)).body).toMatchObject({
      state: "sold",
      deliveries: [{ partnerId: waiting.id, state: "delivered" }],
    });
  });

  test("that would end before now is refused, and who may not pause does not", async () => {
    const partner = await portal.partner();
    const user = await portal.user(partner);
    const past = { until: new Date(portal.now().getTime()).toISOString() };
    expect((await user.call("POST", "/v1/portal/pause", past)).body).toMatchObject({
      status: 422,
      fields: [{ field: "until" }],
    });
    const reader = await portal.user(partner, { mayPause: false });
    for (const route of ["pause", "resume"]) {
      expect((await reader.call("POST", `/v1/portal/${route}`, route === "pause" ? {} : undefined)).status).toBe(403);
    }
  });
});
