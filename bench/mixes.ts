/** The kinds of work that are measured. `partners` and `campaign` are documents as the API takes them. */
export interface Mix {
  readonly name: MixName;
  readonly title: string;
  readonly partnerCount: number;
  readonly format: "json" | "soap12";
  /** This many of the partners, from the first, never answer. */
  readonly hanging: number;
  /** Partners have limits and opening hours; every fifth is closed, and every other fifth full after this many leads. */
  readonly hasRules: boolean;
}

export const mixNames = ["json1", "json50", "soap10", "hang20"] as const;
export type MixName = (typeof mixNames)[number];

export const mixes: Readonly<Record<MixName, Mix>> = {
  json1: { name: "json1", title: "json to 1 partner", partnerCount: 1, format: "json", hanging: 0, hasRules: false },
  json50: {
    name: "json50",
    title: "json to 50 partners with limits and hours",
    partnerCount: 50,
    format: "json",
    hanging: 0,
    hasRules: true,
  },
  soap10: {
    name: "soap10",
    title: "soap12 to 10 partners",
    partnerCount: 10,
    format: "soap12",
    hanging: 0,
    hasRules: false,
  },
  hang20: {
    name: "hang20",
    title: "json to 20 partners, 1 of them hanging",
    partnerCount: 20,
    format: "json",
    hanging: 1,
    hasRules: false,
  },
};

/** How many leads a partner with a small limit may get in a day. */
export const smallLimit = 20;

/** A hanging partner is given up after this. */
export const timeoutMs = 2_000;

/** Requests that may be under way at once, in all, in Handoff and in the bare pipeline. */
export const concurrency = 50;

/** Where a partner takes leads. What is under /hang/ gets no answer. */
export function pathOf(mix: Mix, place: number): string {
  return `/${mix.name}/${place < mix.hanging ? "hang" : "partner"}/${place}`;
}

export const isClosed = (mix: Mix, place: number) => mix.hasRules && place % 5 === 3;
export const hasSmallLimit = (mix: Mix, place: number) => mix.hasRules && place % 5 === 4;

const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const allDay = [
  { from: "00:00", to: "09:00" },
  { from: "09:00", to: "17:30" },
  { from: "17:30", to: "24:00" },
];
/** The other half of the week from now: closed whenever the bench runs. */
const closedNow = (now: Date) => ({ [weekdays[(now.getUTCDay() + 6 + 3) % 7] ?? "mon"]: allDay });

const jsonBody =
  '{"n":"{{ lead.n }}","firstName":"{{ lead.first_name }}","lastName":"{{ lead.last_name }}","email":"{{ lead.email }}",' +
  '"phone":"{{ lead.phone }}","postcode":"{{ lead.postcode }}","comments":"{{ lead.comments }}"}';

const soapBody =
  '<SubmitLead xmlns="urn:example"><n>{{ lead.n }}</n><firstName>{{ lead.first_name }}</firstName>' +
  "<lastName>{{ lead.last_name }}</lastName><email>{{ lead.email }}</email><phone>{{ lead.phone }}</phone>" +
  "<postcode>{{ lead.postcode }}</postcode><comments>{{ lead.comments }}</comments></SubmitLead>";

export function partnerDocument(mix: Mix, place: number, partners: string, now: Date): Record<string, unknown> {
  const url = `${partners}${pathOf(mix, place)}`;
  const internet =
    mix.format === "json"
      ? { method: "json", url, timeoutMs, body: jsonBody, success: { path: "$.outcome", equals: "success" } }
      : {
          method: "soap12",
          url,
          timeoutMs,
          action: "urn:example/SubmitLead",
          body: soapBody,
          success: { path: "//status", equals: "accepted" },
        };
  const roomy = { hour: 1_000_000, day: 1_000_000, month: 10_000_000 };
  return {
    name: `Partner ${place}`,
    timeZone: "Europe/London",
    currency: "GBP",
    leadValue: 100,
    creditLimit: 1_000_000_000,
    concurrency: Math.max(10, Math.floor(concurrency / mix.partnerCount)),
    internet,
    ...(mix.hasRules ? { schedule: scheduleOf(mix, place, now) } : {}),
    limits: hasSmallLimit(mix, place) ? { ...roomy, day: smallLimit } : roomy,
  };
}

function scheduleOf(mix: Mix, place: number, now: Date): Record<string, unknown> {
  return isClosed(mix, place) ? closedNow(now) : Object.fromEntries(weekdays.map((day) => [day, allDay]));
}

export function campaignDocument(mix: Mix, partnerIds: readonly string[]): Record<string, unknown> {
  const text = (key: string, more: object = {}) => ({ key, type: "text", ...more });
  return {
    name: `Mix ${mix.name}`,
    timeZone: "Europe/London",
    fields: [
      text("n"),
      text("first_name", { required: true, group: "contact" }),
      text("last_name", { required: true, group: "contact" }),
      { key: "email", type: "email", required: true, group: "contact" },
      { key: "phone", type: "phone", country: "GB", group: "contact" },
      { key: "postcode", type: "postcode" },
      { key: "property_type", type: "choice", choices: ["Detached", "Terraced", "Flat"] },
      text("comments"),
    ],
    duplicates: { match: ["email"], mode: "any", days: 30 },
    routing: [{ method: "round_robin", partners: partnerIds.map((partnerId) => ({ partnerId })) }],
  };
}
