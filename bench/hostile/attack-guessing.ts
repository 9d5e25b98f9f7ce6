import { setTimeout as sleep } from "node:timers/promises";
import { type Attacker, addCampaign, addPartner } from "./attacker.ts";
import { guessPeople } from "./guess-people.ts";
import { send, textAt, valueAt } from "./http.ts";
import type { Report } from "./record.ts";

/** Keys and ids that somebody tries out, and how fast they may. */
export async function attackByGuessing(attacker: Attacker): Promise<void> {
  const { record, random, installation } = attacker;
  const key = installation.ownerKey;
  let campaign = { campaignId: "", intakeKey: "" };
  await record.case("a campaign", async (report) => {
    campaign = await addCampaign(attacker, report, [await addPartner(attacker, report, {})]);
  });
  const nearMisses = (good: string): readonly string[] => listGuesses(good).filter((guess) => guess !== good);
  const listGuesses = (good: string): readonly string[] => [
    good.slice(0, -1),
    `${good}a`,
    good.toUpperCase(),
    good.slice(1),
    `${good.slice(0, -1)}${good.endsWith("a") ? "b" : "a"}`,
    `${good}${good}`,
    `${good},${good}`,
    good.replaceAll("e", "%65"),
    "%",
    "_",
    "*",
    "' or '1'='1",
    "../v1",
    "null",
    "undefined",
    "true",
    "__proto__",
    "0".repeat(400),
    "\u00ff".repeat(8),
    random.word(40),
  ];
  const answers = new Set<string>();
  for (const guess of nearMisses(key)) {
    await record.case(`the API key ${guess.slice(0, 4)}… of ${guess.length} characters`, async (report) => {
      if (/[^\x20-\x7e]/.test(guess)) return;
      const answer = await attacker.call(report, { path: "/v1/organisation", key: guess });
      if (answer.status !== 401) report("accepted_bad", `answered ${answer.status}`);
      answers.add(answer.text);
    });
  }
  await record.case("every wrong API key gets the same answer", async (report) => {
    if (answers.size !== 1) report("leak", [...answers].join(" | "));
  });
  for (const header of [
    "Basic x",
    `Bearer  ${key} x`,
    `bearer`,
    `Token ${key}`,
    `Bearer ${key}, Bearer ${key}`,
    `Bearer\t${key}`,
    key,
  ]) {
    await record.case(`the header Authorization: ${header.replace(key, "<key>")}`, async (report) => {
      const answer = await attacker.call(report, {
        path: "/v1/organisation",
        key: null,
        headers: { authorization: header },
      });
      if (answer.status !== 401) report("accepted_bad", `answered ${answer.status}`);
    });
  }
  await record.case("an API key in the query, a cookie or another header is none", async (report) => {
    const { status: inQuery } = await attacker.call(report, {
      path: `/v1/organisation?key=${key}&api_key=${key}&access_token=${key}`,
      key: null,
    });
    const headers = { cookie: `key=${key}`, "x-api-key": key, "proxy-authorization": `Bearer ${key}` };
    const { status: inHeaders } = await attacker.call(report, { path: "/v1/organisation", key: null, headers });
    if (inQuery !== 401 || inHeaders !== 401) report("accepted_bad", `answered ${inQuery} and ${inHeaders}`);
  });
  await record.case("a revoked key is none from that moment on", async (report) => {
    const made = await attacker.call(report, {
      method: "POST",
      path: "/v1/api-keys",
      document: { name: "to be revoked" },
    });
    const revoked = textAt(made.json, "key");
    attacker.secrets.set("a revoked API key", revoked);
    await attacker.call(report, { path: "/v1/organisation", key: revoked });
    await attacker.call(report, { method: "DELETE", path: `/v1/api-keys/${textAt(made.json, "id")}` });
    for (const base of [installation.api, installation.limited]) {
      const { status } = await attacker.call(report, { path: "/v1/organisation", key: revoked, base });
      if (status !== 401) report("accepted_bad", `answered ${status}`);
    }
  });
  await record.case("a key that has expired is none", async (report) => {
    const expiresAt = new Date(Date.now() + 1_500).toISOString();
    const made = await attacker.call(report, {
      method: "POST",
      path: "/v1/api-keys",
      document: { name: "to expire", expiresAt },
    });
    const expired = textAt(made.json, "key");
    await sleep(1_800);
    const { status } = await attacker.call(report, { path: "/v1/organisation", key: expired });
    if (status !== 401) report("accepted_bad", `answered ${status}`);
  });
  for (const guess of [...nearMisses(campaign.intakeKey), key, campaign.campaignId]) {
    await record.case(`the intake key ${guess.slice(0, 4)}… of ${guess.length} characters`, async (report) => {
      const path = `/v1/intake/${encodeURIComponent(guess)}`;
      const answer = await attacker.refuse(report, { method: "POST", path, key: null, document: attacker.person() });
      if (![404, 414, 400].includes(answer.status)) report("accepted_bad", `answered ${answer.status}`);
    });
  }
  await record.case("an intake key opens nothing else", async (report) => {
    const { status } = await attacker.call(report, { path: "/v1/leads", key: campaign.intakeKey });
    if (status !== 401) report("accepted_bad", `answered ${status}`);
  });
  await record.case("ids near a real one", async (report) => {
    const id = campaign.campaignId;
    for (let count = 0; count < (attacker.isShort ? 40 : 400); count += 1) {
      const at = random.below(id.length);
      if (id[at] === "-") continue;
      const guess = `${id.slice(0, at)}${random.pick([..."0123456789abcdef"].filter((digit) => digit !== id[at]))}${id.slice(at + 1)}`;
      await attacker.refuse(report, { path: `/v1/campaigns/${guess}` });
    }
  });
  for (const headers of [
    { "x-twilio-signature": "" },
    { "x-twilio-signature": "A".repeat(28) },
    { "x-twilio-signature": "__proto__" },
  ]) {
    await record.case(`an SMS status that Twilio did not sign: ${JSON.stringify(headers)}`, async (report) => {
      const sending = {
        method: "POST",
        path: "/v1/alerts/sms-status",
        key: null,
        headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
        body: "MessageSid=SM1&MessageStatus=delivered",
      };
      await attacker.refuse(report, sending);
    });
  }
  await compareTimes(attacker, campaign.intakeKey);
  await attackLimit(attacker, campaign.intakeKey);
  await attackWrongKeyLimit(attacker);
  await guessPeople(attacker);
}

/** Whether the time of an answer tells a known key from an unknown one. Told, not judged: a machine has other things to do. */
async function compareTimes(attacker: Attacker, intakeKey: string): Promise<void> {
  const { record, installation } = attacker;
  const wrong = installation.ownerKey.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
  const pairs: readonly (readonly [name: string, first: () => Promise<unknown>, second: () => Promise<unknown>])[] = [
    [
      "an API key that is unknown / that is one character from a known one",
      async () => ask("unknown-key-0123456789abcdef0123456789abcdef0123456789"),
      async () => ask(wrong),
    ],
    [
      "an intake key that is unknown / known, with a body that is refused",
      async () => sendTo("unknown-key"),
      async () => sendTo(intakeKey),
    ],
  ];
  async function ask(key: string) {
    return send(installation.api, { path: "/v1/organisation", headers: { authorization: `Bearer ${key}` } });
  }
  async function sendTo(key: string) {
    return send(installation.api, {
      method: "POST",
      path: `/v1/intake/${key}`,
      headers: { "content-type": "application/json" },
      body: "[]",
    });
  }
  for (const [name, first, second] of pairs) {
    await record.case(`time: ${name}`, async () => {
      const times: [number[], number[]] = [[], []];
      for (let round = 0; round < (attacker.isShort ? 150 : 1_000); round += 1) {
        for (const [at, work] of [first, second].entries()) {
          const startedMs = performance.now();
          await work();
          times[at]?.push(performance.now() - startedMs);
        }
      }
      const median = (values: readonly number[]) =>
        [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
      record.note(`${name}: median ${times.map((values) => `${median(values).toFixed(2)} ms`).join(" / ")}`);
    });
  }
}

/** No way round the limit on leads of one intake key. */
async function attackLimit(attacker: Attacker, intakeKey: string): Promise<void> {
  const { record, installation } = attacker;
  await record.case(`more than ${installation.ratePerMinute} leads a minute with one key`, async (report) => {
    let taken = 0;
    let isTold = false;
    for (let count = 0; count < installation.ratePerMinute * 3; count += 1) {
      const disguise =
        [
          { "x-forwarded-for": `10.0.0.${count}` },
          { "x-real-ip": `10.0.1.${count}` },
          { "user-agent": `agent ${count}` },
          {},
        ][count % 4] ?? {};
      const path =
        [
          `/v1/intake/${intakeKey}`,
          `/v1/intake/${intakeKey}?source=${count}`,
          `/v1/intake/${intakeKey.replace(/^./, (first) => `%${first.charCodeAt(0).toString(16)}`)}`,
        ][count % 3] ?? "";
      const sending = {
        method: "POST",
        path,
        base: installation.limited,
        key: null,
        headers: { "content-type": "application/json", ...disguise },
        body: JSON.stringify(attacker.person()),
      };
      const answer = await attacker.call(report, sending);
      if (answer.status === 201) taken += 1;
      if (answer.status === 429)
        isTold = Number(answer.headers["retry-after"]) > 0 && valueAt(answer.json, "code") === "rate_limited";
    }
    // A new minute may begin meanwhile.
    if (taken > installation.ratePerMinute * 2) report("accepted_bad", `${taken} were taken`);
    if (!isTold) report("accepted_bad", "nobody was told when to come again");
  });
}

/** No way round the limit on wrong API keys, and nobody who has a right one is kept out by it. */
async function attackWrongKeyLimit(attacker: Attacker): Promise<void> {
  const { record, installation, random } = attacker;
  const ask = async (report: Report, key: string, headers: Readonly<Record<string, string>> = {}) =>
    attacker.call(report, { path: "/v1/organisation", base: installation.limited, key, headers });
  await record.case(`more than ${installation.ratePerMinute} wrong API keys a minute`, async (report) => {
    await ask(report, installation.ownerKey);
    let lookedAt = 0;
    let isTold = false;
    for (let count = 0; count < installation.ratePerMinute * 3; count += 1) {
      const disguise = [
        { "x-forwarded-for": `10.0.0.${count}` },
        { "x-real-ip": `10.0.1.${count}` },
        { forwarded: `for=10.0.2.${count}` },
        {},
      ][count % 4];
      const answer = await ask(report, random.word(40), disguise);
      if (answer.status === 401) lookedAt += 1;
      if (answer.status === 429)
        isTold = Number(answer.headers["retry-after"]) > 0 && valueAt(answer.json, "code") === "rate_limited";
    }
    // A new minute may begin meanwhile.
    if (lookedAt > installation.ratePerMinute * 2) report("accepted_bad", `${lookedAt} were looked at`);
    if (!isTold) report("accepted_bad", "nobody was told when to come again");
    const { status } = await ask(report, installation.ownerKey);
    if (status !== 200) report("accepted_bad", `who has a good key was answered ${status}`);
  });
}
