import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { newId } from "../db/id.ts";
import { instantSchema } from "../http/api.ts";
import type { Change } from "../organisations/record-change.ts";

export const noteSchema = z.strictObject({
  text: z.string().trim().min(1, "must not be empty").max(10_000, "must be at most 10000 characters"),
  shareable: z
    .boolean()
    .default(false)
    .meta({ description: "goes along when the lead is referred to another organisation" }),
});

export const noteAnswer = z
  .object({
    id: z.uuid(),
    writtenAt: instantSchema,
    writtenBy: z.string(),
    text: z.string(),
    shareable: z.boolean(),
  })
  .meta({ id: "Note" });
export type NoteAnswer = z.infer<typeof noteAnswer>;

interface NoteRow extends Omit<NoteAnswer, "writtenAt"> {
  readonly writtenAt: Date;
}

export const noteColumns = ["id", "writtenAt", "writtenBy", "text", "shareable"] as const;

export function presentNote({ writtenAt, ...note }: NoteRow): NoteAnswer {
  return { ...note, writtenAt: writtenAt.toISOString() };
}

export type WriteNoteResult =
  | { readonly kind: "written"; readonly note: NoteAnswer }
  | { readonly kind: "lead_not_found" }
  | { readonly kind: "lead_erased" };

/** Writes a note on a lead. Refused on one that was erased: what is personal would come back. */
export async function writeNote(
  context: Context,
  { organisationId, by, at }: Change,
  leadId: string,
  note: z.infer<typeof noteSchema>,
): Promise<WriteNoteResult> {
  return inOrganisation(context.database, organisationId, async (transaction): Promise<WriteNoteResult> => {
    const lead = await transaction
      .selectFrom("leads")
      .select("state")
      .where("id", "=", leadId)
      .forShare()
      .executeTakeFirst();
    if (lead === undefined) return { kind: "lead_not_found" };
    if (lead.state === "erased") return { kind: "lead_erased" };
    const row = { id: newId(), writtenAt: at, writtenBy: by, ...note };
    await transaction
      .insertInto("leadNotes")
      .values({ ...row, organisationId, leadId })
      .execute();
    return { kind: "written", note: presentNote(row) };
  });
}
