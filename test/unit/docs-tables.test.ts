import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "@jest/globals";
import { z } from "zod";
import { alertKinds } from "../../src/alerts/insert-alerts.ts";
import { campaignSchema } from "../../src/campaigns/campaign.ts";
import { fieldSchema } from "../../src/campaigns/fields.ts";
import { evaluateFilter, filterSchema } from "../../src/campaigns/filter.ts";
import { normaliseFields } from "../../src/campaigns/normalise-fields.ts";
import { problemCodes } from "../../src/campaigns/read-field.ts";
import { refusalOf } from "../../src/channels/address-guard.ts";
import { openAnswer } from "../../src/channels/answer-paths.ts";
import type { FailureCode, Outcome, Reply } from "../../src/channels/contract.ts";
import { judgeHttp, judgeMail } from "../../src/channels/judge.ts";
import { ruleSchema, testRule } from "../../src/channels/rules.ts";
import { readConfig } from "../../src/config.ts";
import { connectionStates } from "../../src/connections/connection.ts";
import { arrivalOf } from "../../src/delivery/next-state.ts";
import { deliveryStates } from "../../src/delivery/present-delivery.ts";
import { errors } from "../../src/errors.ts";
import { leadStates } from "../../src/leads/find-leads.ts";
import { acceptFirstSchema } from "../../src/partners/accept-first.ts";
import { limitsSchema, windowEnd, windowStart } from "../../src/partners/limit-windows.ts";
import { partnerSchema } from "../../src/partners/partner.ts";
import { openingAt, type Schedule, weekdays } from "../../src/partners/schedule.ts";
import { problemKinds } from "../../src/payments/decide-top-up.ts";
import { payPalCurrencies } from "../../src/payments/paypal-money.ts";
import { topUpStates } from "../../src/payments/present-top-up.ts";
import { leadCostSchema } from "../../src/prices/lead-cost.ts";
import { acceptSale, agreeSale, priceNotes } from "../../src/prices/sale-terms.ts";
import { projectRoot } from "../../src/project-root.ts";
import { referralStates } from "../../src/referrals/present-referral.ts";
import {
  mostReferralBytes,
  mostReferredContacts,
  mostReferredFields,
  mostReferredNotes,
  referralRefusalCodes,
} from "../../src/referrals/protocol.ts";
import {
  isOverridable,
  type ReturnRefusal,
  type ReturnRefusalCode,
  returnPolicySchema,
} from "../../src/returns/return-policy.ts";
import { usualReturnReasons } from "../../src/returns/return-reasons.ts";
import { blockOf, explainReason, type Reason, type ReasonCode } from "../../src/routing/reasons.ts";
import { readPage, readTable, readTables, type Table } from "../helpers/documentation.ts";

/** Holds what the pages list and tell in tables to the program. */

describe("docs/intake.md", () => {
  const page = readPage("docs/intake.md");

  test.each(readTable(page, "What the types take"))("a field %s given %s keeps %s", (field, given, kept) => {
    const parsed = fieldSchema.parse({ key: "field", ...JSON.parse(field ?? "") });
    const result = normaliseFields([parsed], { field: JSON.parse(given ?? "") });
    expect(result).toMatchObject({ ok: true, values: { field: JSON.parse(kept ?? "") } });
  });

  test("lists every code of a field", () => {
    expect(readTable(page, "Errors of fields").map(([code]) => code)).toEqual([...problemCodes]);
  });

  test("names statuses and codes of refusals as they are", () => {
    const rows = readTable(page, "Answers").filter(([, code]) => code !== "");
    expect(rows.length).toBeGreaterThan(8);
    for (const [status, code] of rows)
      expect(new Map(Object.entries(errors)).get(code ?? "")?.status).toBe(Number(status));
  });
});

describe("docs/limits-and-hours.md", () => {
  const page = readPage("docs/limits-and-hours.md");
  const minute = (text = "") => new Date(text.replace("Z", ":00Z"));

  test("lists every limit", () => {
    expect(readTable(page, "Limits").map(([name]) => name)).toEqual(Object.keys(limitsSchema.shape));
  });

  const [hours = [], windows = []] = readTables(page, "When the clocks change");

  test.each(hours)("in %s the window %s on %s opens %s and closes %s", (zone = "", window, on, opens, closes) => {
    const [from = "", to = ""] = (window ?? "").split(" to ");
    const weekday = weekdays[(new Date(`${on}T12:00:00Z`).getUTCDay() + 6) % 7] ?? "mon";
    const schedule: Schedule = { [weekday]: [{ from, to }] };
    const before = new Date(minute(opens).getTime() - 60_000);
    expect(openingAt(schedule, zone, before)).toEqual({ open: false, opensAt: minute(opens) });
    expect(openingAt(schedule, zone, minute(opens))).toEqual({ open: true, until: minute(closes) });
  });

  test.each(windows)("in %s the %s that holds %s begins %s and ends %s", (zone = "", window, at, begins, ends) => {
    const kind = z.enum(["hour", "day", "week", "month"]).parse(window);
    expect(windowStart(kind, zone, minute(at))).toEqual(minute(begins));
    expect(windowEnd(kind, zone, minute(at))).toEqual(minute(ends));
  });
});

/** One of each code, with the figures that the page shows. A code that is missing here does not pass the type check. */
const reasons: Readonly<Record<ReasonCode, Reason>> = {
  partner_inactive: { code: "partner_inactive" },
  not_a_buyer: { code: "not_a_buyer" },
  no_delivery_method: { code: "no_delivery_method" },
  introduced_it: { code: "introduced_it" },
  already_had: { code: "already_had", state: "rejected" },
  sale_limit_reached: { code: "sale_limit_reached", limit: 1 },
  filter_not_matched: { code: "filter_not_matched", conditions: ['postcode must start with "SW"'] },
  closed: { code: "closed", until: "2026-11-23T09:00:00.000Z" },
  partner_paused: { code: "partner_paused", until: "2026-11-23T09:00:00.000Z" },
  limit_reached: {
    code: "limit_reached",
    scope: "partner",
    window: "day",
    limit: 10,
    used: 10,
    until: "2026-11-21T00:00:00.000Z",
  },
  spend_limit_reached: {
    code: "spend_limit_reached",
    scope: "partner",
    window: "month",
    limitMinor: 50_000,
    usedMinor: 49_500,
    priceMinor: 1_250,
    until: "2026-12-01T00:00:00.000Z",
  },
  no_funds: { code: "no_funds", availableMinor: 500, priceMinor: 1_250 },
  endpoint_paused: { code: "endpoint_paused", until: "2026-11-20T10:05:00.000Z", reason: "The partner answered 401" },
};

describe("docs/routing.md", () => {
  const page = readPage("docs/routing.md");

  test("lists every reason with its words and its kind", () => {
    const expected = Object.values(reasons).map((reason) => [reason.code, explainReason(reason), blockOf(reason)]);
    expect(readTable(page, "Reasons")).toEqual(expected);
  });

  test.each(readTable(page, "Filters"))("the filter %s of %s: %s", (filter, lead, holds) => {
    const parsed = filterSchema.parse(JSON.parse(filter ?? ""));
    const values = z.record(z.string(), z.union([z.string(), z.number()]).nullable()).parse(JSON.parse(lead ?? ""));
    expect(evaluateFilter(parsed, values).matches).toBe(holds === "yes");
  });

  test("lists every method", () => {
    const method = campaignSchema.shape.routing.unwrap().element.shape.method.unwrap();
    expect(readTable(page, "Groups").map(([name]) => name)).toEqual(method.options);
  });

  test("lists every state of leads and deliveries", () => {
    const [leads, deliveries] = readTables(page, "States");
    const names = (rows: Table = []) => rows.map(([name]) => name);
    expect(names(leads)).toEqual([...leadStates]);
    expect(names(deliveries)).toEqual([...deliveryStates]);
  });
});

describe("docs/accept-first.md", () => {
  test("lists every setting of a partner that accepts first, with what it is when left out", () => {
    const shown = readTable(readPage("docs/accept-first.md"), "Accept first").map(([name, usual]) => [name, usual]);
    expect(shown).toEqual(Object.entries(acceptFirstSchema.parse({})).map(([name, usual]) => [name, String(usual)]));
  });
});

describe("docs/delivery-methods.md", () => {
  const page = readPage("docs/delivery-methods.md");
  const [statuses = [], faults = [], failures = [], mails = []] = readTables(page, "What an answer means");
  const judged = (outcome: Outcome) => [outcome.kind, arrivalOf(outcome)];

  const withStatus = statuses.flatMap(([answer = "", outcome, arrived]) =>
    [...(answer.startsWith("2xx") ? "" : answer).matchAll(/\d{3}/g)].map(
      ([status]) => [status, outcome, arrived] as const,
    ),
  );

  test.each(withStatus)("%s is %s, arrived: %s", (status, outcome, arrived) => {
    expect(judged(judgeHttp(answered(Number(status)), {}))).toEqual([outcome, arrived]);
  });

  test("every status is as its row says", () => {
    const shown = new Map(withStatus.map(([status, outcome, arrived]) => [status, `${outcome} ${arrived}`]));
    const others: Readonly<Record<string, string>> = {
      2: "accepted yes",
      3: "broken unknown",
      4: "broken unknown",
      5: "retry yes",
    };
    for (let status = 200; status < 600; status += 1) {
      const expected = shown.get(String(status)) ?? others[String(status)[0] ?? ""];
      expect(`${status} ${judged(judgeHttp(answered(status), {})).join(" ")}`).toBe(`${status} ${expected}`);
    }
  });

  test("a rule that does not hold, or cannot be asked", () => {
    const success = { path: "$.ok", equals: true };
    const rows = statuses.filter(([answer]) => answer?.startsWith("2xx"));
    expect(rows.map((row) => row.slice(1))).toEqual([
      judged(judgeHttp(answered(200, '{"ok":false}'), { success })),
      judged(judgeHttp(answered(200, "<html>"), { success })),
    ]);
  });

  test.each(faults)("a SOAP Fault of %s is %s, arrived: %s", (names = "", outcome, arrived) => {
    const known = ["Client", "Sender", "Server", "Receiver", "VersionMismatch", "MustUnderstand"];
    const named = known.filter((name) => names.includes(name));
    expect(named.length).toBe(2);
    for (const name of named)
      for (const status of [200, 400, 422, 500]) {
        const fault = `<E:Envelope xmlns:E="urn:e"><E:Body><E:Fault><faultcode>E:${name}</faultcode></E:Fault></E:Body></E:Envelope>`;
        expect(judged(judgeHttp(answered(status, fault), {}))).toEqual([outcome, arrived]);
      }
  });

  test("failures, each by its code", () => {
    const codes: readonly [FailureCode, "no" | "unknown"][] = [
      ["dns", "no"],
      ["connect", "no"],
      ["timeout", "unknown"],
      ["cut_off", "unknown"],
      ["protocol", "unknown"],
      ["tls", "no"],
      ["refused_address", "no"],
      ["authentication", "no"],
    ];
    const expected = codes.map(([code, arrived]) => judged(judgeHttp(failed(code, arrived), {})));
    // What does not render is never sent: its outcome is made where deliveries are attempted.
    expect(failures.map((row) => row.slice(1))).toEqual([...expected, ["broken", "unknown"]]);
  });

  test("mail servers, each by its answer", () => {
    const replies = [
      answered(250),
      answered(451),
      answered(550),
      failed("connect", "no"),
      failed("timeout", "unknown"),
    ];
    expect(mails.map((row) => row.slice(1))).toEqual(replies.map((reply) => judged(judgeMail(reply))));
    expect(judged(judgeMail(failed("authentication", "no")))).toEqual(mails[3]?.slice(1));
  });

  const [, rules = []] = readTables(page, "Reading the answer");

  test.each(rules)("the rule %s of %s: %s", (rule = "", answer = "", holds) => {
    const tested = testRule(ruleSchema.parse(JSON.parse(rule)), openAnswer(answer));
    expect(tested).toEqual({ ok: true, holds: holds === "yes" });
  });

  test.each(readTable(page, "Addresses that are refused"))("%s is refused as %s", (address = "", what) => {
    expect(refusalOf(address)).toBe(what);
  });
});

function answered(status: number, body = ""): Reply {
  return { kind: "answer", status, headers: {}, body, truncated: false, unreadable: null, durationMs: 1 };
}

function failed(code: FailureCode, arrived: "no" | "unknown"): Reply {
  return { kind: "failure", code, detail: "it failed", arrived, durationMs: 1 };
}

describe("docs/money.md", () => {
  const page = readPage("docs/money.md");

  test.each(readTable(page, "A price that the answer names"))(
    "an answer that names %s",
    (named = "", charged, note) => {
      const price = { valueMinor: 1000, answer: { min: 500, max: 3000 } };
      const accepted = acceptSale(agreeSale(price, null), "GBP", named === "nothing" ? null : named, new Date());
      expect([String(accepted.billedMinor), accepted.priceNote ?? ""]).toEqual([charged, note]);
    },
  );

  test("lists every setting of alerts about funds, and what it is unless set", () => {
    const usual = Object.entries(partnerSchema.shape.alerts.parse({})).filter(([name]) => name.startsWith("funds"));
    const shown = readTable(page, "Low funds").map(([name, , value]) => [name, value]);
    expect(shown).toEqual(usual.map(([name, value]) => [name, String(value)]));
  });

  test("tells every note about a price", () => {
    const told = readTable(page, "A price that the answer names").map(([, , note]) => note ?? "");
    expect([...new Set(told.filter((note) => note !== ""))].sort()).toEqual([...priceNotes].sort());
  });

  test.each(readTable(page, "What introducers are paid"))("%s is a good cost", (cost = "") => {
    expect(leadCostSchema.safeParse(JSON.parse(cost)).success).toBe(true);
  });

  test("tells every account and every kind of transaction of a sale", () => {
    const [, accounts = [], kinds = []] = readTables(page, "What a sale books");
    expect(accounts.map(([name]) => name)).toEqual(
      expect.arrayContaining(["funds", "reserved", "`lead_cost`, `payable`"]),
    );
    expect(kinds.map(([name]) => name)).toEqual(
      expect.arrayContaining(["reserve", "post", "void", "cost", "cost_reversal"]),
    );
  });
});

describe("docs/payments.md", () => {
  const page = readPage("docs/payments.md");

  test("lists every state of a payment and every kind of problem", () => {
    expect(readTable(page, "A payment through PayPal").map(([state]) => state)).toEqual([...topUpStates]);
    expect(readTable(page, "Problems").map(([kind]) => kind)).toEqual([...problemKinds]);
  });

  test("names every currency that PayPal takes", () => {
    const [, named = ""] = /PayPal takes ([A-Z][A-Z, \n]+ and [A-Z]{3});/.exec(page.text) ?? [];
    expect(named.match(/[A-Z]{3}/g)).toEqual([...payPalCurrencies]);
  });
});

describe("docs/operations.md", () => {
  const page = readPage("docs/operations.md");
  const settings = readTable(page, "Settings");

  test("lists every setting, in the order of the schema", () => {
    const schema = readSource("src/config.ts").split("const environmentSchema")[1]?.split(".superRefine")[0] ?? "";
    const names = [...schema.matchAll(/^ {4}([A-Z][A-Z_]+):/gm)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(20);
    expect(settings.map(([name]) => name)).toEqual(names);
  });

  test("tells what each setting is without a word of ours", () => {
    const read = readConfig({ SMTP_HOST: "mail.example.com" });
    if (!read.ok) throw new Error(read.problems.join("; "));
    const { config } = read;
    const usual: Readonly<Record<string, unknown>> = {
      PORT: config.port,
      HOST: config.host,
      DATA_DIR: config.dataDirectory,
      QUEUE_PREFIX: config.queuePrefix,
      DEMO: Number(config.demo),
      WORKER_CONCURRENCY: config.workerConcurrency,
      DATABASE_POOL_SIZE: config.databasePoolSize,
      INTAKE_RATE_PER_MINUTE: config.intakeRatePerMinute,
      WRONG_KEYS_PER_MINUTE: config.wrongKeysPerMinute,
      SESSION_IDLE_HOURS: config.sessionIdleHours,
      SESSION_DAYS: config.sessionDays,
      LOG_LEVEL: config.logLevel,
      SMTP_PORT: config.smtp?.port,
      SMTP_SECURE: Number(config.smtp?.secure),
      SMTP_FROM: config.smtp?.from,
    };
    const shown = settings.filter(([, value]) => value !== "").map(([name, value]) => [name, value]);
    expect(shown).toEqual(Object.entries(usual).map(([name, value]) => [name, String(value)]));
  });

  test("lists every message of the log", () => {
    const shown = readTable(page, "Logs").map(([name]) => name);
    expect(shown.sort()).toEqual(loggedMessages().sort());
  });

  test("lists every kind of alert", () => {
    expect(readTable(page, "Alerts").map(([kind]) => kind)).toEqual([...alertKinds]);
  });

  test("lists every metric of ours", () => {
    const names = [...readSource("src/http/metrics.ts").matchAll(/name: "(handoff_\w+)"/g)].map(([, name]) => name);
    const [paths = [], metrics = []] = readTables(page, "Health");
    expect(paths.map(([name]) => name)).toEqual(["/healthz", "/readyz", "/metrics"]);
    expect(metrics.map(([name]) => name)).toEqual(names);
  });
});

/** Names of messages are texts of their own in the program, such as "sweep.failed"; only that of a request has no dot. */
function loggedMessages(): string[] {
  const files = ["src", "workers", "queues"].flatMap((folder) =>
    readdirSync(path.join(projectRoot, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => path.join(folder, name)),
  );
  const subjects =
    "alerts?|delivery|drain|intake|job|lease|payment|queue|rate_limit|referral|referral_status|request|routing|sign_in|sweep";
  const named = new RegExp(`"((?:${subjects})\\.[a-z_]+)"`, "g");
  const names = files.flatMap((file) => [...readSource(file).matchAll(named)].map(([, name = ""]) => name));
  return ["request", ...new Set(names)];
}

describe("docs/returns.md", () => {
  const page = readPage("docs/returns.md");

  test("lists every setting of a partner's returns, with what it is when left out", () => {
    const shown = readTable(page, "What was agreed").map(([name, usual]) => [name, usual]);
    const words: Readonly<Record<string, string>> = {
      within: "any time",
      perMonth: "any number",
      rerouteWithinHours: "never",
    };
    const usual = Object.entries(returnPolicySchema.parse({})).map(([name, value]) => [
      name,
      value === null ? words[name] : typeof value === "string" ? value : JSON.stringify(value),
    ]);
    expect(shown).toEqual(usual);
  });

  test("names the reasons that an organisation begins with", () => {
    const paragraph = page.text.split("**Reasons**")[1]?.split("\n\n")[0] ?? "";
    const named = usualReturnReasons.map(({ code }) => `\`${code}\``);
    expect(named.filter((name) => !paragraph.includes(name))).toEqual([]);
  });

  test("lists everything that stands against a return, and whether staff may let it be", () => {
    const all: Readonly<Record<ReturnRefusalCode, ReturnRefusal>> = {
      not_theirs: { code: "not_theirs" },
      already_reversed: { code: "already_reversed" },
      already_returned: { code: "already_returned", state: "open" },
      declined_before: { code: "declined_before" },
      not_agreed: { code: "not_agreed" },
      out_of_time: { code: "out_of_time", until: "" },
      too_many: { code: "too_many", used: 1, limit: 1 },
      above_share: { code: "above_share", used: 1, sold: 1, percent: 1 },
      reason_not_taken: { code: "reason_not_taken", reason: "" },
    };
    const expected = Object.values(all).map((refusal) => [refusal.code, isOverridable(refusal) ? "yes" : "no"]);
    expect(readTable(page, "What is refused").map(([code, , override]) => [code, override])).toEqual(expected);
  });
});

describe("docs/referrals.md", () => {
  const page = readPage("docs/referrals.md");

  test("lists every state of a referral", () => {
    expect(readTable(page, "What becomes of it").map(([state]) => state)).toEqual([...referralStates]);
  });

  test("names refusals as they are", () => {
    const codes = readTable(page, "Refer deal").map(([code = ""]) => new Map(Object.entries(errors)).get(code)?.status);
    expect(codes.length).toBeGreaterThan(5);
    expect(new Set(codes)).toEqual(new Set([409]));
  });
});

describe("docs/referral-protocol.md", () => {
  const page = readPage("docs/referral-protocol.md");

  test("lists every code with which a referral is refused, and its status", () => {
    const expected = referralRefusalCodes.map((code) => [code, String(errors[code].status)]);
    expect(readTable(page, "Refusals").map(([code, status]) => [code, status])).toEqual(expected);
  });

  test("tells the bounds as they are", () => {
    for (const bound of [mostReferralBytes, mostReferredFields, mostReferredContacts, mostReferredNotes]) {
      expect(page.text).toContain(String(bound));
    }
  });
});

test("docs/connected-portals.md lists every state of a connection", () => {
  const shown = readTable(readPage("docs/connected-portals.md"), "States").map(([state]) => state);
  expect(shown).toEqual([...connectionStates]);
});

test("docs/api.md lists every error as it is", () => {
  const expected = Object.entries(errors).map(([code, { status, title }]) => [code, String(status), title]);
  expect(readTable(readPage("docs/api.md"), "Errors")).toEqual(expected);
});

function readSource(file: string): string {
  return readFileSync(path.join(projectRoot, file), "utf8");
}
