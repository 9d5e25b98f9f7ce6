import type { ColumnType, Generated } from "kysely";

/** The rows of the ledger, column by column. Instants are Date, money is integer minor units. */

export type AccountKind =
  | "funds"
  | "reserved"
  | "revenue"
  | "cash"
  | "adjustment"
  | "sms_usage"
  | "sms_payable"
  | "lead_cost"
  | "payable";

interface AccountRow {
  id: string;
  organisationId: string;
  kind: AccountKind;
  partnerId: string | null;
  currency: string;
  balanceMinor: Generated<number>;
  lowSince: ColumnType<Date | null, Date | null | undefined>;
  outSince: ColumnType<Date | null, never>;
  outMinor: ColumnType<number | null, never>;
}

interface TransactionRow {
  id: string;
  organisationId: string;
  key: string;
  kind: string;
  currency: string;
  occurredAt: Date;
  partnerId: string | null;
  leadId: string | null;
  deliveryId: string | null;
  reason: string | null;
  createdBy: string;
}

interface EntryRow {
  transactionId: string;
  accountId: string;
  organisationId: string;
  amountMinor: number;
  currency: string;
}

export interface LedgerTables {
  accounts: AccountRow;
  transactions: TransactionRow;
  entries: EntryRow;
}
