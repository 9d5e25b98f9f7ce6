import type { JobDefinition } from "../queues/waker.ts";
import type { Context } from "../src/context.ts";

/** The one handler of a kind of job. */
export interface JobWorker {
  readonly name: string;
  readonly handle: (context: Context, data: unknown) => Promise<void>;
}

/** Ties a job to its handler: the payload is parsed before the handler sees it. */
export function defineWorker<Payload extends object>(
  job: JobDefinition<Payload>,
  handle: (context: Context, payload: Payload) => Promise<void>,
): JobWorker {
  return { name: job.name, handle: async (context, data) => handle(context, job.payload.parse(data)) };
}
