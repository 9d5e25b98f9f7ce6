import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type {
  ChannelName,
  ChannelRequest,
  FieldValue,
  Outcome,
  SendContext,
  TemplateVariables,
} from "../src/channels/contract.ts";
import { type ChannelSettings, channels } from "../src/channels/registry.ts";
import { maskSecrets } from "../src/channels/secrets.ts";

/** What a partner got of a lead, read from the wire by a parser that is not ours. */
export interface ReceivedLead {
  readonly fields: Readonly<Record<string, FieldValue>>;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** How the partner is to answer: in its own format (accept, reject), with a status, or not at all. */
export type Answer =
  | { readonly kind: "accept" }
  | { readonly kind: "reject" }
  | { readonly kind: "status"; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  | { readonly kind: "hang" };

export interface PartnerUnderTest {
  /** Settings as the API takes them, made to send `leadFields` and the header X-Name with the first name. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secret: string;
  readonly context: SendContext;
  /** Everything received so far. */
  readonly received: readonly ReceivedLead[];
  answerWith(answer: Answer): void;
  stop(): Promise<void>;
}

export interface ChannelUnderTest {
  readonly name: ChannelName;
  start(): Promise<PartnerUnderTest>;
  /** What a field looks like on this wire. */
  readonly wire: (value: FieldValue) => FieldValue;
  /** A status that says: later, for good. */
  readonly statuses: { readonly later: number; readonly broken: number };
  /** The partner's answer has a body that can name a reference and reject. */
  readonly answersWithBody: boolean;
}

export const leadFields = ["first_name", "last_name", "company", "age", "smoker", "comment"] as const;

const leads: Readonly<Record<string, Readonly<Record<string, FieldValue>>>> = {
  plain: { first_name: "Alex", last_name: "Example", company: "Acme", age: 42, smoker: true, comment: "Call me." },
  "names with marks": {
    first_name: "Zoë",
    last_name: "O'Brien",
    company: "Smith & Sons",
    age: -1.5,
    smoker: false,
    comment: "naïve",
  },
  markup: {
    first_name: "<b>",
    last_name: "]]>",
    company: "<![CDATA[x",
    age: 0,
    smoker: true,
    comment: '</comment><age>1</age><!-- " -->&amp;&#60;',
  },
  "quotes and backslashes": {
    first_name: '"',
    last_name: "\\",
    company: '\\"',
    age: 1,
    smoker: true,
    comment: `'"\\u0022\\n","admin":true,"x":"`,
  },
  emoji: { first_name: "😀", last_name: "👩‍👩‍👧", company: "𝒜", age: 1, smoker: true, comment: "日本語 العربية" },
  "several lines": {
    first_name: "A",
    last_name: "B",
    company: "C",
    age: 1,
    smoker: true,
    comment: "one\r\ntwo\n\nthree\tfour\r\n.\r\nfive",
  },
  "templates and forms": {
    first_name: "{{ 7|times:7 }}",
    last_name: "{% raw %}",
    company: "a=b&c=d;e",
    age: 1,
    smoker: true,
    comment: "100% %0d%0a + ? #",
  },
  "nothing optional": { first_name: "Alex", last_name: null, company: null, age: null, smoker: null, comment: null },
};

function variables(lead: Readonly<Record<string, FieldValue>>): TemplateVariables {
  return {
    lead: { ...lead, id: "lead-1", received_at: "2026-03-31T09:30:00.000Z", source: null },
    contacts: [],
    campaign: { id: "campaign-1", name: "Home insurance" },
    partner: { id: "partner-1", name: "Acme" },
    delivery: { id: "delivery-1", price_minor: 1250, currency: "GBP", test: false },
  };
}

/** What every channel must do. Partner and network are real: a server on loopback with parsers that are not ours. */
export function testChannel(under: ChannelUnderTest): void {
  const channel = channels[under.name];
  let partner: PartnerUnderTest;
  let settings: ChannelSettings;

  beforeAll(async () => {
    partner = await under.start();
    settings = channel.settings.parse(partner.settings);
  });
  afterAll(() => partner.stop());

  function render(lead: Readonly<Record<string, FieldValue>>): ChannelRequest {
    const rendered = channel.render(variables(lead), settings);
    if (!rendered.ok) throw new Error(`${rendered.field}: ${rendered.reason}`);
    return rendered.request;
  }

  async function deliver(lead: Readonly<Record<string, FieldValue>>, answer: Answer, change = {}): Promise<Outcome> {
    partner.answerWith(answer);
    const reply = await channel.send({ ...render(lead), ...change }, partner.context);
    return channel.judge(reply, settings);
  }

  const plain = { ...leads.plain };

  describe(`the channel ${under.name}`, () => {
    test("is registered under its name, and its settings are data", () => {
      expect(channel.name).toBe(under.name);
      expect(channel.settings.parse(JSON.parse(JSON.stringify(settings)))).toEqual(settings);
      expect(channel.settings.safeParse({ ...partner.settings, surprise: 1 }).success).toBe(false);
    });

    test("renders the same lead to the same request", () => {
      expect(render(plain)).toEqual(render(plain));
    });

    test.each(Object.entries(leads))("delivers a lead intact: %s", async (_name, lead) => {
      const before = partner.received.length;
      expect(await deliver(lead, { kind: "accept" })).toMatchObject({ kind: "accepted" });
      expect(partner.received).toHaveLength(before + 1);
      const expected = leadFields.map((key) => [key, under.wire(lead[key] ?? null)]);
      expect(partner.received.at(-1)?.fields).toEqual(Object.fromEntries(expected));
    });

    test("sends the partner's own headers, and no value can add another", async () => {
      await deliver({ ...plain, first_name: "Eve\r\nX-Injected: 1\r\n\r\n\0" }, { kind: "accept" });
      const headers = partner.received.at(-1)?.headers;
      expect(headers?.["x-name"]).toBe("Eve X-Injected: 1");
      expect(headers).not.toHaveProperty("x-injected");
    });

    test("tells the partner which delivery this is", async () => {
      await deliver(plain, { kind: "accept" });
      const headers = partner.received.at(-1)?.headers;
      expect(headers?.["idempotency-key"] ?? headers?.["message-id"]).toContain("delivery-1");
    });

    test("tries again later when the partner cannot take it now", async () => {
      const outcome = await deliver(plain, { kind: "status", status: under.statuses.later });
      expect(outcome).toMatchObject({ kind: "retry", retryAfterMs: null });
    });

    test("is broken when the endpoint is wrong", async () => {
      expect(await deliver(plain, { kind: "status", status: under.statuses.broken })).toMatchObject({ kind: "broken" });
    });

    test("gives up on a partner that does not answer in time: the lead may be there", async () => {
      const outcome = await deliver(plain, { kind: "hang" }, { timeoutMs: 300 });
      expect(outcome).toMatchObject({ kind: "retry", arrived: "unknown" });
    });

    test("names its secrets, so that nothing stored or shown holds them", () => {
      expect(render(plain).secrets).toContain(partner.secret);
      expect(JSON.stringify(settings)).toContain(partner.secret);
      expect(JSON.stringify(maskSecrets(settings))).not.toContain(partner.secret);
    });

    if (!under.answersWithBody) return;

    test("reads reference and price of an acceptance", async () => {
      expect(await deliver(plain, { kind: "accept" })).toEqual({
        kind: "accepted",
        reference: "R-4711",
        price: "12.50",
        reason: null,
      });
    });

    test("is rejected with the partner's reason", async () => {
      expect(await deliver(plain, { kind: "reject" })).toEqual({
        kind: "rejected",
        reason: expect.stringMatching(/^(SOAP Fault: )?Duplicate lead$/),
      });
    });

    test("honours Retry-After", async () => {
      const outcome = await deliver(plain, { kind: "status", status: 429, headers: { "retry-after": "7" } });
      expect(outcome).toMatchObject({ kind: "retry", arrived: "no", retryAfterMs: 7_000 });
    });

    test("does not follow a redirect", async () => {
      const headers = { location: "/elsewhere" };
      expect(await deliver(plain, { kind: "status", status: 307, headers })).toMatchObject({ kind: "broken" });
    });
  });
}
