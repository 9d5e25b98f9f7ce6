-- Who is told when a partner's funds are low or out, once until they are topped up again; and a daily summary instead.

alter table partners
  -- Below this the funds are low; 0: they never are.
  add column low_funds_minor bigint not null default 0 check (low_funds_minor >= 0),
  -- When the next summary of the partner's funds is due, and from when on it tells; null: none is wanted.
  add column summary_due_at timestamptz,
  add column summary_since timestamptz,
  add constraint partners_summary_check check ((summary_due_at is null) = (summary_since is null));
update partners set alerts = '{"fundsSms": false, "fundsEmail": false, "fundsSummaryAt": null}'::jsonb || alerts;
create index partners_summary_due on partners (organisation_id, summary_due_at) where summary_due_at is not null;

-- What was told of a partner's funds stands on its account `funds`: whoever changes what is available has that row locked.
alter table accounts
  -- Since when they are low; null: armed, the next crossing is told.
  add column low_since timestamptz,
  -- Since when a lead could not be had for want of money, and what it cost; null: armed.
  add column out_since timestamptz,
  add column out_minor bigint,
  add constraint accounts_out_check check ((out_since is null) = (out_minor is null));

-- A UUID of version 7, as the application makes them: alerts are listed by id. 48 bits of time, version, variant, the rest random.
create function new_id() returns uuid language sql volatile as $$
  select encode(
    substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
      || set_byte(r.bits, 0, (get_byte(r.bits, 0) & 15) | 112), 'hex')::uuid
  from (select substring(uuid_send(gen_random_uuid()) from 7) as bits) r
$$;

-- Tells of a partner's funds: the partner by SMS and email, as its settings say, unless it gets a summary instead; staff by email.
create function tell_of_funds(alert_kind text, partner uuid, detail jsonb, at timestamptz) returns void
  language sql volatile set search_path = public, pg_temp as $$
  insert into alerts (id, organisation_id, key, kind, channel, recipient, partner_id, detail, state, due_at, created_at)
  select new_id(), p.organisation_id, told.id || '-' || whom.name, alert_kind, whom.channel, whom.recipient, p.id,
    detail || jsonb_build_object('currency', p.currency), 'due', at, at
  from partners p
  join organisations o on o.id = p.organisation_id
  cross join (select new_id() as id) told
  cross join lateral (values
    ('sms', 'sms', case when (p.alerts ->> 'fundsSms')::boolean then p.contact ->> 'phone' end, true),
    ('email', 'email', case when (p.alerts ->> 'fundsEmail')::boolean then p.contact ->> 'email' end, true),
    ('staff', 'email', o.staff_email, false)
  ) whom (name, channel, recipient, is_partner)
  where p.id = partner and whom.recipient is not null and not (whom.is_partner and p.alerts ->> 'fundsSummaryAt' is not null)
$$;

-- Since when funds are low, after something changed what is available. Below the threshold they are low; above it they are not any
-- more once they were credited. What was only reserved and came back is no credit: else each refused lead would be told again.
create function low_since_after(since timestamptz, available bigint, threshold bigint, is_credited boolean, at timestamptz)
  returns timestamptz language sql immutable parallel safe as $$
  select case
    when threshold = 0 then null
    when available < threshold then coalesce(since, at)
    when available > threshold and is_credited then null
    else since
  end
$$;

-- The one place that decides what is told of funds, whatever changed them. Takes accounts `funds` that the caller has locked, those
-- of them that were credited, and the instant.
create function judge_funds(judged uuid[], credited uuid[], at timestamptz) returns void
  language plpgsql volatile set search_path = public, pg_temp as $$
declare low record;
begin
  for low in
    with judgement as (
      select c.id, c.partner_id, c.low_since as was_low_since, c.out_since is not null as was_out, p.low_funds_minor as threshold,
        a.available, low_since_after(c.low_since, a.available, p.low_funds_minor, i.is_credited, at) as low_since,
        c.out_since is not null and not (i.is_credited and a.available >= c.out_minor) as is_out
      from accounts c
      join partners p on p.id = c.partner_id
      cross join lateral (select c.balance_minor + p.credit_limit_minor as available) a
      cross join lateral (select c.id = any(credited) as is_credited) i
      where c.id = any(judged)
    ), changed as (
      update accounts c
      set low_since = j.low_since, out_since = case when j.is_out then c.out_since end, out_minor = case when j.is_out then c.out_minor end
      from judgement j
      where c.id = j.id and (j.low_since is distinct from j.was_low_since or j.is_out <> j.was_out)
      returning c.id
    )
    select j.partner_id, j.available, j.threshold from judgement j join changed on changed.id = j.id
    where j.was_low_since is null and j.low_since is not null
  loop
    perform tell_of_funds('low_funds', low.partner_id,
      jsonb_build_object('available_minor', low.available, 'threshold_minor', low.threshold), at);
  end loop;
end $$;

create or replace function book_entries() returns trigger
  language plpgsql security definer set search_path = public, pg_temp as $$
declare
  judged uuid[];
  credited uuid[];
  at timestamptz;
begin
  if exists (select 1 from added group by transaction_id, currency having sum(amount_minor) <> 0) then
    raise exception 'entries of a transaction do not sum to zero';
  end if;
  -- In the order of their ids, as everybody locks accounts: two transactions never wait for each other in a ring.
  perform from accounts where id in (select account_id from added) order by id for no key update;
  if exists (select 1 from added a left join accounts c on c.id = a.account_id
             where c.id is null or c.currency <> a.currency or c.organisation_id <> a.organisation_id) then
    raise exception 'an entry is in another currency or organisation than its account';
  end if;
  if exists (select 1 from added a left join transactions t on t.id = a.transaction_id
             where t.id is null or t.currency <> a.currency or t.organisation_id <> a.organisation_id) then
    raise exception 'an entry is in another currency or organisation than its transaction';
  end if;
  -- Hardly ever is there anything to judge: only where a threshold was crossed, or something was told that may be over.
  with moved as (
    update accounts c set balance_minor = c.balance_minor + s.amount_minor
      from (select account_id, sum(amount_minor) as amount_minor from added group by account_id) s
      where c.id = s.account_id
      returning c.id, c.kind, c.partner_id, c.balance_minor, c.low_since, c.out_since
  )
  select array_agg(m.id) into judged
  from moved m
  join partners p on p.id = m.partner_id
  where m.kind = 'funds' and (m.out_since is not null
    or (m.low_since is null) = (m.balance_minor + p.credit_limit_minor < p.low_funds_minor));
  if judged is not null then
    select max(t.occurred_at), array_agg(a.account_id) filter (where a.amount_minor > 0 and t.kind <> 'void') into at, credited
    from added a join transactions t on t.id = a.transaction_id
    where a.account_id = any(judged);
    perform judge_funds(judged, coalesce(credited, '{}'), at);
  end if;
  return null;
end $$;

-- Judges a partner's funds after its credit limit or its threshold changed; `is_credited` where that was to its advantage. Gives
-- whether they are low now.
create function partner_funds_changed(partner uuid, is_credited boolean, at timestamptz) returns boolean
  language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare funds uuid;
begin
  select id into funds from accounts
    where partner_id = partner and kind = 'funds' and organisation_id = current_organisation() for no key update;
  perform judge_funds(array[funds], case when is_credited then array[funds] else '{}' end, at);
  return (select low_since is not null from accounts where id = funds);
end $$;

-- Tells, once until it is armed again, that a partner did not get a lead for want of money alone. Gives whether it was news.
create function partner_ran_out(partner uuid, price bigint, available bigint, at timestamptz) returns boolean
  language plpgsql volatile security definer set search_path = public, pg_temp as $$
begin
  update accounts set out_since = at, out_minor = price
    where partner_id = partner and kind = 'funds' and organisation_id = current_organisation() and out_since is null;
  if not found then return false; end if;
  perform tell_of_funds('out_of_funds', partner, jsonb_build_object('available_minor', available, 'price_minor', price), at);
  return true;
end $$;

-- Alerts to be sent, and summaries to be made.
create or replace function due_alerts(now timestamptz) returns table (organisation_id uuid, due_since timestamptz)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select o.id, least(a.due_at, p.summary_due_at)
        from organisations o
        left join lateral (select due_at from alerts where alerts.organisation_id = o.id and state = 'due'
                             and due_at <= now order by due_at limit 1) a on true
        left join lateral (select summary_due_at from partners where partners.organisation_id = o.id
                             and summary_due_at <= now order by summary_due_at limit 1) p on true
        where a.due_at is not null or p.summary_due_at is not null $$;

revoke execute on function new_id(), tell_of_funds(text, uuid, jsonb, timestamptz),
  low_since_after(timestamptz, bigint, bigint, boolean, timestamptz), judge_funds(uuid[], uuid[], timestamptz),
  partner_funds_changed(uuid, boolean, timestamptz), partner_ran_out(uuid, bigint, bigint, timestamptz) from public;
grant execute on function partner_funds_changed(uuid, boolean, timestamptz),
  partner_ran_out(uuid, bigint, bigint, timestamptz) to handoff_app;
