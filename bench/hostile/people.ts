import { setTimeout as sleep } from "node:timers/promises";
import type { Attacker, Call } from "./attacker.ts";
import { type Answer, textAt } from "./http.ts";
import type { Report } from "./record.ts";

/** People of an attacked installation, who come in as people do: by a mailed invitation, with a password. */

export interface Organisation {
  readonly key: string;
  readonly id: string;
}

export interface Person {
  readonly email: string;
  readonly password: string;
}

/** An organisation of its own, with an owner, so that what its people change is nobody else's. */
export async function makeOrganisation(
  attacker: Attacker,
  name: string,
): Promise<Organisation & { readonly owner: Person }> {
  const email = `${attacker.random.word(14)}@example.com`;
  const words = ["organisation", "create", "--name", name, "--owner-email", email];
  const { code, output } = await attacker.installation.run(words);
  const key = /API key: +(\S+)/.exec(output)?.[1];
  const id = /Organisation: +(\S+)/.exec(output)?.[1];
  if (code !== 0 || key === undefined || id === undefined) throw new Error(`No organisation was made: ${output}`);
  attacker.secrets.set(`the API key of ${name}`, key);
  return { key, id, owner: await acceptInvitation(attacker, email) };
}

/** Invites somebody, who accepts. */
export async function invite(
  attacker: Attacker,
  report: Report,
  { key }: Organisation,
  path: string,
  more: object,
): Promise<Person & { readonly id: string }> {
  const email = `${attacker.random.word(14)}@example.com`;
  const document = { email, name: `Name ${attacker.random.word(8)}`, ...more };
  const { json } = await attacker.call(report, { method: "POST", path, key, document });
  return { id: textAt(json, "id"), ...(await acceptInvitation(attacker, email)) };
}

const patienceMs = 20_000;

async function acceptInvitation(attacker: Attacker, email: string): Promise<Person> {
  const { installation, secrets, random } = attacker;
  const token = await mailedToken(attacker, email, "invitation");
  const password = `pass ${random.word(20)}`;
  secrets.set(`the password of ${email}`, password);
  const report: Report = (_kind, what) => {
    throw new Error(what);
  };
  const document = { token, password };
  const accepted = await attacker.call(report, { method: "POST", path: "/v1/invitations/accept", key: null, document });
  if (accepted.status !== 204) throw new Error(`${installation.api} did not take an invitation: ${accepted.text}`);
  return { email, password };
}

/** The end of the newest link that was mailed to somebody; the mail may still be on its way. */
export async function mailedToken(attacker: Attacker, email: string, kind: "invitation" | "reset"): Promise<string> {
  const endsAt = performance.now() + patienceMs;
  const pattern = new RegExp(`/${kind}/([\\w-]{43})`);
  for (;;) {
    const mails = attacker.installation.mail.messages().filter(({ to }) => to.includes(email));
    const found = mails
      .map(({ message }) => pattern.exec(message.text ?? "")?.[1])
      .findLast((token) => token !== undefined);
    if (found !== undefined) return found;
    if (performance.now() > endsAt) throw new Error(`No ${kind} was mailed to ${email}.`);
    await sleep(50);
  }
}

export type AskAs = (report: Report, call: Call) => Promise<Answer>;

/** Signs somebody in; gives how to call as them, and the cookie. */
export async function signIn(
  attacker: Attacker,
  report: Report,
  { email, password }: Person,
): Promise<{ readonly ask: AskAs; readonly cookie: string }> {
  const document = { email, password };
  const answer = await attacker.call(report, { method: "POST", path: "/v1/session", key: null, document });
  const cookie = [answer.headers["set-cookie"] ?? []]
    .flat()
    .map((line) => line.split(";")[0])
    .find((pair) => pair?.startsWith("__Host-handoff="));
  if (answer.status !== 200 || cookie === undefined) throw new Error(`${email} was not let in: ${answer.text}`);
  attacker.secrets.set(`the token of a session of ${email}`, cookie.slice("__Host-handoff=".length));
  return { cookie, ask: async (told, call) => askWith(attacker, told, cookie, call) };
}

/** A call from our own pages with a cookie. */
export async function askWith(attacker: Attacker, report: Report, cookie: string, call: Call): Promise<Answer> {
  const headers = { cookie, "sec-fetch-site": "same-origin", ...call.headers };
  return attacker.call(report, { ...call, key: null, headers });
}
