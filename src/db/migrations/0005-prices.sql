-- Prices by rules and answers, billing points, and what introducers are owed.

-- What beyond one amount a partner's lead value is: { rules, answer }. null: one amount.
alter table partners add column lead_prices jsonb;
-- When the partner pays; null: all of it when it accepts.
alter table partners add column billing jsonb;
-- What the partner is paid for leads that it introduces; null: nothing.
alter table partners add column lead_cost jsonb;
-- Goes before the introducer's own.
alter table intake_keys add column lead_cost jsonb;

-- What the campaign's leads cost, for each currency: [{ currency, price }]. Goes before the partner's lead value.
alter table campaigns add column lead_values jsonb not null default '[]';
-- A line of the routing may have its own billing points.
update campaigns c set routing = (
  select coalesce(jsonb_agg(g.value || jsonb_build_object('partners', (
    select coalesce(jsonb_agg('{"billing": null}' || p.value order by p.ordinality), '[]')
    from jsonb_array_elements(g.value -> 'partners') with ordinality p
  )) order by g.ordinality), '[]')
  from jsonb_array_elements(c.routing) with ordinality g
);

-- What the introducer was promised for the lead when it came in, and what is owed for it whatever its sales bring.
alter table leads add column lead_cost jsonb;
alter table leads add column cost_minor bigint not null default 0 check (cost_minor >= 0);

-- price_minor is what the sale costs in total: what is paid of it (billed_minor) and what is still reserved.
alter table deliveries
  -- What was agreed beyond a price that is paid on acceptance; null: nothing.
  add column terms jsonb,
  add column billed_minor bigint not null default 0,
  add column billing_point text check (billing_point in ('accepted', 'qualified', 'converted')),
  -- When the rest is given back if the last billing point is not reached; null: never, or nothing is left.
  add column billing_closes_at timestamptz,
  -- The rest was given back: the sale will not reach a later point.
  add column billing_closed_at timestamptz,
  -- The price as the partner's answer named it, and why it is not the one that is charged.
  add column answered_price text,
  add column price_note text,
  -- What the introducer is owed of what was paid.
  add column cost_minor bigint not null default 0 check (cost_minor >= 0);
update deliveries set billed_minor = price_minor, billing_point = 'accepted'
  where state = 'delivered' or redelivery_of = 'delivered';
alter table deliveries add constraint deliveries_billed_minor_check check (billed_minor between 0 and price_minor);
create index deliveries_billing_closes on deliveries (organisation_id, billing_closes_at) where billing_closes_at is not null;
create index deliveries_price_note on deliveries (organisation_id, id) where price_note is not null;

-- What an introducer costs (lead_cost) and is owed (payable).
alter table accounts drop constraint accounts_kind_check;
alter table accounts add constraint accounts_kind_check check (kind in
  ('funds', 'reserved', 'revenue', 'cash', 'adjustment', 'sms_usage', 'sms_payable', 'lead_cost', 'payable'));
-- No more is paid or given back than was reserved.
alter table accounts add constraint accounts_reserved_check check (kind <> 'reserved' or balance_minor >= 0);
insert into accounts (id, organisation_id, partner_id, kind, currency)
  select gen_random_uuid(), p.organisation_id, p.id, k.kind, p.currency
  from partners p cross join (values ('lead_cost'), ('payable')) k (kind);

-- Organisations with sales whose billing is to be closed.
create function due_closings(now timestamptz) returns table (organisation_id uuid, due_since timestamptz)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select o.id, d.billing_closes_at
        from organisations o
        cross join lateral (select billing_closes_at from deliveries where deliveries.organisation_id = o.id
                              and billing_closes_at <= now order by billing_closes_at limit 1) d $$;
revoke execute on function due_closings(timestamptz) from public;
grant execute on function due_closings(timestamptz) to handoff_app;
