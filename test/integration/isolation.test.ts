import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { sql } from "kysely";
import { createPool, type Database, inOrganisation, openDatabase } from "../../src/db/database.ts";
import { newId } from "../../src/db/id.ts";
import { insertInvoice, readSeller } from "../../src/invoices/issue-invoice.ts";
import { addOrganisation } from "../helpers/installation.ts";
import { isOfTwo, ownersOf } from "../helpers/owners.ts";
import { openSeller, type Seller, useSellers } from "../helpers/seller.ts";

/** Row-level security: the database itself keeps organisations apart, whatever the code above it forgets. */

const sellers = useSellers();

const rowsIn = async (database: Database, table: string): Promise<number> => {
  const { rows } = await sql<{ count: number }>`select count(*) as count from ${sql.id(table)}`.execute(database);
  return rows[0]?.count ?? 0;
};

describe("strangers stay out: row-level security", () => {
  let ownDatabase: Database;
  let application: Database;
  let tables: readonly string[];
  let organisationId: string;
  let otherOrganisationId: string;
  let databaseUrl: string;
  let close: () => Promise<void>;

  beforeAll(async () => {
    const seller = await openSeller(sellers.partners);
    organisationId = seller.organisationId;
    databaseUrl = seller.databaseUrl;
    ownDatabase = openDatabase(createPool(databaseUrl, "owner", 2));
    application = openDatabase(createPool(databaseUrl, "application", 2));
    const testDatabase = { databaseUrl, drop: async () => undefined };
    otherOrganisationId = await addOrganisation(testDatabase, "Another");
    await fillEveryTable(seller);
    await connectWith(seller, await addOrganisation(testDatabase, "Neighbour"));
    const { rows } = await sql<{ tablename: string }>`
      select tablename from pg_tables where schemaname = 'public' and tablename not like 'migration%' and tablename not in ('installation', 'sign_in_tries')
    `.execute(ownDatabase);
    tables = rows.map((row) => row.tablename).sort();
    close = async () => {
      await Promise.all([ownDatabase.destroy(), application.destroy()]);
      await seller.close();
    };
  });
  afterAll(async () => close());

  async function fillEveryTable(seller: Seller): Promise<void> {
    await seller.setStaffEmail("staff@example.com");
    const buyer = await seller.partner();
    sellers.partners.answer(buyer.name, { status: 404 });
    const campaignId = await seller.campaign([buyer], { duplicates: { match: ["email"], mode: "any", days: 30 } });
    await seller.receive(
      campaignId,
      { first_name: "Ann", email: "ann@example.com", contacts: [{ first_name: "Ben" }] },
      "k",
    );
    await seller.settle();
    const at = new Date();
    const shared = { organisationId: seller.organisationId, createdAt: at };
    await seller.inOrganisation(async (transaction) => {
      const key = { expiresAt: null, revokedAt: null, name: "key", keyHash: Buffer.from("h") };
      await transaction
        .insertInto("apiKeys")
        .values({ ...shared, ...key, id: newId(), keyLookup: Buffer.from("l") })
        .execute();
      const intake = {
        campaignId,
        introducerId: null,
        name: "key",
        keyHash: Buffer.from("h"),
        keyEncrypted: "x",
        revokedAt: null,
      };
      await transaction
        .insertInto("intakeKeys")
        .values({ ...shared, ...intake, id: newId() })
        .execute();
      const lead = await transaction.selectFrom("leads").select("id").executeTakeFirstOrThrow();
      const invoiceId = newId();
      await insertInvoice(
        transaction,
        { organisationId: seller.organisationId, by: "test", at },
        {
          ...{ id: invoiceId, partnerId: buyer.id, number: 1, voidsInvoiceId: null, reason: null, currency: "GBP" },
          ...{ netMinor: 100, taxMinor: 0, period: { from: "2026-03-01", to: "2026-03-31", startsAt: at, endsAt: at } },
          seller: await readSeller(transaction),
          buyer: { name: "Buyer", address: null, taxId: null },
          lines: [{ kind: "sales", campaignId, campaign: "Home", count: 1, amountMinor: 100 }],
        },
      );
      const invoiced = { organisationId: seller.organisationId, invoiceId };
      const booked = await transaction.selectFrom("transactions").select("id").limit(1).executeTakeFirstOrThrow();
      await transaction
        .insertInto("invoiceCharges")
        .values({ ...invoiced, transactionId: booked.id })
        .execute();
      const payment = {
        amountMinor: 1,
        paidOn: "2026-04-01",
        note: null,
        requestKey: null,
        createdBy: "test",
        createdAt: at,
      };
      await transaction
        .insertInto("invoicePayments")
        .values({ ...invoiced, ...payment, id: newId() })
        .execute();
      const delivery = await transaction.selectFrom("deliveries").select("id").executeTakeFirstOrThrow();
      const returned = { deliveryId: delivery.id, leadId: lead.id, partnerId: buyer.id, soldAt: at, comment: "no" };
      const asked = { state: "open", place: "keep", cost: "keep", askedAt: at, askedBy: "test" } as const;
      await transaction
        .insertInto("returns")
        .values({ id: newId(), organisationId: seller.organisationId, ...returned, ...asked, overridden: "[]" })
        .execute();
      const event = { leadId: lead.id, happenedAt: at, kind: "referred", actor: "test", detail: "{}" };
      await transaction
        .insertInto("leadEvents")
        .values({ organisationId: seller.organisationId, ...event, id: newId() })
        .execute();
    });
    await seller.inOrganisation(async (transaction) => fillPayments(transaction, buyer.id, shared));
    await seller.inOrganisation(async (transaction) => fillWorkflows(transaction, campaignId, shared));
    await seller.inOrganisation(async (transaction) => fillPeople(transaction, shared));
    await seller.inOrganisation(async (transaction) => fillPortal(transaction, buyer.id, shared));
  }

  async function fillPortal(
    transaction: Database,
    partnerId: string,
    { organisationId, createdAt: at }: { readonly organisationId: string; readonly createdAt: Date },
  ): Promise<void> {
    const delivery = await transaction.selectFrom("deliveries").select("id").executeTakeFirstOrThrow();
    const user = await transaction.selectFrom("users").select("id").executeTakeFirstOrThrow();
    const shared = { organisationId, partnerId };
    await transaction
      .insertInto("deliveryStatuses")
      .values({ ...shared, id: newId(), deliveryId: delivery.id, status: "won", setAt: at, setBy: "test" })
      .execute();
    const asked = { patch: "{}", before: "{}", state: "pending", askedAt: at, askedBy: "test" } as const;
    await transaction
      .insertInto("settingsChanges")
      .values({ ...shared, ...asked, id: newId(), askedByUserId: user.id })
      .execute();
  }

  async function fillWorkflows(
    transaction: Database,
    campaignId: string,
    shared: { readonly organisationId: string; readonly createdAt: Date },
  ): Promise<void> {
    const { organisationId: own, createdAt: at } = shared;
    const both = { ...shared, updatedAt: at };
    const [ownerId, workflowId, stageId, inboundId, arrivalId] = [newId(), newId(), newId(), newId(), newId()];
    const lead = await transaction.selectFrom("leads").select("id").executeTakeFirstOrThrow();
    const user = { ...both, id: ownerId, email: "w@example.com", name: "W", role: "agent" as const, access: null };
    const nothing = { partnerId: null, phone: null, passwordHash: null, totpSecret: null, totpConfirmedAt: null };
    await transaction
      .insertInto("users")
      .values({ ...user, ...nothing, totpLastStep: null, disabledAt: null })
      .execute();
    const workflow = { ...both, id: workflowId, name: "Sales", campaignId, ownerId, alertSms: false };
    await transaction.insertInto("workflows").values(workflow).execute();
    const stage = { id: stageId, organisationId: own, workflowId, name: "New", position: 0 };
    await transaction.insertInto("stages").values(stage).execute();
    const note = { id: newId(), organisationId: own, leadId: lead.id, writtenAt: at, writtenBy: "test" };
    await transaction
      .insertInto("leadNotes")
      .values({ ...note, text: "x", shareable: false })
      .execute();
    const inbound = { ...both, id: inboundId, name: "In", workflowId, stageId, enabled: true, reportsStatus: true };
    const keys = { keyHash: Buffer.from("h"), keyEncrypted: "x", form: null, formToken: "t" };
    await transaction
      .insertInto("inbounds")
      .values({ ...inbound, ...keys })
      .execute();
    const from = { referrer: "A", installation: "https://a.test" };
    const times = { firstAt: at, lastAt: at, referralCount: 1 };
    await transaction
      .insertInto("inboundReferrers")
      .values({ inboundId, organisationId: own, ...from, ...times })
      .execute();
    const referral = { referralId: newId(), contentHash: null, senderLeadId: "1", referredAt: at, referredBy: "B" };
    const kept = { keptAside: "[]", statusUrl: null, statusKeyEncrypted: null, arrivedAt: at, connectionId: null };
    await transaction
      .insertInto("arrivals")
      .values({ id: arrivalId, organisationId: own, leadId: lead.id, inboundId, ...from, ...referral, ...kept })
      .execute();
    await fillReferrals(transaction, { leadId: lead.id, workflowId, stageId }, shared);
    const callback = { sequence: 1, status: "won" as const, reason: null, reportedAt: at, state: "due" as const };
    await transaction
      .insertInto("statusCallbacks")
      .values({ id: newId(), organisationId: own, arrivalId, ...callback, dueAt: at })
      .execute();
  }

  async function fillPeople(
    transaction: Database,
    shared: { readonly organisationId: string; readonly createdAt: Date },
  ): Promise<void> {
    const { organisationId, createdAt: at } = shared;
    const userId = newId();
    const user = { email: "vera@example.com", name: "Vera", role: "viewer" as const, updatedAt: at };
    await transaction
      .insertInto("users")
      .values({ ...shared, ...user, id: userId })
      .execute();
    await transaction
      .insertInto("recoveryCodes")
      .values({ userId, organisationId, codeHash: Buffer.from("h") })
      .execute();
    const token = { userId, tokenLookup: Buffer.from("l"), tokenHash: Buffer.from("h") };
    await transaction
      .insertInto("sessions")
      .values({ ...shared, ...token, id: newId(), lastSeenAt: at, endsAt: at })
      .execute();
    await transaction
      .insertInto("userTokens")
      .values({ ...shared, ...token, id: newId(), purpose: "invitation", expiresAt: at })
      .execute();
  }

  async function fillReferrals(
    transaction: Database,
    { leadId, ...stage }: { readonly leadId: string; readonly workflowId: string; readonly stageId: string },
    { organisationId: own, createdAt: at }: { readonly organisationId: string; readonly createdAt: Date },
  ): Promise<void> {
    const [outboundId, referralId] = [newId(), newId()];
    const outbound = {
      id: outboundId,
      name: "Out",
      url: "https://a.test/",
      keyEncrypted: "x",
      enabled: true,
      ...stage,
    };
    await transaction
      .insertInto("outbounds")
      .values({ ...outbound, organisationId: own, createdAt: at, updatedAt: at })
      .execute();
    const referral = { id: referralId, outboundId, linkName: "Out", state: "due" as const, dueAt: at, retrySince: at };
    await transaction
      .insertInto("referrals")
      .values({ ...referral, organisationId: own, leadId, statusKeyEncrypted: "x", confirmedBy: "test", createdAt: at })
      .execute();
    const attempt = { number: 1, startedAt: at, durationMs: 1, outcome: "trouble" as const, mayHaveArrived: false };
    await transaction
      .insertInto("referralAttempts")
      .values({ ...attempt, referralId, organisationId: own })
      .execute();
  }

  async function connectWith(seller: Seller, toOrganisationId: string): Promise<void> {
    const shared = {
      id: newId(),
      fromOrganisationId: seller.organisationId,
      toOrganisationId,
      permissions: ["contact"],
    };
    const asked = { createdAt: new Date(), createdBy: "test", requestedAt: new Date(), requestedBy: "test" };
    await seller.inOrganisation(async (transaction) =>
      transaction
        .insertInto("connections")
        .values({ ...shared, ...asked })
        .execute(),
    );
  }

  async function fillPayments(
    transaction: Database,
    partnerId: string,
    shared: { readonly organisationId: string; readonly createdAt: Date },
  ): Promise<void> {
    const ids = { account: newId(), topUp: newId() };
    const account = { environment: "sandbox" as const, clientId: "c", clientSecretEncrypted: "x", webhookId: null };
    const settings = { amounts: "{}", active: true, isCurrent: true, updatedAt: shared.createdAt };
    await transaction
      .insertInto("paypalAccounts")
      .values({ ...shared, ...account, ...settings, id: ids.account })
      .execute();
    const money = { amountMinor: 100, requestedBy: "test" };
    const topUp = { partnerId, paypalAccountId: ids.account, currency: "GBP", state: "open" as const };
    await transaction
      .insertInto("topUps")
      .values({ ...shared, ...money, ...topUp, id: ids.topUp })
      .execute();
    const refund = { topUpId: ids.topUp, origin: "paypal" as const, state: "pending" as const };
    await transaction
      .insertInto("topUpRefunds")
      .values({ ...shared, ...money, ...refund, id: newId() })
      .execute();
    const problem = { key: "k", kind: "reversed" as const, what: "x", lastAt: shared.createdAt };
    await transaction
      .insertInto("paymentProblems")
      .values({ ...shared, ...problem, id: newId() })
      .execute();
  }

  test("every table has row-level security and its policy", async () => {
    const { rows } = await sql<{ name: string; enabled: boolean; policies: number }>`
      select c.relname as name, c.relrowsecurity as enabled,
        (select count(*) from pg_policy p where p.polrelid = c.oid and p.polpermissive) as policies
      from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname not like 'migration%'
    `.execute(ownDatabase);
    const expected = (name: string) => (isOfTwo(name) ? 3 : 1);
    expect(rows.filter(({ name, enabled, policies }) => !enabled || policies !== expected(name))).toEqual([]);
    expect(rows.length).toBeGreaterThan(20);
  });

  test("without an organisation the application sees nothing at all", async () => {
    for (const table of tables) {
      expect([table, await rowsIn(ownDatabase, table)]).not.toEqual([table, 0]);
      expect([table, await rowsIn(application, table)]).toEqual([table, 0]);
    }
  });

  test("an organisation sees its own rows and nothing of another", async () => {
    for (const table of tables.filter((name) => name !== "organisations")) {
      const own = await inOrganisation(application, organisationId, async (transaction) => rowsIn(transaction, table));
      const foreign = await inOrganisation(application, otherOrganisationId, async (transaction) =>
        sql`select from ${sql.id(table)} where ${otherOrganisationId}::uuid not in (${ownersOf(table)})`.execute(
          transaction,
        ),
      );
      expect([table, own > 0, foreign.rows.length]).toEqual([table, true, 0]);
    }
    const names = await inOrganisation(application, otherOrganisationId, async (transaction) =>
      transaction.selectFrom("organisations").select("name").execute(),
    );
    expect(names).toEqual([{ name: "Another" }]);
  });

  test("the organisation of one transaction does not outlive it", async () => {
    const single = openDatabase(createPool(databaseUrl, "application", 1));
    try {
      await inOrganisation(single, organisationId, async (transaction) => rowsIn(transaction, "leads"));
      expect(await rowsIn(single, "leads")).toBe(0);
      const failing = inOrganisation(single, organisationId, async () => Promise.reject(new Error("fails")));
      await expect(failing).rejects.toThrow("fails");
      expect(await rowsIn(single, "leads")).toBe(0);
    } finally {
      await single.destroy();
    }
  });

  test("no row can be written for another organisation, or moved to one", async () => {
    const row = { leadId: newId(), happenedAt: new Date(), kind: "note", actor: "test", detail: "{}" };
    const written = inOrganisation(application, otherOrganisationId, async (transaction) =>
      transaction
        .insertInto("leadEvents")
        .values({ id: newId(), organisationId, ...row })
        .execute(),
    );
    await expect(written).rejects.toThrow(/row-level security/);
    const moved = inOrganisation(application, organisationId, async (transaction) =>
      transaction
        .updateTable("partners")
        .set({ organisationId: otherOrganisationId } as never)
        .execute(),
    );
    await expect(moved).rejects.toThrow(/row-level security/);
  });

  test("the application cannot switch the policies off, nor go round them", async () => {
    const refused = async (statement: string, pattern: RegExp) =>
      expect(
        inOrganisation(application, organisationId, async (transaction) => sql.raw(statement).execute(transaction)),
      ).rejects.toThrow(pattern);
    await refused("alter table leads disable row level security", /must be owner/);
    await refused("drop policy own_organisation on leads", /must be owner/);
    await refused("create table mine (id int)", /permission denied/);
    await refused("truncate leads", /permission denied/);
    await refused("delete from leads", /permission denied/);
    await refused("select count(*) from bullmq.job", /permission denied|does not exist/);
    const { rows } = await sql`
      select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin from pg_roles where rolname = 'handoff_app'
    `.execute(ownDatabase);
    expect(rows).toEqual([
      { rolsuper: false, rolbypassrls: false, rolcreaterole: false, rolcreatedb: false, rolcanlogin: false },
    ]);
  });

  test("what sees all organisations gives ids, instants, versions and a yes or no only", async () => {
    const { rows } = await sql<{ name: string; gives: string }>`
      select proname as name, pg_get_function_result(oid) as gives from pg_proc
      where pronamespace = 'public'::regnamespace and prosecdef and prorettype <> 'trigger'::regtype
    `.execute(ownDatabase);
    expect(rows.length).toBeGreaterThan(3);
    for (const { name, gives } of rows) {
      expect([name, gives]).toEqual([
        name,
        expect.stringMatching(/^boolean$|^TABLE\((\w+ (uuid|timestamp with time zone|integer)(, )?)+\)$/),
      ]);
    }
  });

  test("changes, decisions and money that were recorded cannot be rewritten by the application", async () => {
    const recorded = [
      "changes",
      "decisions",
      "transactions",
      "entries",
      "invoices",
      "invoice_lines",
      "invoice_payments",
    ];
    for (const table of recorded) {
      for (const statement of [`update ${table} set organisation_id = organisation_id`, `delete from ${table}`]) {
        const attempt = inOrganisation(application, organisationId, async (transaction) =>
          sql.raw(statement).execute(transaction),
        );
        await expect(attempt).rejects.toThrow(/permission denied/);
      }
    }
  });
});
