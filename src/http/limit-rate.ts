import rateLimit from "@fastify/rate-limit";
import type { FastifyRequest } from "fastify";
import { Redis } from "ioredis";
import type { Context } from "../context.ts";
import { RateExceeded } from "./answer-errors.ts";
import type { Api } from "./api.ts";

/**
 * Lets at most `perMinute` requests a minute with the same key through to the routes of `api`; 0 lets all through. The count
 * is kept in Redis where there is one, for all processes together, else in this process. Redis being away stops nobody.
 */
export async function limitRate(
  api: Api,
  context: Context,
  perMinute: number,
  keyOf: (request: FastifyRequest) => string,
): Promise<void> {
  if (perMinute === 0) return;
  const redis = openRedis(api, context);
  await api.register(rateLimit, {
    max: perMinute,
    timeWindow: 60_000,
    keyGenerator: keyOf,
    cache: 10_000,
    skipOnError: true,
    errorResponseBuilder: (_request, { ttl }) => new RateExceeded(Math.ceil(ttl / 1000)),
    ...(redis === null ? {} : { redis, nameSpace: `${context.config.queuePrefix}-rate-` }),
  });
}

function openRedis(api: Api, context: Context): Redis | null {
  const { redisUrl } = context.config;
  if (redisUrl === undefined) return null;
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: 0, commandTimeout: 250, enableOfflineQueue: false });
  redis.on("error", (error: Error) => context.log.warn({ error: error.message }, "rate_limit.trouble"));
  api.addHook("onClose", async () => redis.disconnect());
  return redis;
}
