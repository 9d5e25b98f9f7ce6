import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type MailCatcher, startMailCatcher } from "../../demo/mail-catcher.ts";
import { sendDueAlerts } from "../../src/alerts/send-due-alerts.ts";
import { goodPassword, openBrowser } from "../helpers/people.ts";
import { openPortal, type Portal, type PortalPartner } from "../helpers/portal.ts";

/** Who signs in for a partner: made, changed and kept out by staff. */

let portal: Portal;
let mail: MailCatcher;
let partner: PortalPartner;
beforeAll(async () => {
  mail = await startMailCatcher("127.0.0.1", 0);
  const smtp = { SMTP_HOST: "127.0.0.1", SMTP_PORT: String(mail.port), SMTP_FROM: "Handoff <handoff@example.com>" };
  portal = await openPortal({ ...smtp, PUBLIC_URL: "https://leads.example.com" }, [`127.0.0.1:${mail.port}`]);
  partner = await portal.partner();
  await portal.staff.call("PATCH", "/v1/organisation", { staffEmail: "staff@sellers.test" });
});
afterAll(async () => {
  await portal.close();
  await mail.stop();
});

let made = 0;
const add = async (changes: object = {}, { id } = partner) => {
  made += 1;
  const user = { email: `agent${made}@buyers.test`, name: `Agent ${made}`, access: { level: "leads" }, ...changes };
  return portal.staff.call("POST", `/v1/partners/${id}/users`, user);
};
const mailsTo = async (email: string) => {
  await sendDueAlerts(portal.server.context, portal.staff.organisationId);
  return mail.messages().filter(({ to }) => to.includes(email));
};

describe("a user of a partner", () => {
  test("with a password set by staff signs in with it at once, and gets no invitation", async () => {
    const created = await add({ password: goodPassword, phone: "+447700900001" });
    expect(created.status).toBe(201);
    const [email, id] = [created.text("email"), created.text("id")];
    expect(created.body).toMatchObject({
      ...{ partnerId: partner.id, state: "active", invitedUntil: null, phone: "+447700900001" },
      access: { level: "leads", mayAccept: false, maySeeFunds: false, mayChangeSettings: "no" },
    });
    expect(created.raw).not.toContain(goodPassword);
    const browser = openBrowser(portal.server);
    expect((await browser.signIn(email)).status).toBe(200);
    const account = await browser.call("GET", "/v1/portal/account");
    expect(account.body).toMatchObject({
      ...{ organisation: "Sellers", partner: { id: partner.id, name: partner.name }, user: { id, email }, pause: null },
      permissions: ["portal.account", "portal.leads.read"],
    });
    expect(await mailsTo(email)).toEqual([]);
  });

  test("without one gets an invitation by mail, which staff can send again: then only the newer one is good", async () => {
    const created = await add();
    const [email, id] = [created.text("email"), created.text("id")];
    expect(created.body).toMatchObject({ state: "invited", invitedUntil: expect.any(String) });
    const linksSent = async () =>
      (await mailsTo(email)).map(({ message }) => /\/invitation\/([\w-]+)/.exec(message.text ?? "")?.[1]);
    const [older] = await linksSent();
    portal.later(60_000);
    expect((await portal.staff.call("POST", `/v1/partner-users/${id}/resend`)).status).toBe(200);
    const links = await linksSent();
    expect(links).toHaveLength(2);
    const newer = links.find((link) => link !== older);
    const browser = openBrowser(portal.server);
    const accept = async (token = "") =>
      browser.call("POST", "/v1/invitations/accept", { token, password: goodPassword });
    expect((await accept(older)).status).toBe(410);
    expect((await accept(newer)).status).toBeLessThan(300);
    const again = await portal.staff.call("POST", `/v1/partner-users/${id}/resend`);
    expect(again.body).toMatchObject({ status: 409, code: "user_state" });
  });

  test("is listed with the partner, newest first, and is none of the organisation's own", async () => {
    const other = await portal.partner();
    const first = await add({}, other);
    portal.later(1_000);
    const second = await add({ access: { level: "all_but_leads", maySeeFunds: true } }, other);
    const list = await portal.staff.call("GET", `/v1/partners/${other.id}/users`);
    expect(Object(list.body).data.map(({ id }: { id: string }) => id)).toEqual([second.text("id"), first.text("id")]);
    const own = await portal.staff.call("GET", "/v1/users");
    expect(own.raw).not.toContain(first.text("id"));
  });

  test.each([
    [{ access: { level: "all_but_leads", mayAccept: true } }, "access.mayAccept"],
    [{ access: { level: "all_but_leads", mayUpdateStatus: true } }, "access.mayUpdateStatus"],
    [{ access: { level: "all_but_leads", mayReturn: true } }, "access.mayReturn"],
    [{ access: { level: "everything" } }, "access.level"],
    [{ access: { level: "leads", mayChangeSettings: "sometimes" } }, "access.mayChangeSettings"],
    [{ access: { level: "leads", mayFly: true } }, "access.mayFly"],
    [{ email: "nobody" }, "email"],
    [{ password: "short" }, "password"],
    [{ password: "aaaaaaaaaaaaaa" }, "password"],
    [{ role: "owner" }, "role"],
  ])("given %j is refused with the reason, at %s", async (changes, field) => {
    const refused = await add(changes);
    expect(refused.body).toMatchObject({ status: 422, fields: [{ field, message: expect.any(String) }] });
  });

  test("bears an email that nobody else in the organisation has, however it is written", async () => {
    const email = (await add()).text("email");
    expect((await add({ email: email.toUpperCase() })).body).toMatchObject({ status: 409, code: "email_taken" });
  });
});

describe("a change", () => {
  test("of the access counts from the next request on", async () => {
    const user = await portal.user(partner);
    expect((await user.call("GET", "/v1/portal/funds")).status).toBe(200);
    const changed = await portal.staff.call("PATCH", `/v1/partner-users/${user.id}`, {
      access: { level: "leads" },
      name: "New name",
    });
    expect(changed.body).toMatchObject({ name: "New name", access: { level: "leads", maySeeFunds: false } });
    expect((await user.call("GET", "/v1/portal/funds")).body).toMatchObject({ status: 403, code: "not_allowed" });
    expect((await user.call("GET", "/v1/portal/leads")).status).toBe(200);
    const changes = await portal.staff.call("GET", `/v1/changes?objectId=${user.id}`);
    expect(changes.value("data.0")).toMatchObject({
      objectKind: "user",
      after: { name: "New name", access: { level: "leads" } },
    });
    const nonsense = await portal.staff.call("PATCH", `/v1/partner-users/${user.id}`, {
      access: { level: "all_but_leads", mayReturn: true },
    });
    expect(nonsense.body).toMatchObject({ status: 422, fields: [{ field: "access.mayReturn" }] });
  });

  test("that disables signs out at once and keeps out, until it is undone", async () => {
    const user = await portal.user(partner);
    const disabled = await portal.staff.call("PATCH", `/v1/partner-users/${user.id}`, { disabled: true });
    expect(disabled.value("state")).toBe("disabled");
    expect((await user.call("GET", "/v1/portal/account")).status).toBe(401);
    expect((await user.signIn(user.email)).status).toBe(401);
    const resend = await portal.staff.call("POST", `/v1/partner-users/${user.id}/resend`);
    expect(resend.body).toMatchObject({ code: "user_state" });
    await portal.staff.call("PATCH", `/v1/partner-users/${user.id}`, { disabled: false });
    expect((await user.signIn(user.email)).status).toBe(200);
    expect((await user.call("GET", "/v1/portal/account")).status).toBe(200);
  });

  test("of the password by staff ends what was signed in with the old one", async () => {
    const user = await portal.user(partner);
    const url = `/v1/partner-users/${user.id}/password`;
    expect((await portal.staff.call("POST", url, { password: user.email })).body).toMatchObject({
      status: 422,
      fields: [{ field: "password" }],
    });
    expect((await user.call("GET", "/v1/portal/account")).status).toBe(200);
    const password = "nine kites over a hill";
    expect((await portal.staff.call("POST", url, { password })).status).toBe(200);
    expect((await user.call("GET", "/v1/portal/account")).status).toBe(401);
    expect((await user.signIn(user.email)).status).toBe(401);
    expect((await user.signIn(user.email, password)).status).toBe(200);
  });

  test("of one of staff, or of another organisation's, is none by these routes", async () => {
    const strange = await portal.user(await portal.partner({}, portal.others));
    const staff = await portal.staff.call("POST", "/v1/users", {
      email: "own@sellers.test",
      name: "Own",
      role: "viewer",
    });
    for (const id of [strange.id, staff.text("id")]) {
      expect((await portal.staff.call("PATCH", `/v1/partner-users/${id}`, { disabled: true })).status).toBe(404);
      expect((await portal.staff.call("POST", `/v1/partner-users/${id}/resend`)).status).toBe(404);
      const password = { password: "nine kites over a hill" };
      expect((await portal.staff.call("POST", `/v1/partner-users/${id}/password`, password)).status).toBe(404);
    }
    expect((await add({}, { ...partner, id: strange.id })).status).toBe(404);
  });
});

describe("the mails about a change of settings", () => {
  test("say to staff what is asked for, and to who asked what came of it", async () => {
    const user = await portal.user(partner, { mayChangeSettings: "after_approval" });
    const asked = await user.call("PATCH", "/v1/portal/settings", {
      limits: { day: 20 },
      schedule: { mon: [{ from: "09:00", to: "17:00" }] },
    });
    const [open] = await mailsTo("staff@sellers.test");
    expect(open?.message.subject).toBe(`${partner.name} asks for other limits or opening hours`);
    expect(open?.message.text).toContain("limit day: none → 20; opening hours: always → mon 09:00-17:00");
    const id = asked.text("settings.pending.id");
    await portal.staff.call("POST", `/v1/settings-changes/${id}/decide`, { decision: "rejected", note: "Too many" });
    const [decided] = await mailsTo(user.email);
    expect(decided?.message.subject).toBe("Your change of settings was rejected");
    expect(decided?.message.text).toContain("Note: Too many");
    expect(decided?.message.html).toContain("limit day: none → 20");
  });
});
