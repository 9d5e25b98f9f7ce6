import { randomBytes } from "node:crypto";
import type { Context } from "../src/context.ts";
import { inviteUser } from "../src/people/invite-user.ts";

export interface DemoOwner {
  readonly email: string;
  readonly password: string;
}

/** Makes an owner for the demo's organisation, with a password that is made at random, shown once and kept nowhere. */
export async function seedDemoOwner(context: Context, organisationId: string): Promise<DemoOwner> {
  const owner = { email: "owner@demo.test", password: randomBytes(12).toString("base64url") };
  const change = { organisationId, by: "demo", at: context.clock() };
  const made = await inviteUser(context, change, { ...owner, name: "Olive Owner", phone: null, role: "owner" });
  if (made.kind !== "made") throw new Error(`The owner of the demo could not be made: ${made.kind}.`);
  return owner;
}
