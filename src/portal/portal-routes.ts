import type { Context } from "../context.ts";
import type { Api } from "../http/api.ts";
import { accountRoutes } from "./account-routes.ts";
import { ownLeadRoutes } from "./own-lead-routes.ts";
import { ownMoneyRoutes } from "./own-money-routes.ts";
import { ownOfferRoutes } from "./own-offer-routes.ts";
import { ownReportRoutes } from "./own-report-routes.ts";
import { ownSettingsRoutes } from "./own-settings-routes.ts";
import { ownTopUpRoutes } from "./own-top-up-routes.ts";
import { partnerUserRoutes } from "./partner-user-routes.ts";
import { settingsChangeRoutes } from "./settings-change-routes.ts";

/** What staff do about partners' people, and all that these see and do themselves. */
export function portalRoutes(api: Api, context: Context): void {
  partnerUserRoutes(api, context);
  settingsChangeRoutes(api, context);
  accountRoutes(api, context);
  ownLeadRoutes(api, context);
  ownOfferRoutes(api, context);
  ownReportRoutes(api, context);
  ownSettingsRoutes(api, context);
  ownMoneyRoutes(api, context);
  ownTopUpRoutes(api, context);
}
