import { type Answer, type Sending, send, textAt, valueAt } from "./http.ts";
import type { AttackedInstallation } from "./installation.ts";
import type { Random } from "./random.ts";
import type { Report, TrialRecord } from "./record.ts";

/** What every group of attacks is given. */
export interface Attacker {
  readonly installation: AttackedInstallation;
  readonly random: Random;
  readonly record: TrialRecord;
  readonly isShort: boolean;
  /** Everything personal that was sent so far. */
  readonly personal: Set<string>;
  /** Everything secret so far: what it is called, and its value. */
  readonly secrets: Map<string, string>;
  /** Made-up people, each remembered. */
  person(): Person;
  /** Calls the API and looks at the answer as every answer is looked at: see `judge`. */
  call(report: Report, sending: Call): Promise<Answer>;
  /** The same, and anything but a refusal of 4xx is accepted bad. */
  refuse(report: Report, sending: Call): Promise<Answer>;
}

export interface Call extends Sending {
  /** null: without a key. The owner's where absent. */
  readonly key?: string | null;
  /** Sent as JSON, in place of `body`. */
  readonly document?: unknown;
  readonly base?: string;
  /** Secrets that this answer is there to show. */
  readonly shows?: RegExp;
}

export interface Person {
  readonly first_name: string;
  readonly last_name: string;
  readonly email: string;
  readonly phone: string;
  readonly comments: string;
}

export function createAttacker(
  installation: AttackedInstallation,
  random: Random,
  record: TrialRecord,
  isShort: boolean,
): Attacker {
  const personal = new Set<string>();
  const secrets = new Map(installation.secrets);
  const remember = <T extends string>(value: T): T => {
    personal.add(value);
    return value;
  };
  const call = async (report: Report, asked: Call): Promise<Answer> => {
    const {
      key = installation.ownerKey,
      document,
      base = installation.api,
      headers = {},
      body,
      shows,
      ...sending
    } = asked;
    const answer = await send(base, {
      ...sending,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(document === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: document === undefined ? body : JSON.stringify(document),
    });
    // Where leads are sent is shown to those whose leads they are.
    const own = new Map([
      [installation.ownerKey, /^intake key/],
      [installation.strangerKey, /^the stranger's intake key/],
    ]);
    const shown = shows ?? (key === null ? undefined : own.get(key));
    judge(report, answer, `${asked.method ?? "GET"} ${asked.path.slice(0, 100)}`, secrets, shown);
    return answer;
  };
  return {
    installation,
    random,
    record,
    isShort,
    personal,
    secrets,
    person: () => ({
      first_name: remember(`Given${random.word(10)}`),
      last_name: remember(`Family${random.word(10)}`),
      email: remember(`${random.word(14)}@example.com`),
      phone: remember(`+4477009${String(random.below(100_000)).padStart(5, "0")}`),
      comments: remember(`Comment ${random.word(16)}`),
    }),
    call,
    async refuse(report, asked) {
      const answer = await call(report, asked);
      if (answer.status < 400) {
        report(
          "accepted_bad",
          `${asked.method ?? "GET"} ${asked.path.slice(0, 100)} answered ${answer.status} ${answer.text.slice(0, 200)}`,
        );
      }
      return answer;
    },
  };
}

/** Words of the inside: a place in the code, a statement, a library. */
const inner =
  /node_modules|\n\s+at |\.ts:\d+|\/dist\/src\/|syntax error at or near|SQLSTATE|duplicate key value|violates|pg_catalog|ECONNREFUSED 127/;

function judge(
  report: Report,
  answer: Answer,
  told: string,
  secrets: ReadonlyMap<string, string>,
  shows: RegExp | undefined,
): void {
  const { status, text, headers, json } = answer;
  if (status >= 500) report("server_error", `${told} answered ${status} ${text.slice(0, 300)}`);
  if (status >= 400 && status < 500) {
    const type = String(headers["content-type"]);
    const isProblem = typeof valueAt(json, "code") === "string" && typeof valueAt(json, "title") === "string";
    // Pages that people open from a mail or another site say it to them.
    const isForPeople = type.startsWith("text/html") && /<title>[^<]{3,}<\/title>/.test(text);
    if (!(type.startsWith("application/problem+json") && isProblem) && !isForPeople) {
      report("accepted_bad", `${told} was refused with ${status} without saying why: ${type} ${text.slice(0, 200)}`);
    }
  }
  const isPage = String(headers["content-type"]).startsWith("text/html");
  if (!isPage && inner.test(text))
    report("leak", `${told} answered ${status} with ${inner.exec(text)?.[0].trim()}: ${text.slice(0, 300)}`);
  for (const [name, secret] of secrets) {
    if (text.includes(secret) && !shows?.test(name)) report("leak", `${told} answered with ${name}`);
  }
}

export const campaignFields = [
  { key: "first_name", type: "text", group: "contact" },
  { key: "last_name", type: "text", group: "contact" },
  { key: "email", type: "email", group: "contact" },
  { key: "phone", type: "phone", country: "GB", group: "contact" },
  { key: "comments", type: "text", maxLength: 20_000 },
  { key: "v", type: "text", maxLength: 20_000 },
  { key: "n", type: "number" },
  { key: "amount", type: "money" },
] as const;

/** The largest amount that docs/security.md promises to take. */
export const mostTaken = 1_000_000_000_000;

export interface Shop {
  readonly campaignId: string;
  readonly intakeKey: string;
}

/** A campaign, sold to these partners, one group each, all of them at once. */
export async function addCampaign(
  attacker: Attacker,
  report: Report,
  partnerIds: readonly string[],
  key?: string,
): Promise<Shop> {
  const routing = partnerIds.map((partnerId) => ({ method: "priority", partners: [{ partnerId, price: 100 }] }));
  const document = {
    name: `Campaign ${attacker.random.word(8)}`,
    timeZone: "Europe/London",
    saleLimit: Math.max(1, partnerIds.length),
    fields: campaignFields,
    routing,
  };
  const answer = await attacker.call(report, {
    method: "POST",
    path: "/v1/campaigns",
    document,
    shows: /intake key/,
    ...(key === undefined ? {} : { key }),
  });
  const intakeKey = textAt(answer.json, "intakeKey");
  const whose = key === attacker.installation.strangerKey ? "the stranger's " : "";
  attacker.secrets.set(`${whose}intake key ${attacker.secrets.size}`, intakeKey);
  return { campaignId: textAt(answer.json, "id"), intakeKey };
}

/** A partner with plenty of credit; gives its id. */
export async function addPartner(
  attacker: Attacker,
  report: Report,
  delivery: Readonly<Record<string, unknown>>,
  key?: string,
): Promise<string> {
  const name = `Partner ${attacker.random.word(8)}`;
  const document = {
    name,
    timeZone: "Europe/London",
    currency: "GBP",
    leadValue: 100,
    creditLimit: 1_000_000_000,
    ...delivery,
  };
  const sending = { method: "POST", path: "/v1/partners", document, ...(key === undefined ? {} : { key }) };
  return textAt((await attacker.call(report, sending)).json, "id");
}
