-- Statements and invoices.

-- What stands on the organisation's invoices, and how they are made.
alter table organisations
  add column address text,
  add column tax_id text,
  add column tax_name text not null default 'VAT',
  -- In ten-thousandths of a percent: 200000 is 20 %.
  add column tax_rate integer not null default 0 check (tax_rate between 0 and 1000000),
  add column invoice_prefix text not null default 'INV-',
  add column invoice_due_days integer not null default 14 check (invoice_due_days between 0 and 365),
  -- The last number that was given. The row is locked until the invoice that takes the next one is stored, so that none is
  -- left out and no charge is taken twice.
  add column last_invoice_number integer not null default 0;

-- Where a partner's invoices go to.
update partners set contact = '{"address": null, "taxId": null}'::jsonb || contact;

-- What is booked for a partner in a period. Many partners' at once, for reports, is a look-up for each of them.
create index transactions_by_time on transactions (partner_id, occurred_at);

-- Once issued it stays as it is: one that is wrong is voided by a credit note, another row with the opposite amounts.
create table invoices (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  partner_id uuid not null references partners,
  number integer not null check (number > 0),
  -- The number as it is written: INV-00012.
  reference text not null,
  -- The invoice that this credit note voids.
  voids_invoice_id uuid references invoices,
  -- Dates in the partner's time zone, both included, and what they come to.
  period_from date not null,
  period_to date not null,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  currency text not null,
  net_minor bigint not null,
  tax_name text not null,
  tax_rate integer not null,
  tax_minor bigint not null,
  total_minor bigint not null,
  issued_at timestamptz not null,
  issued_on date not null,
  due_on date not null,
  -- As they were then: { name, address, taxId }.
  seller jsonb not null,
  buyer jsonb not null,
  reason text,
  created_by text not null,
  check (total_minor = net_minor + tax_minor),
  unique (organisation_id, number),
  unique (organisation_id, reference),
  unique (voids_invoice_id)
);
create index invoices_by_organisation on invoices (organisation_id, id);
create index invoices_by_partner on invoices (partner_id, id);

create table invoice_lines (
  invoice_id uuid not null references invoices,
  position integer not null,
  organisation_id uuid not null,
  kind text not null check (kind in ('sales', 'credits')),
  campaign_id uuid,
  campaign_name text not null,
  -- How many leads.
  count integer not null,
  amount_minor bigint not null,
  primary key (invoice_id, position)
);

-- Which charges and reversals an invoice holds: each is on one invoice at most, and on another only once that is voided.
create table invoice_charges (
  invoice_id uuid not null references invoices deferrable initially deferred,
  transaction_id uuid not null references transactions,
  organisation_id uuid not null,
  released boolean not null default false,
  primary key (invoice_id, transaction_id)
);
create unique index invoice_charges_once on invoice_charges (transaction_id) where not released;

-- What was paid on an invoice, as staff entered it. A mistake is corrected by an entry below zero.
create table invoice_payments (
  id uuid primary key,
  organisation_id uuid not null,
  invoice_id uuid not null references invoices,
  -- Digest of the Idempotency-Key that it was entered with.
  request_key text,
  amount_minor bigint not null check (amount_minor <> 0),
  paid_on date not null,
  note text,
  created_by text not null,
  created_at timestamptz not null,
  unique (invoice_id, request_key)
);

create trigger invoices_are_append_only before update or delete or truncate on invoices
  for each statement execute function refuse_change();
create trigger invoice_lines_are_append_only before update or delete or truncate on invoice_lines
  for each statement execute function refuse_change();
create trigger invoice_payments_are_append_only before update or delete or truncate on invoice_payments
  for each statement execute function refuse_change();

do $$
declare name text;
begin
  foreach name in array array['invoices', 'invoice_lines', 'invoice_charges', 'invoice_payments']
  loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy own_organisation on %I using (organisation_id = (select current_organisation()))', name);
    execute format('grant select, insert on %I to handoff_app', name);
  end loop;
end $$;
grant update (released) on invoice_charges to handoff_app;
