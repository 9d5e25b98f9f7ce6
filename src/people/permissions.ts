import { z } from "zod";

/**
 * What people and keys may do. Every guarded route names one of these; docs/people.md shows who has which, and a test
 * compares the two.
 */
export const staffPermissions = {
  "organisation.read": "see the organisation's settings",
  "organisation.change": "change the organisation's settings and its PayPal account",
  "changes.read": "see who changed which setting",
  "people.read": "see the organisation's users",
  "people.manage": "invite, change and end users",
  "keys.manage": "see, make and revoke API keys",
  "partners.read": "see partners and their users",
  "partners.change": "change partners and their users, try their delivery",
  "campaigns.read": "see campaigns",
  "campaigns.change": "change campaigns, see and make intake keys",
  "leads.read": "search and see leads, deliveries, returns and alerts",
  "leads.work": "write notes, move stages, set owners and statuses, transfer callers",
  "leads.decide": "refer, redeliver, withdraw, resolve and return leads",
  "leads.erase": "erase leads",
  "money.read": "see funds, ledgers, invoices and payments",
  "money.change": "book payments, payouts, invoices and reversals",
  "reports.read": "see reports",
  "workflows.read": "see workflows",
  "workflows.change": "change workflows",
  "referrals.read": "see inbounds, outbounds, connections and referrals",
  "referrals.manage": "make and change inbounds, outbounds and connections",
  "referrals.send": "refer a deal to another organisation",
} as const satisfies Record<string, string>;

export const portalPermissions = {
  "portal.account": "see one's own partner's name and one's own access",
  "portal.leads.read": "search and see the partner's own leads",
  "portal.leads.accept": "accept or decline offered leads",
  "portal.leads.status": "say what became of a lead",
  "portal.leads.return": "return leads",
  "portal.reports.read": "see reports on the partner's leads",
  "portal.pause": "pause the partner and resume it",
  "portal.funds": "see funds, statements and invoices, and pay",
  "portal.settings.read": "see limits and opening hours",
  "portal.settings.change": "change limits and opening hours, or ask for it",
} as const satisfies Record<string, string>;

export type StaffPermission = keyof typeof staffPermissions;
export type PortalPermission = keyof typeof portalPermissions;
export type Permission = StaffPermission | PortalPermission;

export const allStaffPermissions = Object.keys(staffPermissions) as [StaffPermission, ...StaffPermission[]];

export const roles = ["owner", "admin", "agent", "viewer"] as const;
export type Role = (typeof roles)[number];

const agentPermissions: readonly StaffPermission[] = [
  "organisation.read",
  "partners.read",
  "campaigns.read",
  "leads.read",
  "leads.work",
  "leads.decide",
  "workflows.read",
  "referrals.read",
  "referrals.send",
];

const viewerPermissions: readonly StaffPermission[] = [
  "organisation.read",
  "changes.read",
  "partners.read",
  "campaigns.read",
  "leads.read",
  "money.read",
  "reports.read",
  "workflows.read",
  "referrals.read",
];

/** An admin may all that an owner may, but for making, changing and ending owners. */
export const rolePermissions: Readonly<Record<Role, ReadonlySet<StaffPermission>>> = {
  owner: new Set(allStaffPermissions),
  admin: new Set(allStaffPermissions),
  agent: new Set(agentPermissions),
  viewer: new Set(viewerPermissions),
};

export const accessLevels = ["leads_and_reports", "leads", "all_but_leads"] as const;

/** What one of a partner's people may see and do. */
export const accessSchema = z
  .strictObject({
    level: z.enum(accessLevels, `must be one of ${accessLevels.join(", ")}`),
    mayAccept: z.boolean().default(false).meta({ description: "accept and decline offered leads" }),
    mayUpdateStatus: z.boolean().default(false).meta({ description: "say what became of a lead" }),
    mayReturn: z.boolean().default(false),
    mayPause: z.boolean().default(false),
    maySeeFunds: z.boolean().default(false).meta({ description: "see funds, statements and invoices, and pay" }),
    mayChangeSettings: z
      .enum(["no", "at_once", "after_approval"], "must be no, at_once or after_approval")
      .default("no")
      .meta({ description: "limits and opening hours" }),
  })
  .superRefine((access, context) => {
    if (access.level !== "all_but_leads") return;
    for (const name of ["mayAccept", "mayUpdateStatus", "mayReturn"] as const) {
      if (access[name])
        context.addIssue({ code: "custom", path: [name], message: "means nothing to who sees no leads: leave it out" });
    }
  })
  .meta({ id: "PartnerAccess" });
export type PartnerAccess = z.infer<typeof accessSchema>;

/** What a partner user's level and switches add up to. */
export function portalPermissionsOf(access: PartnerAccess): ReadonlySet<PortalPermission> {
  const { level } = access;
  const seesLeads = level !== "all_but_leads";
  const may: Readonly<Record<PortalPermission, boolean>> = {
    "portal.account": true,
    "portal.leads.read": seesLeads,
    "portal.leads.accept": seesLeads && access.mayAccept,
    "portal.leads.status": seesLeads && access.mayUpdateStatus,
    "portal.leads.return": seesLeads && access.mayReturn,
    "portal.reports.read": level !== "leads",
    "portal.pause": access.mayPause,
    "portal.funds": access.maySeeFunds,
    "portal.settings.read": !seesLeads || access.mayChangeSettings !== "no",
    "portal.settings.change": access.mayChangeSettings !== "no",
  };
  return new Set((Object.keys(may) as PortalPermission[]).filter((permission) => may[permission]));
}
