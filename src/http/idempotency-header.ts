import { z } from "zod";

/** Other headers pass as they are. */
export const idempotencyHeaders = z.looseObject({
  "idempotency-key": z
    .string()
    .min(1, "must not be empty")
    .max(255, "must have at most 255 characters")
    .optional()
    .meta({
      description: "the same key with the same content gets the first answer again; with other content it is refused",
    }),
});
