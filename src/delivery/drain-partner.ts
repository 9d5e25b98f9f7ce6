import { setTimeout } from "node:timers/promises";
import { drainPartner } from "../../queues/drain-partner.ts";
import { routeLeads } from "../../queues/route-leads.ts";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { describeError } from "../describe-error.ts";
import { attemptDelivery, type FinishedAttempt, giveUp } from "./attempt-delivery.ts";
import { claimDeliveries } from "./claim-deliveries.ts";
import {
  type Claim,
  type DrainedPartner,
  type Obstacle,
  obstacleAt,
  placesFree,
  takePartner,
} from "./drained-partner.ts";
import { type Lease, releaseLease, renewEveryMs, renewLease } from "./lease.ts";
import { maximumTries } from "./next-state.ts";
import { fillPlaces, recheckHolds } from "./recheck-holds.ts";
import { returnBacklog } from "./return-backlog.ts";
import { type Release, settleAttempts } from "./settle-attempts.ts";

/** A job hands the worker back after this long; what is left goes to another. */
const sliceMs = 5_000;

/** While an attempt is under way that takes long, what came meanwhile is looked for this often. */
const lookEveryMs = 1_000;

/** What has been answered waits this long for the answers to the others: a settlement costs about as much for ten as for one. */
const gatherMs = 5;

/** What was sent and could not be recorded would be sent again: a database that restarts is waited for, within the lease. */
const settleDelaysMs = [200, 1_000, 4_000];

/** Sends what is due to one partner: one drain at a time, with the partner's own concurrency, rate and hours. */
export async function drainDueDeliveries(context: Context, organisationId: string, partnerId: string): Promise<void> {
  const taken = await takePartner(context, organisationId, partnerId);
  if (taken === null) return;
  const { lease, partner } = taken;
  const drain = new Drain(context, lease, partner);
  try {
    if (taken.recheckHolds) await recheckHolds(context, partner);
    await drain.run(taken.first);
  } finally {
    const { isMoreDue } = drain.released ?? { isMoreDue: await releaseLease(context, lease, drain.nextSendAt) };
    if (isMoreDue) context.waker.wake(drainPartner, { organisationId, partnerId });
  }
}

class Drain {
  readonly #context: Context;
  readonly #lease: Lease;
  readonly #partner: DrainedPartner;
  /** Each attempt under way, and when it began. */
  readonly #underWay = new Map<Promise<void>, number>();
  #finished: FinishedAttempt[] = [];
  #isLost = false;
  #placesBack = 0;
  /** The partner's rate allows nothing before this. */
  nextSendAt: Date | null;
  /** Set once the lease was given up with the last of what was in hand. */
  released: { readonly isMoreDue: boolean } | null = null;

  constructor(context: Context, lease: Lease, partner: DrainedPartner) {
    this.#context = context;
    this.#lease = lease;
    this.#partner = partner;
    this.nextSendAt = partner.nextSendAt;
  }

  /**
   * Claims as many as may be under way, sends them, settles those that have finished in one group while the others go
   * on, and claims more, until nothing is due or the slice is over. Whatever breaks, what was sent is settled.
   */
  async run(first: Claim | null): Promise<void> {
    const endsAt = performance.now() + sliceMs;
    const renewal = setInterval(() => void this.#renew(), renewEveryMs);
    try {
      for (let claim = first; claim !== null || this.#mayBegin(endsAt); claim = null) {
        const isMore = claim === null ? await this.#begin() : this.#send(claim, null);
        if (this.#underWay.size + this.#finished.length > 0) {
          await this.#settleNext(lookEveryMs, !isMore);
          // All that was due is done: what came meanwhile is seen when the lease is given up.
          if (!isMore && this.#underWay.size === 0) break;
        }
        // Nothing could begin although something is due: the partner's rate says when.
        else if (!isMore || !(await this.#waitForRate(endsAt))) break;
      }
    } finally {
      while (this.#underWay.size + this.#finished.length > 0) await this.#settleNext(null, true);
      clearInterval(renewal);
    }
    if (this.#placesBack > 0) await fillPlaces(this.#context, this.#partner, this.#placesBack);
  }

  /** The slice lasts as long as an attempt that was begun in it: the worker is taken anyway. */
  #mayBegin(endsAt: number): boolean {
    if (this.#isLost || this.#context.stopping.signal.aborted) return false;
    return performance.now() < endsAt || [...this.#underWay.values()].some((beganAt) => beganAt < endsAt);
  }

  /** Claims and starts what may go now. Gives whether there may be more at once. */
  async #begin(): Promise<boolean> {
    const now = this.#context.clock();
    const { organisationId } = this.#partner;
    const obstacle = obstacleAt(this.#partner, now);
    if (obstacle !== null) {
      const campaignIds = await returnBacklog(this.#context, this.#partner, obstacle, now);
      for (const campaignId of campaignIds) this.#context.waker.wake(routeLeads, { organisationId, campaignId });
    }
    const limit = placesFree(this.#partner, this.#underWay.size, this.nextSendAt, now);
    if (limit === 0) return true;
    const deliveries = await inOrganisation(
      this.#context.database,
      organisationId,
      async (transaction, last) => last(async () => claimDeliveries(transaction, this.#lease, limit, now)),
      { keepsPlans: true },
    );
    return this.#send({ deliveries, isMore: deliveries.length === limit }, obstacle);
  }

  /** Starts an attempt of each. Gives whether there may be more at once. */
  #send({ deliveries, isMore }: Claim, obstacle: Obstacle | null): boolean {
    for (const delivery of deliveries) {
      if (obstacle !== null && !delivery.override)
        this.#finished.push(giveUp(this.#context, delivery, obstacle.reason));
      else if (delivery.tries > maximumTries) {
        this.#finished.push(giveUp(this.#context, delivery, "The worker stopped during every attempt."));
      } else {
        const attempt = attemptDelivery(this.#context, this.#partner, delivery).then((finished) => {
          this.#finished.push(finished);
          this.#underWay.delete(attempt);
        });
        this.#underWay.set(attempt, performance.now());
      }
    }
    this.#countRate(deliveries.length);
    return isMore;
  }

  #countRate(begun: number): void {
    if (begun === 0 || this.#partner.ratePerMinute === 0) return;
    this.nextSendAt = new Date(this.#context.clock().getTime() + Math.ceil(60_000 / this.#partner.ratePerMinute));
  }

  #rateWaitMs(): number {
    return Math.max(0, (this.nextSendAt?.getTime() ?? 0) - this.#context.clock().getTime());
  }

  /** Waits until the rate allows the next; gives false when that is after the slice. */
  async #waitForRate(endsAt: number): Promise<boolean> {
    const waitMs = this.#rateWaitMs();
    if (performance.now() + waitMs > endsAt) return false;
    if (waitMs > 0) await setTimeout(waitMs);
    return true;
  }

  /**
   * Settles what has finished; waits for an attempt where none has, no longer than `mostMs` (null: until one has). With
   * `isEnding` the drain ends when nothing is under way then, and gives its lease up with what it settles last.
   */
  async #settleNext(mostMs: number | null, isEnding: boolean): Promise<void> {
    if (this.#finished.length === 0) {
      const rateWaitMs = this.#rateWaitMs();
      await this.#oneFinished(mostMs === null ? null : rateWaitMs > 0 ? Math.min(mostMs, rateWaitMs) : mostMs);
    }
    if (this.#finished.length > 0 && this.#underWay.size > 0) await this.#othersFinished();
    const finished = this.#finished.splice(0);
    const isLast = isEnding && this.#underWay.size === 0 && this.#placesBack === 0;
    if (finished.length > 0) await this.#settle(finished, isLast ? { nextSendAt: this.nextSendAt } : null);
  }

  async #oneFinished(mostMs: number | null): Promise<void> {
    await firstOf([...this.#underWay.keys()], mostMs);
  }

  /** Attempts that began together often end together: those that are about to are settled in the same group. */
  async #othersFinished(): Promise<void> {
    await firstOf([Promise.all(this.#underWay.keys())], gatherMs);
  }

  /** A group that cannot be settled may have one attempt in it that cannot: then each is settled by itself. */
  async #settle(finished: readonly FinishedAttempt[], release: Release | null): Promise<void> {
    for (const delayMs of settleDelaysMs) {
      try {
        return await this.#settleTogether(finished, release);
      } catch (error) {
        this.#logFailure("delivery.settling_failed", error);
        await setTimeout(delayMs);
      }
    }
    for (const attempt of finished) {
      await this.#settleTogether([attempt], null).catch((error: unknown) => {
        // It will be found as interrupted, and tried again.
        this.#logFailure("delivery.not_settled", error, attempt.delivery.id);
      });
    }
  }

  async #settleTogether(finished: readonly FinishedAttempt[], release: Release | null): Promise<void> {
    const { organisationId } = this.#lease;
    const settled = await settleAttempts(this.#context, this.#lease, this.#partner, finished, release);
    const { campaignIds, hasAlerts, placesBack, released } = settled;
    this.released = released;
    this.#placesBack += placesBack;
    for (const campaignId of campaignIds) this.#context.waker.wake(routeLeads, { organisationId, campaignId });
    if (hasAlerts) this.#context.waker.wake(sendAlerts, { organisationId });
  }

  async #renew(): Promise<void> {
    try {
      this.#isLost = !(await renewLease(this.#context, this.#lease));
    } catch (error) {
      this.#logFailure("drain.renewal_failed", error);
    }
  }

  #logFailure(event: string, error: unknown, deliveryId?: string): void {
    this.#context.log.error({ partnerId: this.#partner.id, deliveryId, error: describeError(error) }, event);
  }
}

/** Resolves with the first of these, or when the time is over (null: never). */
async function firstOf(promises: readonly Promise<unknown>[], mostMs: number | null): Promise<void> {
  const timer = new AbortController();
  const time = mostMs === null ? [] : [setTimeout(mostMs, undefined, { signal: timer.signal }).catch(() => undefined)];
  await Promise.race([...promises, ...time]);
  timer.abort();
}
