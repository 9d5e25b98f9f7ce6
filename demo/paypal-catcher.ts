import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Answer, behaviourFromQuery, type Misbehave, respond } from "./behaviour.ts";
import {
  answer,
  Books,
  type Capture,
  captureResource,
  fromMinor,
  type Money,
  minor,
  newName,
  notFound,
  now,
  type Order,
  orderResource,
  type Payment,
  type Refund,
  refundResource,
  refusal,
  refuseMoney,
} from "./paypal-books.ts";
import { approvalPage, paymentsPage } from "./paypal-pages.ts";
import { Webhooks } from "./paypal-webhooks.ts";
import { close, readBody, serve } from "./serve.ts";

/** The account's credentials, in place of those of an app in PayPal's dashboard; these open nothing else. */
export const demoPayPalAccount = {
  clientId: "demo-client-demo-client-demo-client",
  clientSecret: "demo-secret-demo-secret-demo-secret",
} as const;

export interface PayPalCatcher {
  readonly url: string;
  readonly books: Books;
  readonly webhooks: Webhooks;
  /** The access tokens that it gave. */
  readonly tokens: ReadonlySet<string>;
  /** Requests that were answered, such as `POST /v2/checkout/orders`, oldest first. */
  readonly calls: readonly string[];
  /** What the payer does on the approval page. */
  approve(orderId: string, payment?: Payment): void;
  /** PayPal's review of a capture ends. */
  endReview(captureId: string, status: "COMPLETED" | "DECLINED"): void;
  /** The seller refunds in PayPal's own dashboard, or PayPal takes the money back. Gives the refund. */
  refundAtPayPal(captureId: string, value: string, how?: "REFUNDED" | "REVERSED"): Refund;
  /** A refund that was pending ends. */
  endRefund(refundId: string, status: "COMPLETED" | "FAILED"): void;
  /** Refunds that are asked for from now on are pending first. */
  holdRefunds(isHeld: boolean): void;
  misbehave(misbehave: Misbehave | null): void;
  stop(): Promise<void>;
}

interface State {
  readonly books: Books;
  readonly webhooks: Webhooks;
  readonly calls: string[];
  readonly tokens: Set<string>;
  /** The answer that each PayPal-Request-Id got, with what was asked. */
  readonly answered: Map<string, { readonly body: string; readonly answer: Answer }>;
  base: string;
  /** Where a payer's browser reaches the pages, where that is by another name than programs use. */
  readonly pagesUrl: string | null;
  areRefundsHeld: boolean;
  misbehave: Misbehave | null;
}

/**
 * Starts a server that speaks the part of PayPal's REST API that payments need: tokens, Orders v2, captures, refunds, webhooks
 * and their verification, with a page on which a payer approves. It checks what it gets, by PayPal's rules and with its codes.
 */
export async function startPayPalCatcher(
  host: string,
  port: number,
  pagesUrl: string | null = null,
): Promise<PayPalCatcher> {
  const state: State = {
    books: new Books(),
    webhooks: new Webhooks(() => state.base),
    calls: [],
    tokens: new Set(),
    answered: new Map(),
    base: "",
    pagesUrl,
    areRefundsHeld: false,
    misbehave: null,
  };
  const { server, url } = await serve(host, port, (request, response) => route(state, request, response));
  state.base = url;
  return {
    url,
    books: state.books,
    webhooks: state.webhooks,
    tokens: state.tokens,
    calls: state.calls,
    approve: (orderId, payment = "at_once") => approve(state, require(state.books.orders, orderId), payment),
    endReview: (captureId, status) => endReview(state, require(state.books.captures, captureId), status),
    refundAtPayPal: (captureId, value, how = "REFUNDED") =>
      refundHere(state, require(state.books.captures, captureId), value, how),
    endRefund: (refundId, status) => endRefund(state, require(state.books.refunds, refundId), status),
    holdRefunds(isHeld) {
      state.areRefundsHeld = isHeld;
    },
    misbehave(misbehave) {
      state.misbehave = misbehave;
    },
    stop() {
      state.webhooks.stop();
      return close(server);
    },
  };
}

function require<T>(things: ReadonlyMap<string, T>, id: string): T {
  const found = things.get(id);
  if (found === undefined) throw new Error(`PayPal has no ${id}.`);
  return found;
}

async function route(state: State, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const host = request.headers.host ?? "localhost";
  const url = new URL(request.url ?? "/", `http://${host}`);
  state.base = `http://${host}`;
  const body = (await readBody(request))?.toString("utf8") ?? "";
  if (!url.pathname.startsWith("/v")) return forPeople(state, request, response, url, body);
  const told = state.misbehave?.({ url, headers: request.headers, body }) ?? behaviourFromQuery(url);
  await respond(response, told, () => {
    state.calls.push(`${request.method} ${url.pathname}`);
    return onceForEachId(state, request, url, body);
  });
}

/** The same PayPal-Request-Id gets the same answer; with other content it is refused. */
function onceForEachId(state: State, request: IncomingMessage, url: URL, body: string): Answer {
  const requestId = request.headers["paypal-request-id"];
  if (typeof requestId !== "string" || request.method !== "POST") return handle(state, request, url, body);
  if (requestId.length > 108) return refusal(400, "INVALID_REQUEST", "INVALID_STRING_MAX_LENGTH", "PayPal-Request-Id");
  const key = `${url.pathname} ${requestId}`;
  const earlier = state.answered.get(key);
  if (earlier !== undefined) {
    if (earlier.body === body)
      return { ...earlier.answer, status: earlier.answer.status === 201 ? 200 : earlier.answer.status };
    return refusal(422, "UNPROCESSABLE_ENTITY", "DUPLICATE_REQUEST_ID", "This id was used with another request.");
  }
  const given = handle(state, request, url, body);
  state.answered.set(key, { body, answer: given });
  return given;
}

function handle(state: State, request: IncomingMessage, url: URL, body: string): Answer {
  const { method = "GET" } = request;
  if (url.pathname === "/v1/oauth2/token") return giveToken(state, request, body);
  const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
  if (token === undefined || !state.tokens.has(token)) {
    return answer(401, { error: "invalid_token", error_description: "Token signature verification failed" });
  }
  if (method === "POST" && !/^application\/json/.test(request.headers["content-type"] ?? "")) {
    return refusal(415, "UNSUPPORTED_MEDIA_TYPE", "INVALID_CONTENT_TYPE", "The content type must be application/json.");
  }
  const [, , ...path] = url.pathname.split("/");
  return dispatch(state, `${method} ${path.slice(0, 2).join("/")}`, path, body);
}

function dispatch(state: State, operation: string, [, , id = "", verb]: readonly string[], body: string): Answer {
  const { books, webhooks, base } = state;
  const order = books.orders.get(id);
  const capture = books.captures.get(id);
  const refund = books.refunds.get(id);
  switch (`${operation}${verb === undefined ? "" : ` ${verb}`}`) {
    case "POST checkout/orders":
      return createOrder(state, body);
    case "GET checkout/orders":
      return order === undefined ? notFound() : answer(200, showOrder(state, order));
    case "POST checkout/orders capture":
      return order === undefined ? notFound() : captureOrder(state, order);
    case "GET payments/captures":
      return capture === undefined ? notFound() : answer(200, captureResource(capture, base));
    case "POST payments/captures refund":
      return capture === undefined ? notFound() : refundCapture(state, capture, body);
    case "GET payments/refunds":
      return refund === undefined ? notFound() : answer(200, refundResource(books, refund, base));
    case "POST notifications/webhooks":
      return registerWebhook(state, body);
    case "POST notifications/verify-webhook-signature": {
      const status = webhooks.verify(body);
      if (status !== null) return answer(200, { verification_status: status });
      return refusal(400, "VALIDATION_ERROR", "MISSING_REQUIRED_PARAMETER", "A part of the signature is missing.");
    }
    default:
      return refusal(404, "NOT_FOUND", "RESOURCE_NOT_FOUND", `Nothing at ${operation}.`);
  }
}

function giveToken(state: State, request: IncomingMessage, body: string): Answer {
  const { clientId, clientSecret } = demoPayPalAccount;
  const basic = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`;
  if (request.headers.authorization !== basic) {
    return answer(401, { error: "invalid_client", error_description: "Client Authentication failed" });
  }
  if (new URLSearchParams(body).get("grant_type") !== "client_credentials") {
    return answer(400, { error: "unsupported_grant_type", error_description: "Grant Type is missing" });
  }
  const token = `A21AA${randomBytes(32).toString("base64url")}`;
  state.tokens.add(token);
  return answer(200, {
    scope: "https://uri.paypal.com/services/payments",
    access_token: token,
    token_type: "Bearer",
    expires_in: 32_400,
  });
}

function createOrder(state: State, body: string): Answer {
  const { intent, purchase_units: units, payment_source: source } = readJson(body);
  const [unit] = Array.isArray(units) ? units : [];
  const malformed = (what: string) => refusal(400, "INVALID_REQUEST", "MISSING_REQUIRED_PARAMETER", what);
  if (intent !== "CAPTURE") return malformed("intent");
  if (!Array.isArray(units) || units.length !== 1) return malformed("purchase_units");
  const { amount, custom_id: customId, invoice_id: invoiceId, description } = Object(unit);
  const refused = refuseMoney(amount);
  if (refused !== null) return refused;
  if (String(customId ?? "").length > 127 || String(description ?? "").length > 127) return malformed("description");
  const { return_url: returnUrl, cancel_url: cancelUrl } = Object(Object(Object(source).paypal).experience_context);
  if (!URL.canParse(String(returnUrl)) || !URL.canParse(String(cancelUrl))) return malformed("return_url");
  const order: Order = {
    id: newName(),
    status: "PAYER_ACTION_REQUIRED",
    customId: customId ?? null,
    invoiceId: invoiceId ?? null,
    description: String(description ?? ""),
    amount: { currency_code: String(amount.currency_code), value: String(amount.value) },
    returnUrl: String(returnUrl),
    cancelUrl: String(cancelUrl),
    payment: "at_once",
    createTime: now(),
  };
  state.books.orders.set(order.id, order);
  return answer(201, showOrder(state, order));
}

function showOrder({ books, base, pagesUrl }: State, order: Order): object {
  return orderResource(books, order, base, pagesUrl ?? base);
}

function approve(state: State, order: Order, payment: Payment): void {
  if (order.status !== "PAYER_ACTION_REQUIRED" && order.status !== "APPROVED") return;
  order.status = "APPROVED";
  order.payment = payment;
  state.webhooks.emit("CHECKOUT.ORDER.APPROVED", "checkout-order", showOrder(state, order));
}

function captureOrder(state: State, order: Order): Answer {
  const { books, base } = state;
  const unprocessable = (issue: string, words: string) => refusal(422, "UNPROCESSABLE_ENTITY", issue, words);
  if (books.capturesOf(order.id).length > 0) return unprocessable("ORDER_ALREADY_CAPTURED", "Order already captured.");
  if (order.status !== "APPROVED") return unprocessable("ORDER_NOT_APPROVED", "Payer has not yet approved the Order.");
  const others = [...books.orders.values()].filter((one) => one.id !== order.id && one.invoiceId === order.invoiceId);
  if (order.invoiceId !== null && others.some(({ id }) => books.capturesOf(id).length > 0)) {
    return unprocessable("DUPLICATE_INVOICE_ID", "Duplicate Invoice ID detected.");
  }
  if (order.payment === "refused") {
    order.status = "PAYER_ACTION_REQUIRED";
    return unprocessable("INSTRUMENT_DECLINED", "The instrument presented was declined by the processor.");
  }
  order.status = "COMPLETED";
  const status = order.payment === "for_review" ? "PENDING" : "COMPLETED";
  const capture = books.addCapture(order, status);
  state.webhooks.emit(`PAYMENT.CAPTURE.${status}`, "capture", captureResource(capture, base));
  return answer(201, showOrder(state, order));
}

function endReview(state: State, capture: Capture, status: "COMPLETED" | "DECLINED"): void {
  if (capture.status !== "PENDING") return;
  capture.status = status;
  const name = status === "COMPLETED" ? "COMPLETED" : "DENIED";
  state.webhooks.emit(`PAYMENT.CAPTURE.${name}`, "capture", captureResource(capture, state.base));
}

function refundCapture(state: State, capture: Capture, body: string): Answer {
  const { books, base } = state;
  const { amount, custom_id: customId, note_to_payer: note } = readJson(body);
  const left = books.leftOf(capture);
  const wanted = amount === undefined ? fromMinor(left, capture.amount.currency_code) : (amount as Money);
  const unprocessable = (issue: string, words: string) => refusal(422, "UNPROCESSABLE_ENTITY", issue, words);
  if (capture.status === "PENDING" || capture.status === "DECLINED") {
    return unprocessable("CAPTURE_STATUS_NOT_VALID", "The capture has not been completed.");
  }
  if (left === 0) return unprocessable("CAPTURE_FULLY_REFUNDED", "The capture has already been fully refunded.");
  const refused = refuseMoney(wanted);
  if (refused !== null) return refused;
  if (wanted.currency_code !== capture.amount.currency_code) {
    return unprocessable("REFUND_CAPTURE_CURRENCY_MISMATCH", "Refund must be in the same currency as the capture.");
  }
  if (minor(wanted) > left) {
    return unprocessable("REFUND_AMOUNT_EXCEEDED", "The refund amount must be less than or equal to what is left.");
  }
  const details = { amount: wanted, customId: textOr(customId), note: textOr(note) };
  const refund = books.addRefund(capture, { ...details, status: state.areRefundsHeld ? "PENDING" : "COMPLETED" });
  if (refund.status === "COMPLETED") tellOfRefund(state, refund, "REFUNDED");
  return answer(201, refundResource(books, refund, base));
}

function refundHere(state: State, capture: Capture, value: string, how: "REFUNDED" | "REVERSED"): Refund {
  const amount = { currency_code: capture.amount.currency_code, value };
  const refund = state.books.addRefund(capture, { amount, status: "COMPLETED", customId: null, note: null });
  tellOfRefund(state, refund, how);
  return refund;
}

function endRefund(state: State, refund: Refund, status: "COMPLETED" | "FAILED"): void {
  if (refund.status !== "PENDING") return;
  refund.status = status;
  const capture = require(state.books.captures, refund.captureId);
  state.books.followRefunds(capture);
  if (status === "COMPLETED") tellOfRefund(state, refund, "REFUNDED");
}

function tellOfRefund(state: State, refund: Refund, how: "REFUNDED" | "REVERSED"): void {
  state.webhooks.emit(`PAYMENT.CAPTURE.${how}`, "refund", refundResource(state.books, refund, state.base));
}

function registerWebhook(state: State, body: string): Answer {
  const { url } = readJson(body);
  if (typeof url !== "string" || !URL.canParse(url)) {
    return refusal(400, "VALIDATION_ERROR", "INVALID_URL", "Not a valid webhook URL");
  }
  return answer(201, { id: state.webhooks.register(url), url, event_types: [{ name: "*" }] });
}

function textOr(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function readJson(body: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(body));
  } catch {
    return {};
  }
}

/** The pages: where a payer approves, and where what PayPal does by itself can be made to happen. */
async function forPeople(
  state: State,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  body: string,
): Promise<void> {
  const send = (status: number, type: string, text: string) =>
    void response.writeHead(status, { "content-type": `${type}; charset=utf-8` }).end(text);
  const { books } = state;
  const form = new URLSearchParams(body);
  const order = books.orders.get(url.searchParams.get("token") ?? "");
  if (url.pathname === "/" && request.method === "GET") return send(200, "text/html", paymentsPage(books));
  if (url.pathname === "/checkoutnow" && order !== undefined) {
    if (request.method !== "POST") return send(200, "text/html", approvalPage(books, order));
    const choice = form.get("choice") ?? "at_once";
    const back = new URL(choice === "cancel" ? order.cancelUrl : order.returnUrl);
    back.searchParams.set("token", order.id);
    if (choice !== "cancel") back.searchParams.set("PayerID", "DEMOPAYER0001");
    if (choice === "at_once" || choice === "for_review" || choice === "refused") approve(state, order, choice);
    return void response.writeHead(303, { location: back.href }).end();
  }
  const capture = books.captures.get(form.get("capture") ?? "");
  if (url.pathname === "/act" && request.method === "POST" && capture !== undefined) {
    act(state, capture, form.get("act") ?? "");
    return void response.writeHead(303, { location: "/" }).end();
  }
  return send(404, "text/plain", "Nothing here.\n");
}

function act(state: State, capture: Capture, what: string): void {
  const left = fromMinor(state.books.leftOf(capture), capture.amount.currency_code).value;
  if (what === "complete") endReview(state, capture, "COMPLETED");
  if (what === "decline") endReview(state, capture, "DECLINED");
  if (what === "refund" && minor({ currency_code: "", value: left }) > 0) refundHere(state, capture, left, "REFUNDED");
  if (what === "reverse" && minor({ currency_code: "", value: left }) > 0) refundHere(state, capture, left, "REVERSED");
}
