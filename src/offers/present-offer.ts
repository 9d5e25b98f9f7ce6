import { z } from "zod";
import { type PreviewField, previewOf } from "../campaigns/preview.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import type { DeliveryState } from "../db/tables.ts";
import { instantSchema } from "../http/api.ts";

/** What may be known of a lead that is offered to a partner: nothing of its fields but those of the preview. */
export interface OfferView {
  readonly deliveryId: string;
  readonly partnerId: string;
  readonly partnerName: string;
  readonly organisationName: string;
  readonly campaignName: string;
  /** The partner's. */
  readonly timeZone: string;
  readonly state: DeliveryState;
  /** When the lead came in. */
  readonly receivedAt: Date;
  readonly until: Date;
  readonly answeredAt: Date | null;
  /** The most that it can cost. */
  readonly priceMinor: number;
  readonly currency: string;
  /** Empty once the lead is erased. */
  readonly preview: readonly PreviewField[];
}

/** The same as the API gives it. */
export const offerAnswer = z
  .object({
    deliveryId: z.uuid(),
    campaignName: z.string(),
    state: z.string().meta({ description: "of the delivery" }),
    receivedAt: instantSchema,
    until: instantSchema.meta({ description: "until when it may be accepted" }),
    answeredAt: instantSchema.nullable(),
    price: z.int().meta({ description: "in minor units; the most that it can cost" }),
    currency: z.string(),
    preview: z.array(
      z.object({
        key: z.string(),
        label: z.string(),
        value: z.union([z.string(), z.number(), z.boolean()]).nullable(),
        text: z.string().meta({ description: "the value as people write it" }),
      }),
    ),
  })
  .meta({ id: "Offer" });

export function toOfferAnswer(view: OfferView): z.infer<typeof offerAnswer> {
  const { deliveryId, campaignName, state, receivedAt, until, answeredAt, priceMinor, currency, preview } = view;
  return {
    ...{ deliveryId, campaignName, state, currency, preview: [...preview] },
    receivedAt: receivedAt.toISOString(),
    until: until.toISOString(),
    answeredAt: answeredAt?.toISOString() ?? null,
    price: priceMinor,
  };
}

export interface OfferOf {
  readonly deliveryId: string;
  /** null: whichever it is. */
  readonly partnerId: string | null;
}

/** An offer, open or not, with what the campaign lets be seen of its lead; null where the partner has none of that id. */
export async function presentOffer(context: Context, organisationId: string, of: OfferOf): Promise<OfferView | null> {
  return inOrganisation(context.database, organisationId, async (transaction) => readOffer(transaction, of));
}

/** The same in a transaction. */
export async function readOffer(transaction: Database, { deliveryId, partnerId }: OfferOf): Promise<OfferView | null> {
  const offers = transaction
    .selectFrom("deliveries as d")
    .innerJoin("leads as l", "l.id", "d.leadId")
    .innerJoin("campaigns as k", "k.id", "d.campaignId")
    .innerJoin("partners as p", "p.id", "d.partnerId")
    .innerJoin("organisations as o", "o.id", "d.organisationId")
    .select(["d.id as deliveryId", "d.partnerId", "d.state", "d.priceMinor", "d.currency", "d.answeredAt"])
    .select((is) => is.ref("d.offerUntil").$notNull().as("until"))
    .select(["p.name as partnerName", "p.timeZone", "o.name as organisationName", "k.name as campaignName"])
    .select(["k.fields as campaignFields", "l.fields", "l.receivedAt"])
    .where("d.id", "=", deliveryId)
    .where("d.offer", "=", "accept");
  const row = await (partnerId === null ? offers : offers.where("d.partnerId", "=", partnerId)).executeTakeFirst();
  if (row === undefined) return null;
  const { campaignFields, fields, ...offer } = row;
  return { ...offer, preview: previewOf(campaignFields, fields) };
}
