import { z } from "zod";
import { type PreviewField, previewOf } from "../campaigns/preview.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import type { DeliveryState } from "../db/tables.ts";
import { instantSchema } from "../http/api.ts";
import type { PageOf } from "../http/page.ts";

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
  const offers = selectOffers(transaction).where("d.id", "=", deliveryId);
  const row = await (partnerId === null ? offers : offers.where("d.partnerId", "=", partnerId)).executeTakeFirst();
  return row === undefined ? null : toView(row);
}

/** The offers that wait for a partner's answer, newest first, one more than the page has. */
export async function readOpenOffers(
  transaction: Database,
  partnerId: string,
  { limit, cursor }: PageOf,
): Promise<readonly OfferView[]> {
  const open = selectOffers(transaction).where("d.partnerId", "=", partnerId).where("d.state", "=", "offered");
  const rows = await (cursor === undefined ? open : open.where("d.id", "<", cursor))
    .orderBy("d.id", "desc")
    .limit(limit + 1)
    .execute();
  return rows.map(toView);
}

function selectOffers(transaction: Database) {
  return transaction
    .selectFrom("deliveries as d")
    .innerJoin("leads as l", "l.id", "d.leadId")
    .innerJoin("campaigns as k", "k.id", "d.campaignId")
    .innerJoin("partners as p", "p.id", "d.partnerId")
    .innerJoin("organisations as o", "o.id", "d.organisationId")
    .select(["d.id as deliveryId", "d.partnerId", "d.state", "d.priceMinor", "d.currency", "d.answeredAt"])
    .select((is) => is.ref("d.offerUntil").$notNull().as("until"))
    .select(["p.name as partnerName", "p.timeZone", "o.name as organisationName", "k.name as campaignName"])
    .select(["k.fields as campaignFields", "l.fields", "l.receivedAt"])
    .where("d.offer", "=", "accept");
}

type OfferRow = Awaited<ReturnType<ReturnType<typeof selectOffers>["execute"]>>[number];

function toView({ campaignFields, fields, ...offer }: OfferRow): OfferView {
  return { ...offer, preview: previewOf(campaignFields, fields) };
}
