import type { NewUser } from "../../src/people/invite-user.ts";
import { inviteUser } from "../../src/people/invite-user.ts";
import type { PartnerAccess, Role } from "../../src/people/permissions.ts";
import { type CallOptions, call, type Method, type TestAnswer, type TestApi } from "./api.ts";

/** People who sign in over the API as browsers do. */

export const goodPassword = "seven boats in a harbour";

let people = 0;

/** A browser: keeps the cookies that it was given, and says where its requests come from. */
export interface Browser {
  /** The cookies by name. */
  readonly cookies: ReadonlyMap<string, string>;
  call(method: Method, url: string, body?: unknown, options?: CallOptions): Promise<TestAnswer>;
  signIn(email: string, password?: string, more?: object): Promise<TestAnswer>;
}

export function openBrowser(server: TestApi): Browser {
  const cookies = new Map<string, string>();
  const ask: Browser["call"] = async (method, url, body, options = {}) => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { "sec-fetch-site": "same-origin", "user-agent": "Test/1", ...(cookie === "" ? {} : { cookie }) };
    const answer = await call(server.api, null, method, url, body, {
      ...options,
      headers: { ...headers, ...options.headers },
    });
    for (const line of [answer.headers["set-cookie"] ?? []].flat()) {
      const [, name = "", value = "", rest = ""] = /^([^=]+)=([^;]*);(.*)$/.exec(String(line)) ?? [];
      if (/Max-Age=0(;|$)/.test(rest)) cookies.delete(name);
      else cookies.set(name, value);
    }
    return answer;
  };
  return {
    cookies,
    call: ask,
    signIn: async (email, password = goodPassword, more = {}) =>
      ask("POST", "/v1/session", { email, password, ...more }),
  };
}

export interface TestUser {
  readonly id: string;
  readonly email: string;
}

/** A user with a password. */
export async function addUser(
  server: TestApi,
  organisationId: string,
  of: { readonly role: Role } | { readonly partnerId: string; readonly access: PartnerAccess },
  email?: string,
): Promise<TestUser> {
  people += 1;
  const person = { email: email ?? `person${people}@example.com`, name: `Person ${people}`, phone: null };
  const user: NewUser = { ...person, password: goodPassword, ...of };
  const change = { organisationId, by: "test", at: server.context.clock() };
  const made = await inviteUser(server.context, change, user);
  if (made.kind !== "made") throw new Error(`The user was not made: ${made.kind}`);
  return { id: made.id, email: person.email };
}

/** A browser in which a new user of this kind is signed in. */
export async function signedIn(
  server: TestApi,
  organisationId: string,
  of: { readonly role: Role } | { readonly partnerId: string; readonly access: PartnerAccess },
): Promise<Browser & TestUser> {
  const user = await addUser(server, organisationId, of);
  const browser = openBrowser(server);
  const answer = await browser.signIn(user.email);
  if (answer.status !== 200) throw new Error(`Not signed in: ${answer.raw}`);
  return { ...browser, ...user };
}

/** The whole of what a partner's user can be given. */
export const fullAccess: PartnerAccess = {
  level: "leads_and_reports",
  mayAccept: true,
  mayUpdateStatus: true,
  mayReturn: true,
  mayPause: true,
  maySeeFunds: true,
  mayChangeSettings: "at_once",
};
