import type { FieldError } from "../errors.ts";
import type { Api } from "./api.ts";
import { sendProblem } from "./send-problem.ts";

/** PostgreSQL stores neither NUL nor half of a surrogate pair: such text is refused by its field before anything else. */
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
  const open: { readonly value: unknown; readonly field: string }[] = [{ value: root, field: "" }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, field } = next;
    if (typeof value === "string" && !isStorable(value)) {
      return { field, code: "invalid", message: "must not hold the character NUL or half of a surrogate pair" };
    }
    if (typeof value !== "object" || value === null || Buffer.isBuffer(value)) continue;
    for (const [key, inner] of Object.entries(value)) {
      const place = field === "" ? key : `${field}.${key}`;
      if (!isStorable(key)) return { field, code: "invalid", message: "holds a key that no text can be stored under" };
      open.push({ value: inner, field: place });
    }
  }
  return null;
}

const halfPair = /\p{Surrogate}/u;

function isStorable(text: string): boolean {
  return !text.includes("\0") && !halfPair.test(text);
}
