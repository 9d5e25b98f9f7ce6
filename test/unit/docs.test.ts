import { existsSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "@jest/globals";
import { z } from "zod";
import { campaignSchema } from "../../src/campaigns/campaign.ts";
import { filterSchema } from "../../src/campaigns/filter.ts";
import { checkEmailSettings, checkInternetSettings } from "../../src/channels/check-settings.ts";
import { soapAuthSchema } from "../../src/channels/http-settings.ts";
import { rulesSchema } from "../../src/channels/rules.ts";
import { sampleVariables } from "../../src/channels/sample-variables.ts";
import { emailSettingsSchema, internetSettingsSchema } from "../../src/channels/settings.ts";
import { createTrialTime } from "../../src/channels/trial-time.ts";
import { namedFields } from "../../src/partners/check-delivery.ts";
import { limitsSchema } from "../../src/partners/limit-windows.ts";
import { partnerSchema } from "../../src/partners/partner.ts";
import { scheduleSchema } from "../../src/partners/schedule.ts";
import { priceSchema } from "../../src/prices/price.ts";
import { projectRoot } from "../../src/project-root.ts";
import { inboundSchema } from "../../src/referrals/inbound.ts";
import {
  linkAnswerSchema,
  referralAnswerSchema,
  referralRefusalSchema,
  referralSchema,
  statusCallbackSchema,
} from "../../src/referrals/protocol.ts";
import { statusBody } from "../../src/referrals/status-routes.ts";
import { returnPolicySchema } from "../../src/returns/return-policy.ts";
import { workflowSchema } from "../../src/workflows/workflow.ts";
import { type Block, readPage, readPages } from "../helpers/documentation.ts";

/** Holds the pages to the program: examples to its schemas, tables to its rules, links to its files. */

const pages = readPages();
const blocks = pages.flatMap((page) => page.blocks).filter(({ page }) => page !== "docs/template-variables.md");
const nameOf = (block: Block) => `${block.page}:${block.line}`;

describe("a block of a page", () => {
  test.each(blocks.map((block) => [nameOf(block), block] as const))(
    "%s is run, checked, or says why not",
    (_, block) => {
      const { language, mark } = block;
      const allowed: Readonly<Record<string, RegExp>> = {
        sh: /^(run|not run: .+)$/,
        json: /^(answer|json: [a-z]+)$/,
        text: /^(answer|text|output of npm start)$/,
        yaml: /^text$/,
        nginx: /^text$/,
      };
      expect(mark ?? "no mark").toMatch(allowed[language] ?? /^(sh|json|text|yaml) is the language$/);
    },
  );
});

const resolutionSchema = z.strictObject({
  outcome: z.enum(["delivered", "not_delivered"]),
  reference: z.string(),
  reason: z.string(),
});

const schemas: Readonly<Record<string, z.ZodType>> = {
  answer: z.object({ status: z.string() }),
  auth: soapAuthSchema,
  campaign: campaignSchema,
  email: emailSettingsSchema,
  filter: filterSchema,
  inbound: inboundSchema,
  internet: internetSettingsSchema,
  limits: limitsSchema,
  link: linkAnswerSchema,
  partner: partnerSchema,
  price: priceSchema,
  referral: referralSchema,
  referralanswer: referralAnswerSchema,
  referralrefusal: referralRefusalSchema,
  referralreport: statusBody,
  referralstatus: statusCallbackSchema,
  resolve: resolutionSchema,
  returns: returnPolicySchema,
  rules: rulesSchema,
  schedule: scheduleSchema,
  workflow: workflowSchema,
};

describe("an example in JSON", () => {
  const examples = blocks.flatMap((block) => {
    const kind = /^json: (\w+)$/.exec(block.mark ?? "")?.[1];
    return kind === undefined ? [] : [[nameOf(block), kind, block] as const];
  });

  test.each(examples)("%s is a good document (%s)", async (_, kind, block) => {
    const schema = schemas[kind];
    if (schema === undefined) throw new Error(`There is no schema for ${kind}.`);
    const document = schema.safeParse(JSON.parse(block.text));
    expect(document.error?.issues ?? []).toEqual([]);
    if (kind === "internet") expect(await problemsOfInternet(document.data)).toEqual([]);
    if (kind === "email") expect(await problemsOfEmail(document.data)).toEqual([]);
  });
});

function problemsOfInternet(document: unknown) {
  const settings = internetSettingsSchema.parse(document);
  return checkInternetSettings(settings, sampleVariables(namedFields(settings)), createTrialTime(60_000));
}

function problemsOfEmail(document: unknown) {
  const settings = emailSettingsSchema.parse(document);
  return checkEmailSettings(settings, sampleVariables(namedFields(settings)), createTrialTime(60_000));
}

describe("a link of a page", () => {
  const links = pages.flatMap((page) =>
    [...withoutCode(page.text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => [page.name, target] as const),
  );

  test.each(links.filter(([, target]) => !target.startsWith("https://")))(
    "in %s to %s leads somewhere",
    (from, target) => {
      const [file = "", heading] = target.split("#");
      const name = file === "" ? from : path.join(path.dirname(from), file);
      expect(existsSync(path.join(projectRoot, name))).toBe(true);
      if (heading !== undefined) expect(headingsOf(name)).toContain(heading);
    },
  );

  test("every page can be reached from the README", () => {
    const linked = links.filter(([from]) => from === "README.md").map(([, target]) => target.split("#")[0]);
    expect(pages.map(({ name }) => name).filter((name) => name !== "README.md" && !linked.includes(name))).toEqual([]);
  });
});

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```$/gm, "").replace(/`[^`\n]*`/g, "code");
}

/** Headings as GitHub makes them into anchors. */
function headingsOf(page: string): string[] {
  const headings = readPage(page).text.matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

describe("no example reaches a real person or company", () => {
  test.each(pages.map((page) => [page.name, page.text] as const))("%s names reserved domains only", (_, text) => {
    const hosts = [...text.matchAll(/(?:https?:\/\/|[\w.+-]@)((?:[a-z0-9-]+\.)+[a-z]{2,})/gi)].map(
      ([, host = ""]) => host,
    );
    expect(hosts.filter((host) => !isReserved(host) && !referenced.has(host))).toEqual([]);
  });

  test.each(pages.map((page) => [page.name, page.text] as const))("%s has made-up phone numbers only", (_, text) => {
    const numbers = [...text.matchAll(/(?<![\w-])(?:\+|00|0|\(0)\d(?:[() ]{0,2}\d){8,14}(?![\w-])/g)].map(([found]) =>
      found.replace(/\D/g, "").replace(/^0044|^44|^00|^0/, ""),
    );
    const madeUp = /^(20794600?\d{2,4}|2079460\d{3}|7700900\d{3}|12025550\d{3}|1202555012\d)$/;
    expect(numbers.filter((number) => !madeUp.test(number))).toEqual([]);
  });
});

/** RFC 2606 and RFC 6761. */
function isReserved(host: string): boolean {
  return /(^|\.)(test|example|invalid|localhost)$|(^|\.)example\.(com|net|org)$/i.test(host);
}

/** What the pages refer readers to, and names of XML namespaces. */
const referenced = new Set([
  "github.com",
  "liquidjs.com",
  "schemas.xmlsoap.org",
  "www.standardwebhooks.com",
  "www.w3.org",
]);
