import { type Referral, referralSchema } from "../../src/referrals/protocol.ts";
import { type HttpLoopback, startHttp } from "./loopback.ts";

export interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Whatever the next request gets in place of what the protocol says; `hang`: no answer, `lose`: it is taken and the answer lost. */
export type Manners = Answer | "hang" | "lose" | "reset";

/** Another organisation's inbound, as the protocol describes it, on a real HTTP server. Keeps by id what it was sent. */
export interface ReferralReceiver extends HttpLoopback {
  readonly referralUrl: string;
  readonly key: string;
  readonly organisation: string;
  /** What arrived: each id once, in order. */
  readonly arrived: readonly Referral[];
  /** For the next requests, one each. */
  next(...manners: readonly Manners[]): void;
  /** For all that come after those; null: as the protocol says. */
  always(manners: Manners | null): void;
}

export async function startReferralReceiver(organisation = "Receivers Ltd"): Promise<ReferralReceiver> {
  const key = "inbound-key-of-the-tests-4711";
  const path = "/v1/referrals/inbound/01900000-0000-7000-8000-00000000abcd";
  const arrived = new Map<string, { readonly body: string; readonly referral: Referral }>();
  const queue: Manners[] = [];
  let usual: Manners | null = null;

  function take(body: string): Answer {
    const referral = referralSchema.safeParse(JSON.parse(body));
    if (!referral.success) return problem(422, "invalid_referral", referral.error.message);
    const { referralId } = referral.data;
    const earlier = arrived.get(referralId);
    if (earlier !== undefined && earlier.body !== body) return problem(409, "idempotency_conflict");
    arrived.set(referralId, { body, referral: referral.data });
    const answer = { version: 1, referralId, receivedAs: `there-${referralId}`, organisation };
    return { status: earlier === undefined ? 201 : 200, body: answer };
  }

  const server = await startHttp(({ method, path: asked, headers, body }, response) => {
    const send = ({ status, body: document, headers: more = {} }: Answer) => {
      const type = status >= 400 ? "application/problem+json" : "application/json";
      response.writeHead(status, { "content-type": type, ...more });
      response.end(document === undefined ? "" : typeof document === "string" ? document : JSON.stringify(document));
    };
    const manners = queue.shift() ?? usual;
    if (manners === "hang") return;
    if (manners === "reset") return void response.destroy();
    if (manners !== null && manners !== "lose") return send(manners);
    if (asked !== path) return send({ status: 404, body: "not here" });
    if (headers.authorization !== `Bearer ${key}`) return send(problem(401, "referral_key_wrong"));
    if (method === "GET") return send({ status: 200, body: { versions: [1], organisation, inbound: "From Sellers" } });
    const answer = take(body);
    return manners === "lose" ? void response.destroy() : send(answer);
  });
  return {
    ...server,
    referralUrl: server.url + path,
    key,
    organisation,
    get arrived() {
      return [...arrived.values()].map(({ referral }) => referral);
    },
    next: (...manners) => void queue.push(...manners),
    always: (manners) => {
      usual = manners;
    },
  };
}

export function problem(status: number, code: string, detail?: string, more: object = {}): Answer {
  return { status, body: { type: `urn:handoff:error:${code}`, title: code, status, code, detail, ...more } };
}
