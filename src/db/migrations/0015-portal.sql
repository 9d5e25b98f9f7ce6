-- What a partner's own people see and do.

alter table partners
  -- The partner takes no leads for now, by its own wish: { since, until, by, reason }; until null: until it resumes.
  add column own_pause jsonb;

alter table deliveries
  -- What became of the lead, as the partner says; null: it has not said.
  add column partner_status text check (partner_status in ('new', 'contacted', 'qualified', 'won', 'lost'));
-- Partners look a lead up by what they call it.
create index deliveries_by_reference on deliveries (partner_id, reference) where reference is not null;

-- Every word of a partner about what became of a lead.
create table delivery_statuses (
  id uuid primary key,
  organisation_id uuid not null,
  delivery_id uuid not null references deliveries,
  partner_id uuid not null references partners,
  status text not null check (status in ('new', 'contacted', 'qualified', 'won', 'lost')),
  note text,
  set_at timestamptz not null,
  set_by text not null
);
create index delivery_statuses_by_delivery on delivery_statuses (delivery_id, id);

-- Changes of its settings that a partner asks for. One waits at most; a newer one takes its place.
create table settings_changes (
  id uuid primary key,
  organisation_id uuid not null,
  partner_id uuid not null references partners,
  -- What was asked for, and how that stood then: { limits, schedule }, each where it is to change.
  patch jsonb not null,
  before jsonb not null,
  state text not null check (state in ('pending', 'approved', 'rejected', 'replaced')),
  asked_at timestamptz not null,
  asked_by text not null,
  asked_by_user_id uuid not null references users,
  decided_at timestamptz,
  decided_by text,
  -- By staff, for the partner.
  note text,
  check ((state = 'pending') = (decided_at is null))
);
create unique index settings_changes_pending on settings_changes (partner_id) where state = 'pending';
create index settings_changes_by_partner on settings_changes (partner_id, id);
create index settings_changes_by_organisation on settings_changes (organisation_id, id);
create index settings_changes_by_state on settings_changes (organisation_id, state, id);

do $$
declare name text;
begin
  foreach name in array array['delivery_statuses', 'settings_changes']
  loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy own_organisation on %I using (organisation_id = (select current_organisation()))', name);
    execute format('grant select, insert, update on %I to handoff_app', name);
  end loop;
end $$;

-- ---------------------------------------------------------------------------------------------- the role of the portal

-- What partners' people are shown is read under the role handoff_portal, which writes nothing and is bound to one partner beside
-- the organisation. It may read those columns alone that are a partner's business: no price, name or decision of another partner,
-- no introducer, source, cost or note of staff. Its policies bind nobody else, and cost nobody else anything.

create function current_partner() returns uuid
  language sql stable parallel safe
  as $$ select nullif(current_setting('handoff.partner_id', true), '')::uuid $$;
revoke execute on function current_partner() from public;
grant execute on function current_organisation(), current_partner() to handoff_portal;
grant usage on schema public to handoff_portal;

grant select (id, name, time_zone, currency, address, tax_id, tax_name, tax_rate, invoice_prefix, invoice_due_days, return_reasons)
  on organisations to handoff_portal;

create policy own_partner on partners as restrictive to handoff_portal using (id = (select current_partner()));
grant select (id, organisation_id, name, type, active, time_zone, currency, credit_limit_minor, contact, limits, schedule, return_policy,
  own_pause) on partners to handoff_portal;

do $$
declare name text;
begin
  foreach name in array array['users', 'limit_usage', 'deliveries', 'delivery_statuses', 'settings_changes', 'returns', 'transactions',
    'invoices', 'top_ups']
  loop
    execute format('create policy own_partner on %I as restrictive to handoff_portal using (partner_id = (select current_partner()))', name);
  end loop;
end $$;
grant select (id, organisation_id, partner_id, name, email, access) on users to handoff_portal;
grant select on limit_usage, delivery_statuses, settings_changes, invoices to handoff_portal;
grant select (id, organisation_id, lead_id, campaign_id, partner_id, state, price_minor, currency, billed_minor, reference,
  partner_status, sold_at, reversed_at) on deliveries to handoff_portal;
grant select (id, organisation_id, delivery_id, lead_id, partner_id, state, reason_code, reason_text, comment, sold_at, asked_at,
  decided_at, note) on returns to handoff_portal;
grant select (id, organisation_id, partner_id, kind, currency, occurred_at, lead_id, delivery_id, reason, created_by)
  on transactions to handoff_portal;
grant select (id, organisation_id, partner_id, amount_minor, currency, state, approval_url, created_at, credited_at)
  on top_ups to handoff_portal;

-- A lead is a partner's to see once it was sold to it.
create policy own_partner on leads as restrictive to handoff_portal using (
  exists (select from deliveries d where d.lead_id = leads.id and d.partner_id = (select current_partner()) and d.sold_at is not null));
grant select (id, organisation_id, campaign_id, fields, received_at) on leads to handoff_portal;
create policy own_partner on contacts as restrictive to handoff_portal using (
  exists (select from deliveries d where d.lead_id = contacts.lead_id and d.partner_id = (select current_partner()) and d.sold_at is not null));
grant select on contacts to handoff_portal;

-- There is a row of usage for every campaign that a partner ever took part in.
create policy own_partner on campaigns as restrictive to handoff_portal using (
  id in (select u.campaign_id from limit_usage u where u.partner_id = (select current_partner()) and u.campaign_id is not null));
grant select (id, organisation_id, name, fields) on campaigns to handoff_portal;

create policy own_partner on accounts as restrictive to handoff_portal using (
  partner_id = (select current_partner()) and kind in ('funds', 'reserved', 'payable'));
grant select (id, organisation_id, partner_id, kind, currency, balance_minor) on accounts to handoff_portal;
create policy own_partner on entries as restrictive to handoff_portal using (
  account_id in (select a.id from accounts a where a.partner_id = (select current_partner())));
grant select on entries to handoff_portal;

create policy own_partner on invoice_lines as restrictive to handoff_portal using (
  invoice_id in (select i.id from invoices i where i.partner_id = (select current_partner())));
create policy own_partner on invoice_payments as restrictive to handoff_portal using (
  invoice_id in (select i.id from invoices i where i.partner_id = (select current_partner())));
grant select on invoice_lines to handoff_portal;
grant select (id, organisation_id, invoice_id, amount_minor) on invoice_payments to handoff_portal;
create policy own_partner on top_up_refunds as restrictive to handoff_portal using (
  top_up_id in (select t.id from top_ups t where t.partner_id = (select current_partner())));
grant select (id, organisation_id, top_up_id, amount_minor, bookings) on top_up_refunds to handoff_portal;
