import { setTimeout } from "node:timers/promises";
import { drainPartner } from "../../queues/drain-partner.ts";
import { routeLeads } from "../../queues/route-leads.ts";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { openingAt } from "../partners/schedule.ts";
import { attemptDelivery, type FinishedAttempt } from "./attempt-delivery.ts";
import { claimDeliveries, postponeUntil } from "./claim-deliveries.ts";
import { type DrainedPartner, readDrainedPartner } from "./drained-partner.ts";
import { type Lease, releaseLease, renewEveryMs, renewLease, takeLease } from "./lease.ts";
import { recheckHolds } from "./recheck-holds.ts";
import { returnBacklog } from "./return-backlog.ts";
import { settleAttempts } from "./settle-attempts.ts";

/** A job hands the worker back after this long; what is left goes to another. */
const sliceMs = 5_000;

/** A partner that has no planned opening is looked at again after this long. */
const noOpeningRecheckMs = 24 * 3_600_000;

/** Sends what is due to one partner: one drain at a time, with the partner's own concurrency, rate and hours. */
export async function drainDueDeliveries(context: Context, organisationId: string, partnerId: string): Promise<void> {
  const lease = await takeLease(context, organisationId, partnerId);
  if (lease === null) return;
  const drain = new Drain(context, lease, await readDrainedPartner(context, organisationId, partnerId));
  try {
    await drain.run();
  } finally {
    const isMoreDue = await releaseLease(context, lease, drain.nextSendAt);
    if (isMoreDue) context.waker.wake(drainPartner, { organisationId, partnerId });
  }
}

class Drain {
  readonly #context: Context;
  readonly #lease: Lease;
  readonly #partner: DrainedPartner;
  readonly #underWay = new Set<Promise<void>>();
  #finished: FinishedAttempt[] = [];
  #isLost = false;
  /** The partner's rate allows nothing before this. */
  nextSendAt: Date | null = null;

  constructor(context: Context, lease: Lease, partner: DrainedPartner) {
    this.#context = context;
    this.#lease = lease;
    this.#partner = partner;
  }

  /**
   * Claims as many as may be under way, sends them, settles those that have finished in one group while the others go
   * on, and claims more, until nothing is due or the slice is over.
   */
  async run(): Promise<void> {
    const endsAt = performance.now() + sliceMs;
    const renewal = setInterval(() => void this.#renew(), renewEveryMs);
    try {
      await recheckHolds(this.#context, this.#partner);
      for (let isMore = true; ; ) {
        const mayBegin =
          isMore && performance.now() < endsAt && !this.#isLost && !this.#context.stopping.signal.aborted;
        if (mayBegin) isMore = await this.#begin();
        if (this.#underWay.size === 0 && this.#finished.length === 0) {
          if (!(mayBegin && isMore)) return;
          // Nothing could begin although something is due: the partner's rate says when.
          if (!(await this.#waitForRate(endsAt))) return;
          continue;
        }
        if (this.#finished.length === 0) await Promise.race(this.#underWay);
        await this.#settle();
      }
    } finally {
      clearInterval(renewal);
    }
  }

  /** Claims and starts what may go now. Gives whether there may be more at once. */
  async #begin(): Promise<boolean> {
    const now = this.#context.clock();
    const { id, organisationId, health } = this.#partner;
    if (!this.#partner.active || (health.pausedUntil !== null && health.pausedUntil > now)) {
      const campaignIds = await returnBacklog(this.#context, this.#partner, now);
      for (const campaignId of campaignIds) this.#context.waker.wake(routeLeads, { organisationId, campaignId });
      return false;
    }
    const limit = this.#placesFree(now);
    if (limit === 0) return true;
    const claimed = await inOrganisation(this.#context.database, organisationId, async (transaction) => {
      const opening = openingAt(this.#partner.schedule, this.#partner.timeZone, now);
      if (!opening.open) {
        const opensAt = opening.opensAt ?? new Date(now.getTime() + noOpeningRecheckMs);
        await postponeUntil(transaction, id, opensAt, now);
      }
      return claimDeliveries(transaction, this.#lease, limit, opening.open, now);
    });
    for (const delivery of claimed) {
      const attempt = attemptDelivery(this.#context, this.#partner, delivery).then((finished) => {
        this.#finished.push(finished);
        this.#underWay.delete(attempt);
      });
      this.#underWay.add(attempt);
    }
    this.#countRate(claimed.length, now);
    return claimed.length === limit;
  }

  /** A probe goes alone; a rate lets one go at a time. */
  #placesFree(now: Date): number {
    if (this.nextSendAt !== null && this.nextSendAt > now) return 0;
    const most = this.#partner.health.pauseCount > 0 || this.#partner.ratePerMinute > 0 ? 1 : this.#partner.concurrency;
    return Math.max(0, most - this.#underWay.size);
  }

  #countRate(begun: number, now: Date): void {
    if (begun === 0 || this.#partner.ratePerMinute === 0) return;
    this.nextSendAt = new Date(now.getTime() + Math.ceil(60_000 / this.#partner.ratePerMinute));
  }

  /** Waits until the rate allows the next; gives false when that is after the slice. */
  async #waitForRate(endsAt: number): Promise<boolean> {
    const waitMs = (this.nextSendAt?.getTime() ?? 0) - this.#context.clock().getTime();
    if (performance.now() + waitMs > endsAt) return false;
    if (waitMs > 0) await setTimeout(waitMs);
    return true;
  }

  async #settle(): Promise<void> {
    const finished = this.#finished;
    this.#finished = [];
    const { organisationId } = this.#lease;
    const { campaignIds, hasAlerts } = await settleAttempts(this.#context, this.#lease, this.#partner, finished);
    for (const campaignId of campaignIds) this.#context.waker.wake(routeLeads, { organisationId, campaignId });
    if (hasAlerts) this.#context.waker.wake(sendAlerts, { organisationId });
  }

  async #renew(): Promise<void> {
    try {
      this.#isLost = !(await renewLease(this.#context, this.#lease));
    } catch (error) {
      this.#context.log.warn({ partnerId: this.#partner.id, error: String(error) }, "drain.renewal_failed");
    }
  }
}
