import { z } from "zod";

/** What the bench and its two helpers, the generator and the receiver, say to each other. */

const times = z.instanceof(Float64Array);

export const listeningSchema = z.object({ kind: z.literal("listening"), port: z.int() });

/** How many different leads the receiver has seen since it was last asked. */
export const arrivedSchema = z.object({ kind: z.literal("arrived"), count: z.int() });

/** Asks for what came of leads `from` to `from + count`. */
export const collectSchema = z.object({ kind: z.literal("collect"), from: z.int(), count: z.int() });

export const collectedSchema = z.object({
  kind: z.literal("collected"),
  /** When each lead first came; NaN if it did not. */
  arrivals: times,
  /** Numbers of leads that came to a partner that never answers. */
  hung: z.array(z.int()),
  /**
   * Numbers of leads that came although a partner had them, once for each time, since the last time this was asked. A
   * partner that never answers may be asked again.
   */
  repeated: z.array(z.int()),
  /** Since the bench began. */
  requestsByPath: z.array(z.tuple([z.string(), z.int()])),
});
export type Collected = z.infer<typeof collectedSchema>;

export const paceSchema = z.discriminatedUnion("kind", [
  /** As fast as answers come, never more than `ahead` leads before the receiver. */
  z.object({ kind: z.literal("flat out"), ahead: z.int(), mostLeads: z.int() }),
  /** So many a second, whatever the answers do. */
  z.object({ kind: z.literal("steady"), perSecond: z.number() }),
]);
export type Pace = z.infer<typeof paceSchema>;

export const runSchema = z.object({
  kind: z.literal("run"),
  port: z.int(),
  path: z.string(),
  /** The number of the first lead. */
  from: z.int(),
  durationMs: z.number(),
  connections: z.int(),
  pace: paceSchema,
});
export type Run = z.infer<typeof runSchema>;

export const ranSchema = z.object({
  kind: z.literal("ran"),
  startedAtMs: z.number(),
  /** By lead: when it should have been sent, and when it was answered. */
  due: times,
  answered: times,
  refused: z.int(),
  firstRefusal: z.string().nullable(),
});
export type Ran = z.infer<typeof ranSchema>;

export type Message =
  | z.infer<typeof listeningSchema>
  | z.infer<typeof arrivedSchema>
  | z.infer<typeof collectSchema>
  | Collected
  | Run
  | Ran;

/** Says something to the bench that started this process. */
export function tell(message: Message): void {
  if (process.send === undefined) throw new Error("Only the bench starts this program.");
  process.send(message);
}
