import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import { z } from "zod";
import { emailOf } from "./configuration.ts";
import type { SetUp } from "./set-up.ts";

/** One lead that the generator sent, and what it was told. */
export interface AnsweredLead {
  readonly number: number;
  readonly campaign: string;
  /** Null: no 2xx within the time, though asked again and again. */
  readonly leadId: string | null;
  readonly status: string | null;
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
  readonly tries: number;
  /** Two answers to one Idempotency-Key that named different leads. */
  readonly contradicted: boolean;
}

/** What the generator is doing, for who looks at it meanwhile. */
export interface Intake {
  sent: number;
  answered: number;
  /** Requests that wait for an answer, of each API. */
  readonly underWay: number[];
}

/**
 * As many requests wait for an answer of one API. The rest wait for a place, and their time begins when they have one: else those
 * that a slow API has not come to yet would all give up in the line, ask again, and be the reason why nobody gets through.
 */
const connections = 64;

const answerSchema = z.object({ status: z.string(), leadId: z.string() });
const patienceMs = 300_000;

/**
 * Sends `leads` leads at a steady rate to both APIs in turn, each with an Idempotency-Key. What is not answered with a 2xx in
 * time is sent again to the other API, with the same key and content. One in fifty is sent again although it was answered,
 * as senders do.
 */
export async function generate(
  apis: readonly string[],
  { campaigns }: SetUp,
  leads: number,
  perSecond: number,
  random: () => number,
  intake: Intake,
): Promise<readonly AnsweredLead[]> {
  const agent = new Agent({ connections });
  const places = apis.map(() => new Places(connections));
  const startedAt = performance.now();
  const sending: Promise<AnsweredLead>[] = [];
  for (let number = 0; number < leads; number += 1) {
    const dueMs = (number * 1000) / perSecond - (performance.now() - startedAt);
    if (dueMs > 0) await sleep(dueMs);
    const isShared = random() >= (campaigns[0]?.plan.share ?? 1);
    const campaign = campaigns[isShared ? 1 : 0];
    if (campaign === undefined) throw new Error("The trial has two campaigns.");
    const again = random() < 0.02;
    const send = async (attempt: number) => {
      const api = (number + attempt) % apis.length;
      await places[api]?.take();
      intake.underWay[api] = (intake.underWay[api] ?? 0) + 1;
      const answer = await post(agent, `${apis[api]}${campaign.intakePath}`, number);
      intake.underWay[api] -= 1;
      places[api]?.giveBack();
      return answer;
    };
    intake.sent += 1;
    sending.push(
      sendUntilAnswered(number, campaign.plan.name, send, again).then((lead) => {
        intake.answered += 1;
        return lead;
      }),
    );
  }
  const answered = await Promise.all(sending);
  await agent.destroy();
  return answered;
}

class Places {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(free: number) {
    this.#free = free;
  }

  async take(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  giveBack(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}

type Answer = z.infer<typeof answerSchema>;

async function sendUntilAnswered(
  number: number,
  campaign: string,
  send: (attempt: number) => Promise<Answer | null>,
  again: boolean,
): Promise<AnsweredLead> {
  const sentAtMs = Date.now();
  for (let tries = 1; ; tries += 1) {
    const answer = await send(tries);
    if (answer !== null) {
      const second = again ? await send(tries + 1) : null;
      const contradicted = second !== null && second.leadId !== answer.leadId;
      return { number, campaign, ...answer, sentAtMs, answeredAtMs: Date.now(), tries, contradicted };
    }
    if (Date.now() - sentAtMs > patienceMs) {
      const never = { leadId: null, status: null, contradicted: false };
      return { number, campaign, ...never, sentAtMs, answeredAtMs: Date.now(), tries };
    }
    await sleep(300);
  }
}

async function post(agent: Agent, url: string, number: number): Promise<Answer | null> {
  try {
    const response = await request(url, {
      dispatcher: agent,
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": `chaos-${number}` },
      body: JSON.stringify({ first_name: `Person ${number}`, email: emailOf(number) }),
      signal: AbortSignal.timeout(5_000),
    });
    const body: unknown = await response.body.json();
    if (response.statusCode >= 200 && response.statusCode < 300) return answerSchema.parse(body);
    return null;
  } catch {
    return null;
  }
}
