import { afterAll, beforeAll, describe, expect, jest, test } from "@jest/globals";
import {
  accessSchema,
  allStaffPermissions,
  type PartnerAccess,
  portalPermissions,
  portalPermissionsOf,
  rolePermissions,
  staffPermissions,
} from "../../src/people/permissions.ts";
import { call, createTestApi, type Method, type TestAnswer, type TestApi, type TestClient } from "../helpers/api.ts";
import { addPartner } from "../helpers/api-documents.ts";
import { fullAccess, goodPassword, openBrowser, signedIn } from "../helpers/people.ts";
import {
  type GuardedOperation,
  isRight,
  levelsInColumns,
  listGuarded,
  type Right,
  readRights,
  rolesInColumns,
} from "../helpers/rights.ts";

/** The table of docs/people.md against the program, and against the running API: every route, as everybody. */

/** Hundreds of requests each, on a machine that may have other things to do. */
jest.setTimeout(120_000);

const rights = readRights();
const switchNames = ["mayAccept", "mayUpdateStatus", "mayReturn", "mayPause", "maySeeFunds"] as const;

/** Every access that a partner's user can be given. */
function allAccess(): readonly PartnerAccess[] {
  return levelsInColumns.flatMap((level) =>
    Array.from({ length: 2 ** switchNames.length }, (_, bits) => bits).flatMap((bits) =>
      (["no", "at_once", "after_approval"] as const).flatMap((mayChangeSettings) => {
        const switches = Object.fromEntries(switchNames.map((name, index) => [name, (bits & (1 << index)) !== 0]));
        const parsed = accessSchema.safeParse({ level, ...switches, mayChangeSettings });
        return parsed.success ? [parsed.data] : [];
      }),
    ),
  );
}

describe("the table of who may do what", () => {
  test("has every permission, in words, in order", () => {
    const all = Object.entries({ ...staffPermissions, ...portalPermissions });
    expect(rights.map(({ permission, words }) => [permission, words])).toEqual(all);
  });

  test.each(rolesInColumns)("says what a user with the role %s may", (role) => {
    const said = rights.filter((right) => isRight(right, role)).map(({ permission }) => permission);
    expect(said).toEqual([...rolePermissions[role]].sort(byTable));
  });

  test("says what a partner's user may, for every level with every switch", () => {
    const all = allAccess();
    expect(all.length).toBeGreaterThan(100);
    for (const access of all) {
      const said = rights
        .filter((right) => isRight(right, access.level, { ...access }))
        .map(({ permission }) => permission);
      expect([access, said]).toEqual([access, [...portalPermissionsOf(access)].sort(byTable)]);
    }
  });
});

function byTable(one: string, other: string): number {
  const order = rights.map(({ permission }) => permission);
  return order.indexOf(one) - order.indexOf(other);
}

describe("every route", () => {
  let server: TestApi;
  let mine: TestClient;
  let partnerId: string;
  let operations: readonly GuardedOperation[];
  beforeAll(async () => {
    server = await createTestApi({ environment: { WRONG_KEYS_PER_MINUTE: "0" } });
    mine = await server.createClient("Sellers");
    partnerId = await addPartner(mine);
    operations = listGuarded(server.api);
  });
  afterAll(async () => server.close());

  type Ask = (method: Method, url: string, body?: unknown) => Promise<TestAnswer>;

  /** Nobody's id and an empty body: enough to see whether somebody is let through, and too little to do anything. */
  const ask = async (client: Ask, { method, path, hasBody }: GuardedOperation) =>
    client(
      method as Method,
      path.replace(/\{\w+\}/g, "01900000-0000-7000-8000-000000000000"),
      hasBody ? {} : undefined,
    );

  /** Asks every route, and compares who is let through with what is expected. */
  async function compare(client: Ask, may: (permission: string) => boolean): Promise<void> {
    for (const operation of operations.filter(({ path }) => !endsSessions.has(path))) {
      const answer = await ask(client, operation);
      const told = `${operation.method} ${operation.path} (${operation.permission})`;
      const expected = may(operation.permission) ? "through" : "refused";
      expect([told, resultOf(answer)]).toEqual([told, expected]);
    }
  }

  /** Asked apart: they sign out who asks, or everybody else. */
  const endsSessions: ReadonlySet<string> = new Set(["/v1/session"]);

  function resultOf({ status, value }: TestAnswer): string {
    if (status === 403 && value("code") === "not_allowed") return "refused";
    return status === 401 || status === 403 || status >= 500 ? `${status} ${String(value("code"))}` : "through";
  }

  const mayBy = (column: string, switches: Readonly<Record<string, boolean | string>> = {}) => {
    const all = new Map(rights.map((right: Right) => [right.permission, isRight(right, column, switches)]));
    return (permission: string) => permission === "signed_in" || all.get(permission) === true;
  };

  test("takes a permission of the table, and there is a route for each of staff's", () => {
    const known = new Set(["signed_in", ...rights.map(({ permission }) => permission)]);
    expect(operations.filter(({ permission }) => !known.has(permission))).toEqual([]);
    expect(operations.length).toBeGreaterThan(70);
  });

  test("that changes something takes no permission to see, and one that shows something none to change, but for these", () => {
    const isToSee = (permission: string) => permission.endsWith(".read") || permission === "portal.account";
    const odd = operations.filter(({ method, permission }) => (method === "GET") !== isToSee(permission));
    const names = odd
      .filter(({ permission, path }) => permission !== "signed_in" && !path.startsWith("/v1/portal/"))
      .map(({ method, path, permission }) => `${method} ${path} ${permission}`);
    expect(names.sort()).toEqual([
      "GET /v1/api-keys keys.manage",
      "GET /v1/campaigns/{id}/intake-keys campaigns.change",
      "GET /v1/leads/{id}/outbounds referrals.send",
      "GET /v1/users/{id}/sessions people.manage",
      // What would become of a lead, which it neither stores nor sends.
      "POST /v1/campaigns/{id}/explain leads.read",
    ]);
  });

  test.each(rolesInColumns)("lets a user with the role %s through exactly where the table says", async (role) => {
    const browser = await signedIn(server, mine.organisationId, { role });
    await compare(browser.call, mayBy(role));
    expect((await browser.call("GET", "/v1/session")).status).toBe(200);
    expect((await browser.call("DELETE", "/v1/session")).status).toBe(204);
  });

  test.each(
    levelsInColumns.flatMap((level) => {
      const isBlind = level === "all_but_leads";
      const noLeads = isBlind ? { mayAccept: false, mayUpdateStatus: false, mayReturn: false } : {};
      const none = { mayPause: false, maySeeFunds: false, mayChangeSettings: "no" as const };
      const without = { ...none, mayAccept: false, mayUpdateStatus: false, mayReturn: false };
      return [
        [level, "every switch on", { ...fullAccess, level, ...noLeads }],
        [level, "every switch off", { ...fullAccess, level, ...without }],
      ] as const;
    }),
  )("lets a partner's user with the level %s and %s through exactly where the table says", async (level, _, access) => {
    const browser = await signedIn(server, mine.organisationId, { partnerId, access });
    await compare(browser.call, mayBy(level, { ...access }));
    expect((await browser.call("DELETE", "/v1/session")).status).toBe(204);
  });

  test("lets a key through where its scopes say, and nowhere that is for who is signed in", async () => {
    const everything = new Set<string>(allStaffPermissions);
    await compare(mine.call, (permission) => everything.has(permission));
    const some = new Set(["leads.read", "money.read", "partners.change"]);
    const made = await mine.call("POST", "/v1/api-keys", { name: "some", scopes: [...some] });
    const scoped: Ask = async (...words) => call(server.api, made.text("key"), ...words);
    await compare(scoped, (permission) => some.has(permission));
  });

  test("lets nobody through who is disabled, signed out, or was never signed in", async () => {
    const disabled = await signedIn(server, mine.organisationId, { role: "admin" });
    const signedOut = await signedIn(server, mine.organisationId, { role: "admin" });
    const cookies = new Map(signedOut.cookies);
    await mine.call("PATCH", `/v1/users/${disabled.id}`, { disabled: true });
    await signedOut.call("DELETE", "/v1/session");
    const afterwards = openBrowser(server);
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const kept: Ask = async (method, url, body) => afterwards.call(method, url, body, { headers: { cookie } });
    for (const operation of operations) {
      for (const client of [disabled.call, kept, openBrowser(server).call]) {
        const answer = await ask(client, operation);
        expect([operation.path, answer.status, answer.value("code")]).toEqual([operation.path, 401, "unauthorised"]);
      }
    }
    expect((await disabled.signIn(disabled.email, goodPassword)).status).toBe(401);
  });
});
