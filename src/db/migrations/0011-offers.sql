-- Partners that accept a lead first, and leads that an agent hands over by telephone.

-- { deadlineHours, countOpenHours }; null: the partner is sent its leads without being asked.
alter table partners add column accept_first jsonb;
update partners set alerts = '{"leadOfferedSms": false, "leadOfferedEmail": true}'::jsonb || alerts;

-- How long a lead is left to agents, who may hand it over by telephone, before it is routed.
alter table campaigns add column route_after_minutes integer not null default 0 check (route_after_minutes between 0 and 10080);

alter table deliveries
  -- How the partner was asked first: accept (it answers) or transfer (an agent rings it up); null: it was not.
  add column offer text check (offer in ('accept', 'transfer')),
  -- Until when it could answer; while it can, due_at is the same.
  add column offer_until timestamptz,
  -- When the answer came; null: there was none in time, or none yet.
  add column answered_at timestamptz,
  -- When the telephone service was asked to put an agent through.
  add column called_at timestamptz,
  add constraint deliveries_offered_check check
    (state <> 'offered' or (offer is not null and offer_until is not null and due_at is not distinct from offer_until));
create index deliveries_offered on deliveries (organisation_id, due_at) where state = 'offered';

-- Organisations with offers that nobody answered in time.
create function due_offers(now timestamptz) returns table (organisation_id uuid, due_since timestamptz)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select o.id, d.due_at
        from organisations o
        cross join lateral (select due_at from deliveries where deliveries.organisation_id = o.id and state = 'offered'
                              and due_at <= now order by due_at limit 1) d $$;

-- Whose delivery it is that a link or the telephone service names.
create function find_offer(delivery uuid) returns table (organisation_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select d.organisation_id from deliveries d where d.id = delivery and d.offer is not null $$;

-- Tells partners of leads that were just offered to them, as their settings say. Gives how many messages that makes.
create function tell_of_offers(offered uuid[], at timestamptz) returns bigint
  language sql volatile set search_path = public, pg_temp as $$
  with told as (
    insert into alerts (id, organisation_id, key, kind, channel, recipient, partner_id, lead_id, delivery_id, state, due_at, created_at)
    select new_id(), d.organisation_id, 'lead-offered-' || whom.channel || '-' || d.id, 'lead_offered', whom.channel, whom.recipient,
      d.partner_id, d.lead_id, d.id, 'due', at, at
    from deliveries d
    join partners p on p.id = d.partner_id
    cross join lateral (values
      ('sms', case when (p.alerts ->> 'leadOfferedSms')::boolean then p.contact ->> 'phone' end),
      ('email', case when (p.alerts ->> 'leadOfferedEmail')::boolean then p.contact ->> 'email' end)
    ) whom (channel, recipient)
    where d.id = any(offered) and whom.recipient is not null
    on conflict (organisation_id, key) do nothing
    returning 1
  )
  select count(*) from told
$$;

revoke execute on function due_offers(timestamptz), find_offer(uuid), tell_of_offers(uuid[], timestamptz) from public;
grant execute on function due_offers(timestamptz), find_offer(uuid), tell_of_offers(uuid[], timestamptz), new_id() to handoff_app;
