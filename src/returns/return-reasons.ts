import { z } from "zod";

/** What a return may be for, as the organisation lists it. */
export const returnReasonCodeSchema = z
  .string()
  .max(63)
  .regex(/^[a-z][a-z0-9_]*$/, "must be of small letters, digits and _, such as wrong_number");

export const returnReasonsSchema = z
  .array(z.strictObject({ code: returnReasonCodeSchema, text: z.string().trim().min(1).max(200) }))
  .max(50)
  .superRefine((reasons, context) => {
    for (const [index, { code }] of reasons.entries()) {
      if (reasons.findIndex((reason) => reason.code === code) === index) continue;
      context.addIssue({ code: "custom", path: [index, "code"], message: "is there twice" });
    }
  });
export type ReturnReason = z.infer<typeof returnReasonsSchema>[number];

/** An organisation begins with these; the same stand in the database. */
export const usualReturnReasons: readonly ReturnReason[] = [
  { code: "wrong_contact", text: "The contact details are wrong" },
  { code: "duplicate", text: "We have this person already" },
  { code: "outside_filter", text: "Not what was agreed: area, product or age" },
  { code: "not_genuine", text: "Not a genuine enquiry" },
  { code: "no_interest", text: "Not interested any more" },
];
