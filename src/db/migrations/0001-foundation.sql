-- The schema of Handoff. Every table that belongs to an organisation carries organisation_id and a row-level
-- security policy; the application connects as handoff_app, which owns nothing and cannot bypass the policies.
-- Tables that grow with each lead name their organisation without a foreign key: the policy checks what is written, and a
-- key's lock on the one row that all leads share would be taken with each of them.
-- Look-ups that must see all organisations are the named functions at the end; they return ids, instants and versions only.

create function current_organisation() returns uuid
  language sql stable parallel safe
  as $$ select nullif(current_setting('handoff.organisation_id', true), '')::uuid $$;

-- ---------------------------------------------------------------------------------------------- organisations

create table organisations (
  id uuid primary key,
  name text not null,
  portal_code text not null unique,
  time_zone text not null,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- What the organisation pays for each SMS segment, in minor units of its currency.
  sms_rate_minor bigint not null default 0 check (sms_rate_minor >= 0),
  staff_email text,
  created_at timestamptz not null
);

create table api_keys (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  name text not null,
  -- The key itself is never kept. The first 8 bytes of its SHA-256 find the row, the whole is compared in constant time.
  key_lookup bytea not null unique,
  key_hash bytea not null,
  created_at timestamptz not null,
  expires_at timestamptz,
  revoked_at timestamptz
);
create index api_keys_by_organisation on api_keys (organisation_id, id);

-- Who changed which setting, when, from what, to what. Secrets are masked before they come here.
create table changes (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  changed_at timestamptz not null,
  changed_by text not null,
  object_kind text not null,
  object_id uuid not null,
  before jsonb,
  after jsonb
);
create index changes_by_object on changes (organisation_id, object_id, id);
create index changes_by_organisation on changes (organisation_id, id);

-- ---------------------------------------------------------------------------------------------- partners

create table partners (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  name text not null,
  type text not null check (type in ('introducer', 'partner', 'both')),
  active boolean not null default true,
  time_zone text not null,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  lead_value_minor bigint not null check (lead_value_minor >= 0),
  credit_limit_minor bigint not null default 0 check (credit_limit_minor >= 0),
  contact jsonb not null,
  limits jsonb not null,
  schedule jsonb,
  -- null: the campaign's default
  when_closed text check (when_closed in ('next', 'hold')),
  when_capped text check (when_capped in ('next', 'hold')),
  when_unfunded text check (when_unfunded in ('next', 'hold')),
  alerts jsonb not null,
  -- Delivery settings; secrets inside are encrypted.
  internet jsonb,
  email jsonb,
  -- How many requests may be under way at once, and how many may start in a minute (0: no limit).
  concurrency integer not null check (concurrency between 1 and 100),
  rate_per_minute integer not null check (rate_per_minute >= 0),
  -- Held leads are released this far apart.
  spread_seconds integer not null check (spread_seconds between 0 and 3600),
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index partners_by_organisation on partners (organisation_id, id);

-- How a partner's endpoint is doing, and who is draining it now. Apart from partners because workers write it.
create table endpoints (
  partner_id uuid primary key references partners,
  organisation_id uuid not null references organisations,
  -- The last ten attempts, newest first: + went well, - did not.
  recent text not null default '',
  paused_until timestamptz,
  pause_reason text,
  -- Pauses in a row; above 0 the next attempt is a probe and goes alone.
  pause_count integer not null default 0,
  -- Only one drain at a time; a drain that died loses its lease.
  drain_token uuid,
  drain_leased_until timestamptz,
  next_send_at timestamptz,
  -- Set when held leads should be looked at before their time: a payment came, a limit was raised, hours changed.
  recheck_holds_at timestamptz
) with (fillfactor = 70);

-- What has been used of each limit, partner-wide (campaign_id null) and per campaign. A window that has passed is
-- overwritten by the next. This row is also the lock under which places are taken and given back.
create table limit_usage (
  organisation_id uuid not null references organisations,
  partner_id uuid not null references partners,
  campaign_id uuid,
  hour_start timestamptz not null default 'epoch',
  hour_leads integer not null default 0 check (hour_leads >= 0),
  day_start timestamptz not null default 'epoch',
  day_leads integer not null default 0 check (day_leads >= 0),
  day_spend_minor bigint not null default 0 check (day_spend_minor >= 0),
  week_start timestamptz not null default 'epoch',
  week_leads integer not null default 0 check (week_leads >= 0),
  week_spend_minor bigint not null default 0 check (week_spend_minor >= 0),
  month_start timestamptz not null default 'epoch',
  month_leads integer not null default 0 check (month_leads >= 0),
  month_spend_minor bigint not null default 0 check (month_spend_minor >= 0),
  total_leads integer not null default 0 check (total_leads >= 0),
  unique nulls not distinct (partner_id, campaign_id)
) with (fillfactor = 70);

-- ---------------------------------------------------------------------------------------------- campaigns

create table campaigns (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  name text not null,
  active boolean not null default true,
  time_zone text not null,
  sale_limit integer not null check (sale_limit >= 0),
  hold_hours integer not null check (hold_hours between 0 and 8760),
  when_closed text not null check (when_closed in ('next', 'hold')),
  when_capped text not null check (when_capped in ('next', 'hold')),
  when_unfunded text not null check (when_unfunded in ('next', 'hold')),
  -- What an uncertain delivery means for the lead: staff decide, or the next partner gets it.
  when_uncertain text not null check (when_uncertain in ('staff', 'next')),
  fields jsonb not null,
  duplicates jsonb,
  routing jsonb not null,
  -- Counts up with each change, so that what was compiled from an older one is not used.
  version integer not null default 1,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index campaigns_by_organisation on campaigns (organisation_id, id);

create table intake_keys (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  campaign_id uuid not null references campaigns,
  introducer_id uuid references partners,
  name text not null,
  key_hash bytea not null unique,
  key_encrypted text not null,
  created_at timestamptz not null,
  revoked_at timestamptz
);
create index intake_keys_by_campaign on intake_keys (campaign_id, id);

-- Whose turn it is in each routing group of a campaign: { groupId: { partnerId: { given, credit } } }. The row is there
-- from the start: its lock lets the campaign's leads be decided by one router at a time.
create table rotations (
  campaign_id uuid primary key references campaigns,
  organisation_id uuid not null references organisations,
  turns jsonb not null default '{}'
) with (fillfactor = 70);

-- ---------------------------------------------------------------------------------------------- leads

create table leads (
  id uuid primary key,
  organisation_id uuid not null,
  campaign_id uuid not null references campaigns,
  intake_key_id uuid references intake_keys,
  introducer_id uuid references partners,
  source text,
  state text not null check (state in
    ('received', 'routing', 'held', 'sold', 'unsold', 'duplicate', 'invalid', 'returned', 'erased')),
  -- Why it is in this state, where that needs saying: { code, ... }.
  state_reason jsonb,
  fields jsonb not null,
  extra jsonb not null default '{}',
  duplicate_of uuid,
  -- A keyed hash of the whole content as it came; null once erased.
  content_hash bytea,
  sold_count integer not null default 0,
  received_at timestamptz not null,
  -- When routing has to look at this lead; null when nothing is to be decided.
  due_at timestamptz,
  hold_ends_at timestamptz not null,
  finished_at timestamptz
) with (fillfactor = 85);
create index leads_due on leads (campaign_id, due_at, id) where due_at is not null;
create index leads_by_organisation on leads (organisation_id, id);
create index leads_by_state on leads (organisation_id, state, id);
create index leads_by_campaign on leads (campaign_id, id);
create index leads_by_source on leads (organisation_id, source, id) where source is not null;
create index leads_by_content on leads (campaign_id, content_hash, received_at) where state not in ('duplicate', 'invalid');

-- The contacts of a lead beyond the main one, whose fields are the lead's own.
create table contacts (
  lead_id uuid not null references leads,
  position smallint not null check (position > 0),
  organisation_id uuid not null,
  fields jsonb not null,
  primary key (lead_id, position)
);

-- What makes a lead a duplicate of another: a keyed hash of each field that the campaign matches.
create table lead_keys (
  organisation_id uuid not null,
  campaign_id uuid not null,
  key_hash bytea not null,
  lead_id uuid not null references leads,
  received_at timestamptz not null,
  primary key (campaign_id, key_hash, lead_id)
);
create index lead_keys_by_lead on lead_keys (lead_id);

-- The first answer to each Idempotency-Key, to be given again.
create table idempotency_keys (
  organisation_id uuid not null,
  campaign_id uuid not null,
  key text not null,
  content_hash bytea not null,
  lead_id uuid not null,
  status integer not null,
  answer jsonb not null,
  created_at timestamptz not null,
  primary key (campaign_id, key)
);

create index idempotency_keys_by_lead on idempotency_keys (lead_id);

-- What staff did to a lead by hand, and notes.
create table lead_events (
  id uuid primary key,
  organisation_id uuid not null,
  lead_id uuid not null references leads,
  happened_at timestamptz not null,
  kind text not null,
  actor text not null,
  detail jsonb not null
);
create index lead_events_by_lead on lead_events (lead_id, id);

-- Each decision of the router, with every reason for and against every partner.
create table decisions (
  id uuid primary key,
  organisation_id uuid not null,
  lead_id uuid not null references leads,
  decided_at timestamptz not null,
  result text not null,
  explanation jsonb not null
);
create index decisions_by_lead on decisions (lead_id, id);

-- ---------------------------------------------------------------------------------------------- deliveries

create table deliveries (
  id uuid primary key,
  organisation_id uuid not null,
  lead_id uuid not null references leads,
  campaign_id uuid not null,
  partner_id uuid not null references partners,
  group_id uuid,
  state text not null check (state in ('held', 'offered', 'sending', 'delivered', 'rejected', 'failed', 'uncertain',
    'declined', 'expired', 'cancelled', 'returned')),
  -- held: when it is looked at again; offered: the deadline; sending: the next attempt, or, while one is under way, when
  -- the worker that makes it is given up.
  due_at timestamptz,
  -- held: the instant that was waited for, before spreading.
  hold_until timestamptz,
  hold_reason jsonb,
  price_minor bigint not null check (price_minor >= 0),
  currency text not null,
  -- The instant that decides from which windows the place was taken; null when no place is held.
  reserved_at timestamptz,
  -- Sent by hand, and whether limits, hours and funds were overridden.
  manual boolean not null default false,
  override boolean not null default false,
  -- Taken back by staff: routing does not give the partner this lead again.
  withdrawn boolean not null default false,
  -- A delivery that is sent again returns to this state whatever the partner says, and is never charged again.
  redelivery_of text check (redelivery_of in ('delivered', 'uncertain')),
  claim_token uuid,
  -- Set while an attempt is under way. Found set by a later claim, the worker died and the request may have arrived.
  sending_since timestamptz,
  attempt_count integer not null default 0,
  -- Attempts that count towards giving up; a redelivery starts afresh.
  tries integer not null default 0,
  may_have_arrived boolean not null default false,
  reference text,
  reason text,
  created_at timestamptz not null,
  finished_at timestamptz
) with (fillfactor = 80);
create index deliveries_by_lead on deliveries (lead_id, id);
create index deliveries_by_partner on deliveries (partner_id, id);
create index deliveries_by_organisation on deliveries (organisation_id, id);
create index deliveries_uncertain on deliveries (organisation_id, id) where state = 'uncertain';
create index deliveries_due on deliveries (partner_id, due_at) where state = 'sending';
create index deliveries_held on deliveries (partner_id, hold_until, due_at) where state = 'held';
create unique index deliveries_one_per_partner on deliveries (lead_id, partner_id)
  where state in ('held', 'offered', 'sending', 'delivered', 'uncertain');

create table attempts (
  delivery_id uuid not null references deliveries,
  number integer not null,
  organisation_id uuid not null,
  channel text not null,
  started_at timestamptz not null,
  duration_ms integer not null,
  outcome text not null check (outcome in ('accepted', 'rejected', 'retry', 'broken', 'interrupted')),
  reason text,
  arrived text not null check (arrived in ('no', 'yes', 'unknown')),
  status integer,
  -- Masked: { method, url, headers, body } and { headers, body, truncated }.
  request jsonb,
  response jsonb,
  retry_at timestamptz,
  primary key (delivery_id, number)
);

-- ---------------------------------------------------------------------------------------------- ledger

-- Accounts of double-entry book-keeping. A partner's money lies in funds (free to spend) and reserved (promised to
-- deliveries under way); their sum is the balance that the partner sees. A sale moves it on to revenue.
create table accounts (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  kind text not null check (kind in ('funds', 'reserved', 'revenue', 'cash', 'adjustment', 'sms_usage', 'sms_payable')),
  partner_id uuid references partners,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- Kept by the trigger on entries: always their sum.
  balance_minor bigint not null default 0,
  unique nulls not distinct (organisation_id, partner_id, kind, currency)
) with (fillfactor = 70);
create index accounts_by_partner on accounts (partner_id, kind);

create table transactions (
  id uuid primary key,
  organisation_id uuid not null,
  -- Says what this is once for all, so that it cannot happen twice: post-<delivery>, payment-<id>, ...
  key text not null,
  kind text not null,
  currency text not null,
  occurred_at timestamptz not null,
  partner_id uuid,
  lead_id uuid,
  delivery_id uuid,
  reason text,
  created_by text not null,
  unique (organisation_id, key)
);
create index transactions_by_partner on transactions (partner_id, id);
create index transactions_by_delivery on transactions (delivery_id) where delivery_id is not null;

create table entries (
  transaction_id uuid not null references transactions,
  account_id uuid not null references accounts,
  organisation_id uuid not null,
  amount_minor bigint not null check (amount_minor <> 0),
  currency text not null,
  primary key (transaction_id, account_id)
);
create index entries_by_account on entries (account_id, transaction_id);

-- All entries of a transaction come in one statement. They sum to zero, bear their account's currency, and the
-- balances move with them or nothing does.
create function book_entries() returns trigger
  language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if exists (select 1 from added group by transaction_id, currency having sum(amount_minor) <> 0) then
    raise exception 'entries of a transaction do not sum to zero';
  end if;
  if exists (select 1 from added a join accounts c on c.id = a.account_id
             where c.currency <> a.currency or c.organisation_id <> a.organisation_id) then
    raise exception 'an entry is in another currency or organisation than its account';
  end if;
  -- In the order of their ids, as everybody locks accounts: two transactions never wait for each other in a ring.
  perform from accounts where id in (select account_id from added) order by id for no key update;
  update accounts c set balance_minor = c.balance_minor + s.amount_minor
    from (select account_id, sum(amount_minor) as amount_minor from added group by account_id) s
    where c.id = s.account_id;
  return null;
end $$;
create trigger entries_are_booked after insert on entries
  referencing new table as added for each statement execute function book_entries();

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append only: correct a mistake with a new transaction', tg_table_name;
end $$;
create trigger entries_are_append_only before update or delete or truncate on entries
  for each statement execute function refuse_change();
create trigger transactions_are_append_only before update or delete or truncate on transactions
  for each statement execute function refuse_change();

-- ---------------------------------------------------------------------------------------------- alerts

create table alerts (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  -- One alert of a kind about a thing: lead-referred-sms-<delivery>, ...
  key text not null,
  kind text not null,
  channel text not null check (channel in ('sms', 'email')),
  recipient text not null,
  partner_id uuid references partners,
  lead_id uuid references leads,
  delivery_id uuid references deliveries,
  -- What the template needs beyond the rows named above.
  detail jsonb not null default '{}',
  state text not null check (state in ('due', 'sent', 'delivered', 'failed')),
  due_at timestamptz,
  attempt_count integer not null default 0,
  -- What Twilio or the mail server calls it.
  provider_id text,
  segments integer,
  error text,
  created_at timestamptz not null,
  finished_at timestamptz,
  unique (organisation_id, key)
);
create index alerts_due on alerts (organisation_id, due_at) where state = 'due';
create index alerts_by_organisation on alerts (organisation_id, id);
create index alerts_by_provider on alerts (provider_id) where provider_id is not null;

-- ---------------------------------------------------------------------------------------------- the installation

-- One row: what tells whether HANDOFF_SECRET is still the one that secrets here were encrypted with.
create table installation (
  only_row boolean primary key default true check (only_row),
  secret_check bytea not null
);

-- ---------------------------------------------------------------------------------------------- row-level security

do $$
declare name text;
begin
  for name in select tablename from pg_tables where schemaname = current_schema()
      and tablename not like 'migration%' and tablename not in ('organisations', 'installation')
  loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy own_organisation on %I using (organisation_id = (select current_organisation()))', name);
    execute format('grant select, insert, update on %I to handoff_app', name);
  end loop;
end $$;
-- Nobody's rows: reached through confirm_secret alone.
alter table installation enable row level security;
create policy nobody on installation using (false);
grant select on installation to handoff_app;
alter table organisations enable row level security;
create policy own_organisation on organisations using (id = (select current_organisation()));
grant select, update on organisations to handoff_app;
revoke update on entries, transactions, changes, decisions from handoff_app;
-- Balances move by booking entries, and in no other way.
revoke update on accounts from handoff_app;
grant update (currency) on accounts to handoff_app;
grant delete on lead_keys, idempotency_keys, contacts, rotations to handoff_app;
grant usage on schema public to handoff_app;

-- ---------------------------------------------------------------------------------------------- what sees all organisations

create function find_api_key(lookup bytea) returns table (organisation_id uuid, api_key_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select k.organisation_id, k.id from api_keys k where k.key_lookup = lookup $$;

create function find_intake_key(hash bytea)
  returns table (organisation_id uuid, intake_key_id uuid, campaign_id uuid, introducer_id uuid, campaign_version integer)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select k.organisation_id, k.id, k.campaign_id, k.introducer_id, c.version
        from intake_keys k join campaigns c on c.id = k.campaign_id
        where k.key_hash = hash and k.revoked_at is null $$;

-- Campaigns with leads to route. One probe of leads_due for each campaign, however long the queue is.
create function due_campaigns(now timestamptz) returns table (organisation_id uuid, campaign_id uuid, due_since timestamptz)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select c.organisation_id, c.id, l.due_at
        from campaigns c
        cross join lateral (select due_at from leads where leads.campaign_id = c.id and due_at <= now
                            order by due_at limit 1) l $$;

-- Partners with something to send (or holds to look at again) that nobody is draining.
create function due_partners(now timestamptz) returns table (organisation_id uuid, partner_id uuid, due_since timestamptz)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select e.organisation_id, e.partner_id, least(d.due_at, e.recheck_holds_at)
        from endpoints e
        left join lateral (select due_at from deliveries where deliveries.partner_id = e.partner_id
                             and state = 'sending' and due_at <= now order by due_at limit 1) d on true
        where (e.drain_leased_until is null or e.drain_leased_until <= now)
          and (e.next_send_at is null or e.next_send_at <= now)
          and (d.due_at is not null or e.recheck_holds_at <= now) $$;

create function due_alerts(now timestamptz) returns table (organisation_id uuid, due_since timestamptz)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select o.id, a.due_at
        from organisations o
        cross join lateral (select due_at from alerts where alerts.organisation_id = o.id and state = 'due'
                              and due_at <= now order by due_at limit 1) a $$;

create function find_alert_by_provider(provider text) returns table (organisation_id uuid, alert_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select a.organisation_id, a.id from alerts a where a.provider_id = provider $$;

-- Keeps the first check it is given; says whether this one is the same.
create function confirm_secret(check_value bytea) returns boolean
  language sql volatile security definer set search_path = public, pg_temp
  as $$ insert into installation (secret_check) values (check_value) on conflict do nothing;
        select secret_check = check_value from installation $$;

revoke execute on all functions in schema public from public;
grant execute on function current_organisation(), find_api_key(bytea), find_intake_key(bytea), due_campaigns(timestamptz),
  due_partners(timestamptz), due_alerts(timestamptz), find_alert_by_provider(text), confirm_secret(bytea) to handoff_app;
