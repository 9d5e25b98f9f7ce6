import { TOTP } from "otpauth";
import type { Attacker, Call } from "./attacker.ts";
import { type Answer, textAt, valueAt } from "./http.ts";
import { invite, mailedToken, makeOrganisation, type Organisation, type Person, signIn } from "./people.ts";
import type { Report } from "./record.ts";

/** Passwords, codes, links and sessions that somebody tries out, and how fast they may. */
export async function guessPeople(attacker: Attacker): Promise<void> {
  const { record } = attacker;
  let organisation: Organisation = { key: "", id: "" };
  await record.case("an organisation with people", async () => {
    organisation = await makeOrganisation(attacker, "Guessed");
  });
  const someone = async (report: Report) => invite(attacker, report, organisation, "/v1/users", { role: "viewer" });
  await guessPasswords(attacker, someone);
  await guessCodes(attacker, someone);
  await guessLinks(attacker, someone);
  await guessSessions(attacker, someone, organisation);
  await compareSignInTimes(attacker, someone);
}

type Someone = (report: Report) => Promise<Person & { readonly id: string }>;

/** Before the first wait, and a few more for the seconds that go by. */
const mostLookedAt = 5 + 4;

async function trySignIn(
  attacker: Attacker,
  report: Report,
  document: object,
  more: Partial<Call> = {},
): Promise<Answer> {
  return attacker.call(report, { method: "POST", path: "/v1/session", key: null, document, ...more });
}

async function guessPasswords(attacker: Attacker, someone: Someone): Promise<void> {
  const { record, random } = attacker;
  await record.case("whatever is wrong with a sign-in gets the same answer", async (report) => {
    const { email, password } = await someone(report);
    const wrong = [
      { email, password: "wrong wrong wrong" },
      { email, password: password.toUpperCase() },
      { email, password: `${password} ` },
      { email: `${random.word(12)}@example.com`, password },
      { email, password, organisation: "nowhere-234567" },
    ];
    const answers = new Set<string>();
    for (const document of wrong) {
      const { status, text } = await trySignIn(attacker, report, document);
      if (status !== 401) report("accepted_bad", `answered ${status}`);
      answers.add(text);
    }
    if (answers.size !== 1) report("leak", [...answers].join(" | "));
  });
  for (const [what, isKnown] of [
    ["a user's", true],
    ["nobody's", false],
  ] as const) {
    await record.case(`${what} password, many at once, with the email in every spelling`, async (report) => {
      const email = isKnown ? (await someone(report)).email : `${random.word(14)}@example.com`;
      const spellings = [
        email,
        email.toUpperCase(),
        ` ${email}`,
        `${email} `,
        email.replace(/^./, (one) => one.toUpperCase()),
      ];
      const answers = await Promise.all(
        Array.from({ length: 60 }, async (_, count) => {
          const headers = {
            "x-forwarded-for": `10.0.0.${count}`,
            "user-agent": `agent ${count}`,
            cookie: madeUpDevice(count),
          };
          const document = { email: spellings[count % spellings.length], password: `wrong wrong ${count}` };
          return trySignIn(attacker, report, document, { headers });
        }),
      );
      const lookedAt = answers.filter(({ status }) => status === 401).length;
      if (lookedAt > mostLookedAt) report("accepted_bad", `${lookedAt} of 60 were looked at`);
      const told = answers.find(({ status }) => status === 429);
      if (!(Number(told?.headers["retry-after"]) > 0)) report("accepted_bad", "nobody was told when to come again");
    });
  }
  await record.case("a stranger who guesses keeps nobody out whose browser signed in before", async (report) => {
    const person = await someone(report);
    const first = await trySignIn(attacker, report, { email: person.email, password: person.password });
    const cookie = [first.headers["set-cookie"] ?? []]
      .flat()
      .map((line) => line.split(";")[0])
      .join("; ");
    for (let count = 0; count < 12; count += 1)
      await trySignIn(attacker, report, { email: person.email, password: `wrong wrong ${count}` });
    const again = { email: person.email, password: person.password };
    const { status } = await trySignIn(attacker, report, again, { headers: { cookie } });
    if (status !== 200) report("accepted_bad", `answered ${status}`);
  });
}

function madeUpDevice(count: number): string {
  const name = String(count).padStart(22, "A");
  return `__Host-handoff-device=${name}.${name}`;
}

async function guessCodes(attacker: Attacker, someone: Someone): Promise<void> {
  const { record, random, secrets } = attacker;
  await record.case("codes of an authenticator app, by who has the password", async (report) => {
    const person = await someone(report);
    const { ask } = await signIn(attacker, report, person);
    const begin = { method: "POST", path: "/v1/session/totp", document: { password: person.password } };
    const begun = await ask(report, { ...begin, shows: /^the secret of an app/ });
    const secret = textAt(begun.json, "secret");
    secrets.set(`the secret of an app of ${person.email}`, secret);
    const code = new TOTP({ secret }).generate();
    await ask(report, { method: "POST", path: "/v1/session/totp/confirm", document: { code } });
    const credentials = { email: person.email, password: person.password };
    let lookedAt = 0;
    for (let count = 0; count < 60; count += 1) {
      // The one that was used is none any more; asking for one is no way round the waiting.
      const guess = count === 0 ? code : String(random.below(1_000_000)).padStart(6, "0");
      const { status, json } = await trySignIn(attacker, report, { ...credentials, code: guess });
      if (status === 200) report("accepted_bad", "a guessed code was taken");
      if (status === 401) lookedAt += 1;
      const asked = await trySignIn(attacker, report, credentials);
      if (asked.status === 200) report("accepted_bad", "no code was asked for");
      if (status === 401 && valueAt(json, "code") !== "sign_in_failed")
        report("leak", `a wrong code was told: ${status}`);
    }
    if (lookedAt > mostLookedAt) report("accepted_bad", `${lookedAt} of 60 codes were looked at`);
  });
  await record.case("recovery codes that are none", async (report) => {
    const person = await someone(report);
    for (const code of ["", "0", "00000-00000-00000-00000", "' or true --", "null", "__proto__"]) {
      const { ask } = await signIn(attacker, report, person);
      const document = { password: person.password, code };
      const { status } = await ask(report, { method: "POST", path: "/v1/session/recovery-codes", document });
      if (status < 400) report("accepted_bad", `answered ${status} to ${JSON.stringify(code)}`);
    }
  });
}

async function guessLinks(attacker: Attacker, someone: Someone): Promise<void> {
  const { record } = attacker;
  await record.case("links near a real one", async (report) => {
    const person = await someone(report);
    const document = { email: person.email };
    await attacker.call(report, { method: "POST", path: "/v1/password-resets", key: null, document });
    const token = await mailedToken(attacker, person.email, "reset");
    const invitation = await mailedToken(attacker, person.email, "invitation");
    const last = token.endsWith("A") ? "B" : "A";
    const near = [
      `${token}A`,
      token.slice(1),
      token.toLowerCase(),
      `${token.slice(0, -1)}${last}`,
      invitation,
      "x",
      "%",
      "null",
    ];
    const password = "a password of whoever guessed";
    for (const guess of near.filter((one) => one !== token)) {
      const answer = await attacker.refuse(report, {
        method: "POST",
        path: "/v1/password-resets/complete",
        key: null,
        document: { token: guess, password },
      });
      if (answer.status !== 410) report("accepted_bad", `answered ${answer.status} to a link near a real one`);
    }
    const used = { method: "POST", path: "/v1/password-resets/complete", key: null };
    const set = await attacker.call(report, { ...used, document: { token, password } });
    if (set.status !== 204) report("accepted_bad", `the real link was answered ${set.status}`);
    const again = await attacker.call(report, { ...used, document: { token, password: person.password } });
    if (again.status !== 410) report("accepted_bad", `a used link was answered ${again.status}`);
  });
  await record.case("who asks for links again and again fills no mailbox", async (report) => {
    const { email } = await someone(report);
    const before = attacker.installation.mail.messages().length;
    for (let count = 0; count < 20; count += 1) {
      const document = { email: count % 2 === 0 ? email : email.toUpperCase() };
      await attacker.call(report, { method: "POST", path: "/v1/password-resets", key: null, document });
    }
    await mailedToken(attacker, email, "reset");
    const mails = attacker.installation.mail
      .messages()
      .slice(before)
      .filter(({ to }) => to.includes(email));
    if (mails.length > 1) report("accepted_bad", `${mails.length} mails`);
  });
}

async function guessSessions(attacker: Attacker, someone: Someone, organisation: Organisation): Promise<void> {
  const { record, random } = attacker;
  await record.case("sessions near a real one, and credentials in the wrong place", async (report) => {
    const person = await someone(report);
    const { cookie } = await signIn(attacker, report, person);
    const token = cookie.slice("__Host-handoff=".length);
    const near = [`${token}A`, token.slice(1), token.toUpperCase(), "", "null", random.word(43), organisation.key];
    for (const value of near) {
      const headers = { cookie: `__Host-handoff=${value}` };
      const { status } = await attacker.call(report, { path: "/v1/session", key: null, headers });
      if (status !== 401) report("accepted_bad", `answered ${status}`);
    }
    const asKey = await attacker.call(report, { path: "/v1/leads", key: token });
    const elsewhere = [
      `handoff=${token}`,
      `__host-handoff=${token}`,
      `x__Host-handoff=${token}`,
      `__Secure-handoff=${token}`,
    ];
    const statuses = [asKey.status];
    for (const header of elsewhere)
      statuses.push(
        (await attacker.call(report, { path: "/v1/leads", key: null, headers: { cookie: header } })).status,
      );
    if (statuses.some((status) => status !== 401)) report("accepted_bad", `answered ${statuses.join(", ")}`);
  });
}

/** Whether the time of a refusal tells that there is such a user. Told, not judged: a machine has other things to do. */
async function compareSignInTimes(attacker: Attacker, someone: Someone): Promise<void> {
  await attacker.record.case("time: a sign-in with an email that is unknown / known", async (report) => {
    const people = await Promise.all(Array.from({ length: 15 }, async () => someone(report)));
    const times: [number[], number[]] = [[], []];
    // No more for each than are looked at without waiting.
    for (let round = 0; round < 4; round += 1) {
      for (const { email } of people) {
        for (const [at, one] of [`${attacker.random.word(14)}@example.com`, email].entries()) {
          const answer = await trySignIn(attacker, report, { email: one, password: "wrong wrong wrong" });
          times[at]?.push(answer.durationMs);
        }
      }
    }
    const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
    const told = times.map((values) => `${median(values).toFixed(2)} ms`).join(" / ");
    attacker.record.note(`a sign-in with an email that is unknown / known: median ${told}`);
  });
}
