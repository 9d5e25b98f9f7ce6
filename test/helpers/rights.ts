import { z } from "zod";
import type { Api } from "../../src/http/api.ts";
import { readPage, readTable } from "./documentation.ts";

/** Who may do what, as docs/people.md says it, and what each route takes, as the OpenAPI document says it. */

export const levelsInColumns = ["leads_and_reports", "leads", "all_but_leads"] as const;
export const rolesInColumns = ["owner", "admin", "agent", "viewer"] as const;

export interface Right {
  readonly permission: string;
  readonly words: string;
  /** By role or level: yes, nothing for no, or the switch that has to be on. */
  readonly cells: ReadonlyMap<string, string>;
}

export function readRights(): readonly Right[] {
  return readTable(readPage("docs/people.md"), "Who may do what").map(([permission = "", words = "", ...cells]) => ({
    permission,
    words,
    cells: new Map([...rolesInColumns, ...levelsInColumns].map((column, index) => [column, cells[index] ?? ""])),
  }));
}

/** Whether the table has a permission be somebody's of this role or level, with these switches. */
export function isRight(
  { cells }: Right,
  column: string,
  switches: Readonly<Record<string, boolean | string>> = {},
): boolean {
  const cell = cells.get(column) ?? "";
  if (cell === "" || cell === "yes") return cell === "yes";
  const value = switches[cell];
  return value === true || (typeof value === "string" && value !== "no");
}

export interface GuardedOperation {
  readonly method: string;
  readonly path: string;
  readonly permission: string;
  readonly hasBody: boolean;
}

const documentSchema = z.looseObject({
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.looseObject({
        "x-permission": z.string().optional(),
        security: z.array(z.unknown()).optional(),
        requestBody: z.unknown().optional(),
      }),
    ),
  ),
});

/** Every documented operation that takes a permission. Fails where one takes neither a permission nor says that it is open to all. */
export function listGuarded(api: Api): readonly GuardedOperation[] {
  const { paths } = documentSchema.parse(api.swagger());
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, operation]) => {
      const permission = operation["x-permission"];
      const isOpen = operation.security?.length === 0;
      if ((permission === undefined) !== isOpen)
        throw new Error(`${method} ${path} is neither guarded nor open to all.`);
      if (permission === undefined) return [];
      return [{ method: method.toUpperCase(), path, permission, hasBody: operation.requestBody !== undefined }];
    }),
  );
}
