import { z } from "zod";
import type { LeadState } from "../db/tables.ts";
import { explainReason, type Reason, type ReasonCode } from "../routing/reasons.ts";
import type { Stage } from "../workflows/stages.ts";

const coded = z.looseObject({ code: z.string() });

const words: Readonly<Record<string, string>> = {
  offered: "It is offered to a partner, which has to accept it first.",
  transfer: "An agent is handing the caller over to a partner.",
  no_partners: "Nobody is in the campaign's routing.",
  no_partner_eligible: "No partner could take the lead, now or later.",
  all_refused: "Every partner that could have had the lead refused it.",
  hold_expired: "The lead was held until its time was over, and nobody could take it.",
  unreferred: "It was taken back from its partner by hand.",
  by_hand: "The partner that it was sent to by hand did not take it; it goes to no other by itself.",
  delivery_uncertain: "It is not known whether a partner got the lead: staff decide.",
};

const invalidReason = z.looseObject({ problems: z.array(z.looseObject({ field: z.string() })) });

/** Where a lead stands that goes to partners by hand only. */
interface Standing {
  readonly byHand: boolean;
  readonly stage: Pick<Stage, "name" | "workflowName"> | null;
}

/** Why a lead is in its state, as a code and in plain words; null where the state says it all. */
export function explainState(
  state: LeadState,
  stateReason: unknown,
  { byHand, stage }: Standing,
): { readonly code: string; readonly text: string } | null {
  if (state === "received" && byHand) {
    const where = stage === null ? "It" : `It stands in workflow ${stage.workflowName}, stage ${stage.name}, and`;
    return { code: "in_workflow", text: `${where} goes to a partner by hand only.` };
  }
  const read = coded.safeParse(stateReason);
  if (!read.success) return null;
  const { code } = read.data;
  if (isReason(stateReason)) return { code, text: explainReason(stateReason) };
  if (state === "invalid") {
    const fields = invalidReason.safeParse(stateReason).data?.problems.map((problem) => problem.field) ?? [];
    return { code, text: `These fields are not right: ${fields.join(", ")}.` };
  }
  return { code, text: words[code] ?? code };
}

const reasonCodes: Readonly<Record<ReasonCode, true>> = {
  partner_inactive: true,
  not_a_buyer: true,
  no_delivery_method: true,
  introduced_it: true,
  already_had: true,
  sale_limit_reached: true,
  filter_not_matched: true,
  closed: true,
  partner_paused: true,
  limit_reached: true,
  spend_limit_reached: true,
  no_funds: true,
  endpoint_paused: true,
};

/** The router stores its reasons whole: what bears one of its codes is one of them. */
function isReason(value: unknown): value is Reason {
  const read = coded.safeParse(value);
  return read.success && Object.hasOwn(reasonCodes, read.data.code);
}
