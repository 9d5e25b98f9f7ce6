import { z } from "zod";

/**
 * Version 1 of what two installations say to each other about a referral: docs/referral-protocol.md in schemas. Keys that
 * are not named here are let pass, so that a later version may say more.
 */

export const referralVersion = 1;
export const supportedVersions: readonly number[] = [referralVersion];

/** A referral with all its fields, contacts and notes is no larger than this. */
export const mostReferralBytes = 1024 * 1024;
export const mostReferredFields = 200;
export const mostReferredContacts = 20;
export const mostReferredNotes = 500;
/** More than this of an answer or a refusal is not read. */
export const mostAnswerBytes = 64 * 1024;

const nameSchema = z.string().trim().min(1, "must not be empty").max(200, "must be at most 200 characters");
const emailSchema = z.string().trim().min(3).max(254, "must be at most 254 characters");
const instantSchema = z.iso.datetime({ offset: true, error: "must be an instant, such as 2026-11-20T09:00:00Z" });
const referralIdSchema = z.uuid("must be an id (UUID)");

/**
 * One field of a lead or of a contact. A phone number is E.164, a date `YYYY-MM-DD`, an amount of money a text in major units
 * with a point (`"1250.00"`) beside its currency where it is known.
 */
export const referredFieldSchema = z.object({
  key: z.string().min(1, "must not be empty").max(100, "must be at most 100 characters"),
  label: z.string().max(200, "must be at most 200 characters"),
  type: z
    .string()
    .min(1)
    .max(40)
    .meta({ description: "text, email, phone, date, number, money, boolean, choice, postcode" }),
  group: z.string().max(100).nullable().meta({ description: "contact marks the fields of the main contact" }),
  value: z.union([z.string().max(50_000, "must be at most 50000 characters"), z.number(), z.boolean(), z.null()]),
  currency: z.string().max(3).nullish().meta({ description: "of money" }),
});
export type ReferredField = z.infer<typeof referredFieldSchema>;

export const referredNoteSchema = z.object({
  text: z.string().min(1, "must not be empty").max(10_000, "must be at most 10000 characters"),
  writtenBy: nameSchema,
  writtenAt: instantSchema,
});
export type ReferredNote = z.infer<typeof referredNoteSchema>;

const fieldsSchema = z
  .array(referredFieldSchema)
  .max(mostReferredFields, `must hold at most ${mostReferredFields} fields`)
  .refine((fields) => new Set(fields.map(({ key }) => key)).size === fields.length, "must name each key once");

/** How long what signs the status callbacks of one referral is at least and at most. */
const statusKeySchema = z.string().regex(/^[\x21-\x7e]{32,200}$/, "must be 32 to 200 printable characters");

const webAddress = (longest: number) =>
  z
    .string()
    .max(longest, `must be at most ${longest} characters`)
    .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), "must be a web address");

/** What a sender posts to a referral URL. */
export const referralSchema = z.object({
  version: z.literal(referralVersion),
  referralId: referralIdSchema.meta({ description: "made by the sender; the same each time this referral is sent" }),
  from: z.object({
    organisation: nameSchema,
    installation: webAddress(300).meta({ description: "where the sender's system is reached" }),
  }),
  referredAt: instantSchema,
  referredBy: z.object({ name: nameSchema, email: emailSchema.nullable() }),
  owner: z.object({ name: nameSchema, email: emailSchema }).nullable(),
  lead: z.object({
    id: z.string().min(1).max(100).meta({ description: "what the sender calls it" }),
    receivedAt: instantSchema,
    source: z.string().max(200).nullable(),
    fields: fieldsSchema,
    contacts: z
      .array(fieldsSchema)
      .max(mostReferredContacts, `must hold at most ${mostReferredContacts} contacts`)
      .meta({ description: "beyond the main one" }),
    notes: z.array(referredNoteSchema).max(mostReferredNotes, `must hold at most ${mostReferredNotes} notes`),
  }),
  status: z
    .object({ url: webAddress(2000), key: statusKeySchema })
    .nullable()
    .meta({ description: "where the sender wants to hear what became of it; null: nowhere" }),
});
export type Referral = z.infer<typeof referralSchema>;

/** What of a body says which version it is. */
export const versionedSchema = z.looseObject({ version: z.number() });

/** The answer to a referral: 201 the first time, 200 the same again. */
export const referralAnswerSchema = z.object({
  version: z.literal(referralVersion),
  referralId: referralIdSchema,
  receivedAs: z.string().min(1).max(100).meta({ description: "what the receiver calls the lead" }),
  organisation: nameSchema.meta({ description: "the receiver" }),
  keptAside: z
    .array(z.string().max(200))
    .max(1000)
    .default([])
    .meta({ description: "keys of fields that the receiver has no place for, and keeps beside the others" }),
});
export type ReferralAnswer = z.infer<typeof referralAnswerSchema>;

/** The answer to `GET` on a referral URL: a check of the link. */
export const linkAnswerSchema = z.object({
  versions: z.array(z.int()).min(1).max(100),
  organisation: nameSchema,
  inbound: nameSchema,
});
export type LinkAnswer = z.infer<typeof linkAnswerSchema>;

/** The codes with which a receiver refuses, beside those that any server may answer. */
export const referralRefusalCodes = [
  "referral_version",
  "referral_key_wrong",
  "inbound_disabled",
  "stage_gone",
  "idempotency_conflict",
  "inbound_gone",
  "referral_too_large",
  "invalid_referral",
] as const;

/** A refusal (RFC 9457), as far as a sender has to understand it. */
export const referralRefusalSchema = z.object({
  code: z.string().max(100),
  title: z.string().max(500).optional(),
  detail: z.string().max(2000).optional(),
  supported: z
    .array(z.int())
    .max(100)
    .optional()
    .meta({ description: "with referral_version: what the receiver speaks" }),
});
export type ReferralRefusal = z.infer<typeof referralRefusalSchema>;

export const referralStatuses = ["accepted", "won", "lost"] as const;

/** What the receiver posts to `status.url` when the lead's state changes there, signed (sign-status.ts). */
export const statusCallbackSchema = z.object({
  version: z.literal(referralVersion),
  referralId: referralIdSchema,
  status: z.enum(referralStatuses, "must be accepted, won or lost"),
  reason: z.string().max(1000, "must be at most 1000 characters").nullable(),
  at: instantSchema,
  sequence: z.int().min(1).meta({ description: "counts up; one that is not above the last one heard has no effect" }),
});
export type StatusCallback = z.infer<typeof statusCallbackSchema>;
