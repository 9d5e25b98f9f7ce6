import { z } from "zod";
import { instantSchema } from "../http/api.ts";
import type { ListedSession } from "./sessions.ts";

export const sessionAnswer = z
  .object({
    id: z.uuid(),
    createdAt: instantSchema,
    lastSeenAt: instantSchema.meta({ description: "to the minute" }),
    endsAt: instantSchema.meta({ description: "earlier where nothing is done for long" }),
    browser: z.string().nullable().meta({ description: "what it calls itself" }),
    address: z.string().nullable().meta({ description: "from where it was signed in" }),
    isCurrent: z.boolean().meta({ description: "the one that asks" }),
  })
  .meta({ id: "Session" });

export function presentSession(session: ListedSession, currentId: string | null): z.infer<typeof sessionAnswer> {
  return {
    id: session.id,
    createdAt: session.createdAt.toISOString(),
    lastSeenAt: session.lastSeenAt.toISOString(),
    endsAt: session.endsAt.toISOString(),
    browser: session.browser,
    address: session.address,
    isCurrent: session.id === currentId,
  };
}
