import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../project-root.ts";

/** Reads a template that is used where the settings name none, such as `email/lead.text.liquid`. */
export function readDefaultTemplate(name: string): string {
  return readFileSync(join(projectRoot, "templates", name), "utf8").trim();
}
