import { isRight, levelsInColumns, readRights, rolesInColumns } from "../../test/helpers/rights.ts";
import { type ApiDocument, fillPath, type Operation, readDocument, sampleOf } from "./api-document.ts";
import { type Attacker, addPartner } from "./attacker.ts";
import { type Answer, textAt, valueAt } from "./http.ts";
import { type AskAs, askWith, invite, makeOrganisation, type Organisation, signIn } from "./people.ts";
import type { Report } from "./record.ts";

/** Everybody on every route that there is: who may do what is the table in docs/people.md, and nothing else. */

interface Somebody {
  readonly name: string;
  readonly ask: AskAs;
  /** null: nobody any more, and let in nowhere. */
  readonly may: ((permission: string) => boolean) | null;
}

const rights = readRights();

function mayBy(column: string, switches: Readonly<Record<string, boolean | string>> = {}) {
  const all = new Map(rights.map((right) => [right.permission, isRight(right, column, switches)]));
  return (permission: string) => permission === "signed_in" || all.get(permission) === true;
}

export async function attackRights(attacker: Attacker): Promise<void> {
  const { record } = attacker;
  let document: ApiDocument = { operations: [], schemas: {} };
  const everybody: Somebody[] = [];
  await record.case("one of every kind", async (report) => {
    document = await readDocument(attacker, report);
    everybody.push(...(await makeEverybody(attacker, report, document)));
  });
  const guarded = document.operations.filter(({ permission }) => permission !== null);
  for (const somebody of everybody) {
    for (const operation of guarded) {
      await record.case(`${operation.method} ${operation.path} as ${somebody.name}`, async (report) =>
        askAs(somebody, operation, document, report),
      );
    }
  }
  await attackFromElsewhere(attacker, document, guarded);
}

async function askAs(somebody: Somebody, operation: Operation, document: ApiDocument, report: Report): Promise<void> {
  const permission = operation.permission ?? "";
  // It would sign out who asks; that it does is for other tests.
  if (operation.method === "DELETE" && operation.path === "/v1/session" && somebody.may !== null) return;
  const answer = await somebody.ask(report, callOf(operation, document));
  const expected = somebody.may === null ? "unknown" : somebody.may(permission) ? "through" : "refused";
  const result = resultOf(answer, permission);
  if (result !== expected)
    report("accepted_bad", `was ${result}, and should be ${expected}: ${answer.status} ${answer.text.slice(0, 200)}`);
}

/** Nobody's ids, and a body that fits. */
function callOf(operation: Operation, document: ApiDocument) {
  const id = "01890000-0000-7000-8000-000000000000";
  const body = operation.hasBody ? { document: sampleOf(operation.body, document, () => id) } : {};
  return { method: operation.method, path: fillPath(operation, () => id), shows: /intake key/, ...body };
}

function resultOf({ status, json }: Answer, permission: string): string {
  if (status === 401 && valueAt(json, "code") === "unauthorised") return "unknown";
  // What somebody may do in general and not with this body is told in other words.
  const isByGuard = valueAt(json, "detail") === `This takes the permission ${permission}.`;
  return status === 403 && valueAt(json, "code") === "not_allowed" && isByGuard ? "refused" : "through";
}

async function makeEverybody(attacker: Attacker, report: Report, document: ApiDocument): Promise<readonly Somebody[]> {
  const organisation = await makeOrganisation(attacker, "Rights");
  const everybody: Somebody[] = [];
  for (const role of rolesInColumns) {
    const person =
      role === "owner" ? organisation.owner : await invite(attacker, report, organisation, "/v1/users", { role });
    everybody.push({ name: role, ask: (await signIn(attacker, report, person)).ask, may: mayBy(role) });
  }
  everybody.push(...(await makeKeys(attacker, report, organisation)));
  everybody.push(...(await makeThoseWhoAreOut(attacker, report, organisation)));
  if (document.operations.some(({ path }) => path === "/v1/partners/{id}/users")) {
    everybody.push(...(await makePartnerUsers(attacker, report, organisation)));
  }
  return everybody;
}

async function makeKeys(attacker: Attacker, report: Report, { key }: Organisation): Promise<readonly Somebody[]> {
  const scopes = ["leads.read", "partners.change", "people.read"];
  const { json } = await attacker.call(report, {
    method: "POST",
    path: "/v1/api-keys",
    key,
    document: { name: "some", scopes },
  });
  const scoped = textAt(json, "key");
  attacker.secrets.set("an API key with scopes", scoped);
  const everything = mayBy("admin");
  const isForKeys = (permission: string) => permission !== "signed_in";
  return [
    {
      name: "a key that may all",
      ask: async (told, call) => attacker.call(told, { ...call, key }),
      may: (permission) => isForKeys(permission) && everything(permission),
    },
    {
      name: `a key with ${scopes.join(", ")}`,
      ask: async (told, call) => attacker.call(told, { ...call, key: scoped }),
      may: (permission) => scopes.includes(permission),
    },
  ];
}

async function makeThoseWhoAreOut(
  attacker: Attacker,
  report: Report,
  organisation: Organisation,
): Promise<readonly Somebody[]> {
  const { key } = organisation;
  const disabled = await invite(attacker, report, organisation, "/v1/users", { role: "admin" });
  const { ask } = await signIn(attacker, report, disabled);
  const path = `/v1/users/${disabled.id}`;
  await attacker.call(report, { method: "PATCH", path, key, document: { disabled: true } });
  const signedOut = await invite(attacker, report, organisation, "/v1/users", { role: "admin" });
  const session = await signIn(attacker, report, signedOut);
  await session.ask(report, { method: "DELETE", path: "/v1/session" });
  return [
    { name: "an admin who was disabled", ask, may: null },
    { name: "an admin who signed out", ask: session.ask, may: null },
  ];
}

const switches = { mayPause: true, maySeeFunds: true, mayChangeSettings: "after_approval" } as const;
const leadSwitches = { mayAccept: true, mayUpdateStatus: true, mayReturn: true } as const;

async function makePartnerUsers(
  attacker: Attacker,
  report: Report,
  organisation: Organisation,
): Promise<readonly Somebody[]> {
  const partner = await addPartner(attacker, report, {}, organisation.key);
  const made: Somebody[] = [];
  for (const level of levelsInColumns) {
    const all = { level, ...switches, ...(level === "all_but_leads" ? {} : leadSwitches) };
    for (const [words, access] of [
      ["every switch on", all],
      ["every switch off", { level }],
    ] as const) {
      const person = await invite(attacker, report, organisation, `/v1/partners/${partner}/users`, { access });
      const { ask } = await signIn(attacker, report, person);
      made.push({ name: `a partner's user: ${level}, ${words}`, ask, may: mayBy(level, { ...access }) });
    }
  }
  return made;
}

/** What another site's page can have a browser send, with its cookie and all. */
async function attackFromElsewhere(
  attacker: Attacker,
  document: ApiDocument,
  guarded: readonly Operation[],
): Promise<void> {
  const { owner } = await makeOrganisation(attacker, "Elsewhere");
  for (const [name, headers] of [
    ["another site", { "sec-fetch-site": "cross-site", origin: "https://evil.example.com" }],
    ["a neighbour", { "sec-fetch-site": "same-site" }],
    ["an old browser on another site", { "sec-fetch-site": undefined, origin: "https://evil.example.com" }],
  ] as const) {
    await attacker.record.case(`every route that changes something, from ${name}`, async (report) => {
      const { cookie } = await signIn(attacker, report, owner);
      for (const operation of guarded.filter(({ method }) => method !== "GET")) {
        const call = callOf(operation, document);
        const given = Object.fromEntries(
          Object.entries(headers).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
        );
        const { status, json } = await attacker.call(report, { ...call, key: null, headers: { cookie, ...given } });
        if (status !== 403 || valueAt(json, "code") !== "cross_site")
          report("accepted_bad", `${operation.method} ${operation.path} answered ${status}`);
      }
      const still = await askWith(attacker, report, cookie, { path: "/v1/session" });
      if (still.status !== 200) report("accepted_bad", `signed out: ${still.status}`);
    });
  }
}
