import type { PartnerStatus } from "../delivery/partner-status.ts";
import type { OwnSettingsPatch, SettingsChangeState } from "../portal/own-settings.ts";
import type { Json } from "./tables.ts";

/** The rows of src/db/migrations/0015-portal.sql, column by column. */

interface DeliveryStatusRow {
  id: string;
  organisationId: string;
  deliveryId: string;
  partnerId: string;
  status: PartnerStatus;
  note: string | null;
  setAt: Date;
  setBy: string;
}

interface SettingsChangeRow {
  id: string;
  organisationId: string;
  partnerId: string;
  patch: Json<OwnSettingsPatch>;
  before: Json<OwnSettingsPatch>;
  state: SettingsChangeState;
  askedAt: Date;
  askedBy: string;
  askedByUserId: string;
  decidedAt: Date | null;
  decidedBy: string | null;
  note: string | null;
}

export interface PortalTables {
  deliveryStatuses: DeliveryStatusRow;
  settingsChanges: SettingsChangeRow;
}
