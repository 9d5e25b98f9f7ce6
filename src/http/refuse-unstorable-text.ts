import type { FieldError } from "../errors.ts";
import type { Api } from "./api.ts";
import { sendProblem } from "./send-problem.ts";

/** No document of ours comes near it, and what walks through documents by calling itself goes no deeper. */
const maxDepth = 100;

/**
 * PostgreSQL stores neither NUL nor half of a surrogate pair: such text is refused by its field before anything else, and
 * with it what is nested without an end.
 */
export function refuseUnstorableText(api: Api): void {
  api.addHook("preValidation", async (request, reply) => {
    const inBody = findUnstorable(request.body);
    if (inBody !== null) return sendProblem(reply, "invalid_body", { fields: [inBody] });
    const inQuery = findUnstorable(request.query);
    if (inQuery !== null) return sendProblem(reply, "invalid_query", { fields: [inQuery] });
    return undefined;
  });
}

function findUnstorable(root: unknown): FieldError | null {
  const open: { readonly value: unknown; readonly field: string; readonly depth: number }[] = [
    { value: root, field: "", depth: 0 },
  ];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, field, depth } = next;
    if (depth > maxDepth) {
      const message = `is nested deeper than ${maxDepth} levels`;
      return { field: field.split(".", 1)[0] ?? "", code: "invalid", message };
    }
    if (typeof value === "string" && !isStorable(value)) {
      return { field, code: "invalid", message: "must not hold the character NUL or half of a surrogate pair" };
    }
    if (typeof value !== "object" || value === null || Buffer.isBuffer(value)) continue;
    for (const [key, inner] of Object.entries(value)) {
      const place = field === "" ? key : `${field}.${key}`;
      if (!isStorable(key)) return { field, code: "invalid", message: "holds a key that no text can be stored under" };
      open.push({ value: inner, field: place, depth: depth + 1 });
    }
  }
  return null;
}

const halfPair = /\p{Surrogate}/u;

function isStorable(text: string): boolean {
  return !text.includes("\0") && !halfPair.test(text);
}
