import { z } from "zod";
import type { Context } from "../context.ts";
import { type Api, problems } from "../http/api.ts";
import { partnerCallerOf } from "../http/authenticate.ts";
import { isPaused } from "../partners/own-pause.ts";
import { ownPauseAnswer } from "../partners/present-partner.ts";
import { accessSchema, type PortalPermission, portalPermissions } from "../people/permissions.ts";
import { readForPartner } from "./portal-call.ts";

const permissionNames = Object.keys(portalPermissions) as [PortalPermission, ...PortalPermission[]];

const accountAnswer = z
  .object({
    organisation: z.string(),
    partner: z.object({ id: z.uuid(), name: z.string(), timeZone: z.string(), currency: z.string() }),
    user: z.object({ id: z.uuid(), name: z.string(), email: z.string() }),
    access: accessSchema,
    permissions: z.array(z.enum(permissionNames)).meta({ description: "what the access adds up to" }),
    pause: ownPauseAnswer.nullable().meta({ description: "you take no leads now, by your own wish" }),
    returnReasons: z.array(z.object({ code: z.string(), text: z.string() })),
  })
  .meta({ id: "PortalAccount" });

/** Who is signed in, for which partner, and what they may. */
export function accountRoutes(api: Api, context: Context): void {
  api.get(
    "/portal/account",
    {
      config: { permission: "portal.account" },
      schema: {
        tags: ["Partner portal"],
        summary: "Your partner's name and your own access",
        response: { 200: accountAnswer, ...problems },
      },
    },
    async (request) => {
      const { userId, permissions } = partnerCallerOf(request);
      return readForPartner(context, request, async (transaction, partnerId) => {
        const [organisation, { ownPause, ...partner }, { access, ...user }] = await Promise.all([
          transaction.selectFrom("organisations").select(["name", "returnReasons"]).executeTakeFirstOrThrow(),
          transaction
            .selectFrom("partners")
            .select(["id", "name", "timeZone", "currency", "ownPause"])
            .where("id", "=", partnerId)
            .executeTakeFirstOrThrow(),
          transaction
            .selectFrom("users")
            .select(["id", "name", "email", "access"])
            .where("id", "=", userId)
            .executeTakeFirstOrThrow(),
        ]);
        return {
          organisation: organisation.name,
          ...{ partner, user, returnReasons: organisation.returnReasons },
          access: accessSchema.parse(access),
          permissions: permissionNames.filter((name) => permissions.has(name)),
          pause: isPaused(ownPause, context.clock()) ? ownPause : null,
        };
      });
    },
  );
}
