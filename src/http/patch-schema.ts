import { z } from "zod";

type Bare<T> = T extends z.ZodDefault<infer Inner> | z.ZodPrefault<infer Inner> ? Inner : T;

type PatchShape<Shape extends z.ZodRawShape> = {
  [Key in keyof Shape]: z.ZodOptional<Extract<Bare<Shape[Key]>, z.ZodType>>;
};

/**
 * The schema of a PATCH on a document: any of its keys at the top level, each checked as in the document, none filled in. A
 * key that is given replaces what was there; null clears where the document allows it.
 */
export function patchSchemaOf<Shape extends z.ZodRawShape>(
  document: z.ZodObject<Shape>,
): z.ZodObject<PatchShape<Shape>, z.core.$strict> {
  const entries = Object.entries(document.shape).map(([key, schema]) => {
    const bare = schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault ? schema.unwrap() : schema;
    return [key, z.optional(bare as z.ZodType)];
  });
  return z.strictObject(Object.fromEntries(entries) as PatchShape<Shape>);
}

/** The document with the given keys of the patch in place of its own. */
export function applyPatch<Document extends object>(
  document: Document,
  patch: { readonly [Key in keyof Document]?: Document[Key] | undefined },
): Document {
  const given = Object.entries(patch).filter(([, value]) => value !== undefined);
  return { ...document, ...Object.fromEntries(given) };
}
