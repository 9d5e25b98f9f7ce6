import { sql } from "kysely";
import { sendAlerts } from "../../queues/send-alerts.ts";
import type { Field } from "../campaigns/fields.ts";
import { matchKeys } from "../campaigns/normalise-fields.ts";
import { admitReferral, type ConnectionVersion, type NotAdmitted } from "../connections/admit-referral.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import type { Vault } from "../encrypt.ts";
import { canonicalJson } from "../leads/canonical-json.ts";
import { fitReferral } from "./fit-referral.ts";
import { type Referral, type ReferralAnswer, referralVersion } from "./protocol.ts";
import { type NewDeal, storeDeal } from "./store-deal.ts";

/** What a referral comes over: an inbound or a connection. Each says itself where it leads. */
export type Via =
  | { readonly kind: "inbound"; readonly inboundId: string }
  | ({ readonly kind: "connection" } & ConnectionVersion);

/** A referral on its way into an organisation. */
export interface Arrival {
  readonly organisationId: string;
  readonly via: Via;
  readonly referral: Referral;
}

export type ReceiveReferralResult =
  | { readonly kind: "received"; readonly answer: ReferralAnswer; readonly isReplay: boolean }
  | {
      readonly kind: "refused";
      readonly reason: Refusal["reason"] | "idempotency_conflict";
    }
  | NotAdmitted;

/**
 * Takes in a lead that another organisation refers: lead, contacts, notes, stage, owner, what it arrived over, and who is told,
 * in one transaction of the receiver, or nothing of it. The same referral again, also at the same moment, gets the first
 * answer, whatever became of the link since; with another lead under its id it is refused. The lead is not routed: it goes to
 * partners by hand only.
 *
 * Takes a referral that fits the schema and holds no text that PostgreSQL cannot keep.
 */
export async function receiveReferral(context: Context, arrival: Arrival): Promise<ReceiveReferralResult> {
  const { organisationId, via, referral } = arrival;
  const contentHash = hashOf(context.vault, organisationId, referral);
  const result = await inOrganisation(context.database, organisationId, async (transaction) => {
    await lockReferral(transaction, context.vault, organisationId, referral.referralId);
    const earlier = await findEarlier(transaction, referral.referralId);
    if (earlier !== null) return replay(earlier, contentHash);
    const target = via.kind === "inbound" ? await findTarget(transaction, via) : await findStage(transaction, via);
    if (target.kind !== "target") return target;
    const answer = await store(transaction, context, arrival, target, contentHash);
    return { kind: "received", answer, isReplay: false } as const;
  });
  if (result.kind === "received" && !result.isReplay) context.waker.wake(sendAlerts, { organisationId });
  return result;
}

/** Where a referral leads, once it is known that it may come in. */
interface Target {
  readonly kind: "target";
  /** What it came over, in words. */
  readonly link: string;
  readonly stageId: string;
  readonly stageName: string;
  readonly workflowName: string;
  readonly workflowOwnerId: string;
  readonly alertSms: boolean;
  readonly campaignId: string;
  readonly holdHours: number;
  readonly fields: readonly Field[];
  readonly duplicates: { readonly match: readonly string[] } | null;
}

/** A link that leads nowhere. */
export interface Refusal {
  readonly kind: "refused";
  readonly reason: "inbound_gone" | "inbound_disabled" | "stage_gone";
}

type Over<Kind extends Via["kind"]> = Extract<Via, { kind: Kind }>;

/** Where an inbound leads. Neither it nor the stage can be switched off or taken away before the transaction ends. */
export async function findTarget(transaction: Database, via: Over<"inbound">): Promise<Target | Refusal> {
  const inbound = await transaction
    .selectFrom("inbounds")
    .select(["name", "stageId", "enabled", "deletedAt"])
    .where("id", "=", via.inboundId)
    .forShare()
    .executeTakeFirstOrThrow();
  if (inbound.deletedAt !== null) return { kind: "refused", reason: "inbound_gone" };
  if (!inbound.enabled) return { kind: "refused", reason: "inbound_disabled" };
  return readTarget(transaction, inbound.stageId, `the inbound ${inbound.name}`);
}

/** Where a connection leads, if it is still to carry what was put together by its permissions; it too stays as it is. */
async function findStage(transaction: Database, via: Over<"connection">): Promise<Target | Refusal | NotAdmitted> {
  const admission = await admitReferral(transaction, via);
  if (admission.kind === "not_admitted") return admission;
  return readTarget(transaction, admission.stageId, `the connection from ${admission.organisation}`);
}

async function readTarget(transaction: Database, stageId: string, link: string): Promise<Target | Refusal> {
  const target = await transaction
    .selectFrom("stages as s")
    .innerJoin("workflows as w", "w.id", "s.workflowId")
    .innerJoin("campaigns as c", "c.id", "w.campaignId")
    .select(["s.id as stageId", "s.name as stageName", "w.name as workflowName", "w.ownerId as workflowOwnerId"])
    .select(["w.alertSms", "c.id as campaignId", "c.holdHours", "c.fields", "c.duplicates"])
    .where("s.id", "=", stageId)
    .where("s.removedAt", "is", null)
    .forShare("s")
    .executeTakeFirst();
  return target === undefined ? { kind: "refused", reason: "stage_gone" } : { kind: "target", link, ...target };
}

/** Of two that come at the same moment the second waits, and then finds the first. */
async function lockReferral(
  transaction: Database,
  vault: Vault,
  organisationId: string,
  referralId: string,
): Promise<void> {
  const key = vault.fingerprint(`referral ${organisationId} ${referralId}`).readBigInt64BE(0).toString();
  await sql`select pg_advisory_xact_lock(${key}::bigint)`.execute(transaction);
}

async function findEarlier(transaction: Database, referralId: string) {
  const earlier = await transaction
    .selectFrom("arrivals as a")
    .innerJoin("organisations as o", "o.id", "a.organisationId")
    .select(["a.referralId", "a.leadId", "a.contentHash", "a.keptAside", "o.name as organisation"])
    .where("a.referralId", "=", referralId)
    .executeTakeFirst();
  return earlier ?? null;
}

function replay(
  { referralId, leadId, contentHash, keptAside, organisation }: NonNullable<Awaited<ReturnType<typeof findEarlier>>>,
  given: Buffer,
): ReceiveReferralResult {
  // Of one that was erased since, what it was is not known any more.
  if (contentHash !== null && !contentHash.equals(given)) return { kind: "refused", reason: "idempotency_conflict" };
  return { kind: "received", answer: toAnswer(referralId, leadId, organisation, keptAside), isReplay: true };
}

function toAnswer(
  referralId: string,
  receivedAs: string,
  organisation: string,
  keptAside: readonly string[],
): ReferralAnswer {
  return { version: referralVersion, referralId, receivedAs, organisation, keptAside: [...keptAside] };
}

/** Of the lead alone: names of people and organisations may change between one try and the next. */
function hashOf(vault: Vault, organisationId: string, { lead }: Referral): Buffer {
  const { id, fields, contacts } = lead;
  return vault.fingerprint(`${organisationId} referral ${canonicalJson({ id, fields, contacts })}`);
}

async function store(
  transaction: Database,
  { clock, vault }: Context,
  { organisationId, via, referral }: Arrival,
  target: Target,
  contentHash: Buffer,
): Promise<ReferralAnswer> {
  const now = clock();
  const { lead, from, referredBy } = referral;
  const fitted = fitReferral(target.fields, lead);
  const [organisation, owner] = await Promise.all([
    transaction.selectFrom("organisations").select("name").executeTakeFirstOrThrow(),
    findOwner(transaction, referral.owner?.email ?? null),
  ]);
  const by = referredBy.email === null ? referredBy.name : `${referredBy.name} (${referredBy.email})`;
  const told = { referrer: from.organisation, installation: from.installation, referredBy: by, link: target.link };
  const deal: NewDeal = {
    organisationId,
    target,
    source: lead.source ?? from.organisation,
    ...fitted,
    matchKeys: matchKeys(target.fields, fitted.fields, target.duplicates?.match ?? []),
    ownerId: owner ?? target.workflowOwnerId,
    notes: lead.notes.map((note) => ({ ...note, writtenAt: new Date(note.writtenAt) })),
    event: {
      kind: "arrived",
      detail: { ...told, referralId: referral.referralId, keptAside: fitted.keptAside },
    },
    alert: { referrer: from.organisation, by: referredBy.name, link: target.link, referral: referral.referralId },
  };
  const leadId = await storeDeal(transaction, vault, deal, now);
  await transaction
    .insertInto("arrivals")
    .values({
      id: newId(),
      organisationId,
      leadId,
      inboundId: via.kind === "inbound" ? via.inboundId : null,
      connectionId: via.kind === "connection" ? via.connectionId : null,
      referralId: referral.referralId,
      contentHash,
      referrer: from.organisation,
      installation: from.installation,
      senderLeadId: lead.id,
      referredAt: new Date(referral.referredAt),
      referredBy: by,
      keptAside: JSON.stringify(fitted.keptAside),
      statusUrl: referral.status?.url ?? null,
      statusKeyEncrypted: referral.status === null ? null : vault.encrypt(referral.status.key),
      arrivedAt: now,
    })
    .execute();
  if (via.kind === "inbound") await countReferrer(transaction, organisationId, via.inboundId, from, now);
  return toAnswer(referral.referralId, leadId, organisation.name, fitted.keptAside);
}

/** The member of staff with this email who is let in. */
async function findOwner(transaction: Database, email: string | null): Promise<string | null> {
  if (email === null) return null;
  const user = await transaction
    .selectFrom("users")
    .select("id")
    .where((is) => is(is.fn("lower", ["email"]), "=", email.toLowerCase()))
    .where("partnerId", "is", null)
    .where("disabledAt", "is", null)
    .executeTakeFirst();
  return user?.id ?? null;
}

async function countReferrer(
  transaction: Database,
  organisationId: string,
  inboundId: string,
  { organisation: referrer, installation }: Referral["from"],
  now: Date,
): Promise<void> {
  await transaction
    .insertInto("inboundReferrers")
    .values({ inboundId, organisationId, referrer, installation, firstAt: now, lastAt: now, referralCount: 1 })
    .onConflict((conflict) =>
      conflict.columns(["inboundId", "referrer", "installation"]).doUpdateSet({
        lastAt: (is) => is.fn<Date>("greatest", [is.ref("inboundReferrers.lastAt"), is.ref("excluded.lastAt")]),
        referralCount: (is) => is("inboundReferrers.referralCount", "+", 1),
      }),
    )
    .execute();
}
