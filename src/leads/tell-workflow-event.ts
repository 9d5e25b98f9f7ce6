import { z } from "zod";

const text = z.string().nullable().catch(null);

const detailSchema = z.object({
  from: text,
  to: text,
  owner: text,
  referrer: text,
  installation: text,
  referredBy: text,
  link: text,
  referralId: text,
  keptAside: z.array(z.string()).catch([]),
  status: text,
  reason: text,
  error: text,
});
type Detail = z.infer<typeof detailSchema>;

/** What happened to a lead in a workflow or between organisations, in words; null for events of other kinds. */
export function tellWorkflowEvent(
  kind: string,
  actor: string,
  detail: Readonly<Record<string, unknown>>,
): string | null {
  const words = tellers.get(kind)?.(detailSchema.parse(detail));
  return words === undefined ? null : `${words.replace(/\.$/, "")}${actor === "system" ? "" : ` (${actor})`}.`;
}

const tellers: ReadonlyMap<string, (detail: Detail) => string> = new Map([
  ["moved", tellMove],
  ["owner_changed", ({ owner }) => (owner === null ? "It was given to nobody" : `It was given to ${owner}`)],
  ["arrived", tellArrival],
  ["came_by_form", ({ link }) => `It came in over ${link === null ? "a form" : `the form of ${link}`}`],
  ["status_reported", tellStatus],
  [
    "status_not_told",
    ({ referrer, status, error }) =>
      `${referrer ?? "Its sender"} could not be told that it is ${status ?? "changed"}: ${error ?? "erased"}`,
  ],
]);

function tellMove({ from, to }: Detail): string {
  if (from === null && to === null) return "It was moved";
  if (from === null) return `It was put into ${to}`;
  return to === null ? `It was taken out of ${from}` : `It was moved from ${from} to ${to}`;
}

function tellArrival({ referrer, installation, referredBy, link, referralId, keptAside }: Detail): string {
  if (referrer === null) return "It was referred here by another organisation";
  const aside =
    keptAside.length === 0 ? "" : `. Kept beside its fields, as it has no place here: ${keptAside.join(", ")}`;
  return `It was referred here by ${referredBy} of ${referrer} (${installation}) over ${link}, as referral ${referralId}${aside}`;
}

function tellStatus({ referrer, status, reason }: Detail): string {
  const why = reason === null || reason === "" ? "" : `: ${reason}`;
  return `${referrer ?? "Its sender"} is told that it is ${status ?? "changed"}${why}`;
}
