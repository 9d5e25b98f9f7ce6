import twilio from "twilio";
import { z } from "zod";
import { explainTwilioError } from "../alerts/explain-twilio-error.ts";
import { NoAnswer, refusalOf, type TwilioSettings, twilioClient } from "../alerts/twilio-client.ts";
import type { Config } from "../config.ts";
import type { Context } from "../context.ts";
import { type Database, inOrganisation } from "../db/database.ts";
import { recordLeadEvent } from "../leads/lead-events.ts";
import { lockOffer } from "./answer-offer.ts";

export type CallTransferResult =
  | { readonly kind: "called" }
  /** `missing`: the settings that the operator has to give. */
  | { readonly kind: "not_set_up"; readonly missing: readonly string[] }
  | { readonly kind: "called_already" }
  | { readonly kind: "over"; readonly state: string }
  | { readonly kind: "not_found" }
  | { readonly kind: "trouble"; readonly reason: string };

/** The partner's telephone rings for so long. */
const ringSeconds = 30;

/** Where Twilio reports that the partner's end of the call is over. It signs its requests with this address. */
function dialledUrl(config: Config, transferId: string): string {
  return `${config.publicUrl.replace(/\/+$/, "")}/v1/transfers/${transferId}/dialled`;
}

/**
 * Has Twilio ring up the agent, and put them through to the partner's number. Once for each transfer: of two requests one
 * calls. Whether the caller was handed over is for the agent to mark.
 */
export async function callTransfer(
  context: Context,
  organisationId: string,
  { transferId, agentPhone }: { readonly transferId: string; readonly agentPhone: string },
  actor: string,
): Promise<CallTransferResult> {
  const begun = await inOrganisation(context.database, organisationId, async (transaction) =>
    beginCall(transaction, context, transferId),
  );
  if (begun.kind !== "begun") return begun;
  const { settings, callerNumber, transferPhone, leadId } = begun;
  const reason = await placeCall(context, settings, { transferId, agentPhone, callerNumber, transferPhone });
  await inOrganisation(context.database, organisationId, async (transaction) => {
    if (reason === null) {
      const event = {
        organisationId,
        leadId,
        kind: "transfer_called",
        actor,
        detail: { deliveryId: transferId },
      } as const;
      await recordLeadEvent(transaction, event, context.clock());
    } else await letCallAgain(transaction, transferId);
  });
  return reason === null ? { kind: "called" } : { kind: "trouble", reason };
}

async function beginCall(transaction: Database, { config, clock }: Context, transferId: string) {
  const found = await lockOffer(transaction, transferId);
  if (found === null || found.delivery.offer !== "transfer") return { kind: "not_found" } as const;
  const { id, leadId, state, dueAt, calledAt, partnerId } = found.delivery;
  const now = clock();
  if (state !== "offered" || dueAt === null || dueAt <= now) return { kind: "over", state } as const;
  const settings = config.twilio;
  if (settings === null || settings.callerNumber === null) return notSetUp(settings);
  if (calledAt !== null) return { kind: "called_already" } as const;
  const { contact } = await transaction
    .selectFrom("partners")
    .select("contact")
    .where("id", "=", partnerId)
    .executeTakeFirstOrThrow();
  // Taken off the partner meanwhile: there is nobody to be put through to.
  if (contact.transferPhone === null) return { kind: "over", state } as const;
  await transaction.updateTable("deliveries").set({ calledAt: now }).where("id", "=", id).execute();
  const { callerNumber } = settings;
  return { kind: "begun", settings, callerNumber, transferPhone: contact.transferPhone, leadId } as const;
}

function notSetUp(settings: TwilioSettings | null): CallTransferResult {
  const account = settings === null ? ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM"] : [];
  return { kind: "not_set_up", missing: [...account, "TWILIO_CALLER"] };
}

async function letCallAgain(transaction: Database, transferId: string): Promise<void> {
  await transaction.updateTable("deliveries").set({ calledAt: null }).where("id", "=", transferId).execute();
}

interface Call {
  readonly transferId: string;
  readonly agentPhone: string;
  readonly callerNumber: string;
  readonly transferPhone: string;
}

/** Gives why it could not be done; null where Twilio calls. */
async function placeCall(context: Context, settings: TwilioSettings, call: Call): Promise<string | null> {
  const { transferId, agentPhone, callerNumber, transferPhone } = call;
  const instructions = new twilio.twiml.VoiceResponse();
  const action = dialledUrl(context.config, transferId);
  instructions.dial({ callerId: callerNumber, timeout: ringSeconds, action, method: "POST" }).number(transferPhone);
  try {
    const client = twilioClient(context, settings, transferId);
    await client.calls.create({ to: agentPhone, from: callerNumber, twiml: instructions.toString() });
    return null;
  } catch (error) {
    if (error instanceof NoAnswer) return `The telephone service could not be asked: ${error.message}`;
    const refusal = refusalOf(error);
    if (refusal !== null) return explainTwilioError(refusal.code ?? null, refusal.message ?? null);
    if (error instanceof SyntaxError) return "The telephone service's answer could not be read.";
    throw error;
  }
}

const reportSchema = z.object({ DialCallStatus: z.string().max(50) });

const dialledWords: Readonly<Record<string, string>> = {
  completed: "it was answered",
  answered: "it was answered",
  busy: "it was engaged",
  "no-answer": "nobody answered",
  failed: "the number could not be reached",
  canceled: "the agent hung up",
};

export type DialledResult = "noted" | "not_signed" | "unreadable" | "not_found";

/** Notes in the lead's history what became of the call to the partner, as Twilio reports it. */
export async function noteDialled(
  context: Context,
  organisationId: string,
  transferId: string,
  form: Readonly<Record<string, string>>,
): Promise<DialledResult> {
  const report = reportSchema.safeParse(form);
  if (!report.success) return "unreadable";
  const { DialCallStatus: status } = report.data;
  return inOrganisation(context.database, organisationId, async (transaction) => {
    const found = await lockOffer(transaction, transferId);
    if (found === null || found.delivery.offer !== "transfer") return "not_found";
    const detail = { deliveryId: transferId, reason: dialledWords[status] ?? "it is not known what came of it" };
    const event = { organisationId, leadId: found.lead.id, kind: "transfer_dialled", actor: "Twilio", detail } as const;
    await recordLeadEvent(transaction, event, context.clock());
    return "noted";
  });
}

/** Did Twilio send this report? It signs the address that it was given and every parameter with the account's token. */
export function isReportSigned(
  { config }: Context,
  transferId: string,
  signature: string,
  form: Readonly<Record<string, string>>,
): boolean {
  const { twilio: settings } = config;
  return (
    settings !== null && twilio.validateRequest(settings.authToken, signature, dialledUrl(config, transferId), form)
  );
}
