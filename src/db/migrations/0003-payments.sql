-- Payments that partners make through PayPal. What PayPal says is read again and again until nothing can change any more;
-- each row here can be brought up to date any number of times, from any side, and money moves once.

-- The organisation's account at PayPal. One that was replaced stays, for what was paid through it.
create table paypal_accounts (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  environment text not null check (environment in ('sandbox', 'live')),
  client_id text not null,
  client_secret_encrypted text not null,
  -- What PayPal calls the webhook; without it no webhook can be verified, and none is taken.
  webhook_id text,
  -- The least and the most that is paid at once: { GBP: { minimum, maximum } }. No currency but these is taken.
  amounts jsonb not null,
  -- Whether new payments are taken.
  active boolean not null,
  -- The one that new payments go through.
  is_current boolean not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  unique (organisation_id, environment, client_id)
);
create unique index paypal_accounts_current on paypal_accounts (organisation_id) where is_current;

-- One payment of a partner: an order at PayPal, which the payer approves, we capture and credit.
create table top_ups (
  id uuid primary key,
  organisation_id uuid not null,
  partner_id uuid not null references partners,
  paypal_account_id uuid not null references paypal_accounts,
  amount_minor bigint not null check (amount_minor > 0),
  currency text not null,
  state text not null check (state in
    ('requested', 'open', 'pending', 'credited', 'declined', 'refused', 'expired', 'failed')),
  -- A digest of the Idempotency-Key that it was asked for with.
  request_key text,
  requested_by text not null,
  order_id text,
  approval_url text,
  capture_id text,
  -- Captures that PayPal refused. Each try has a request id of its own, since the same one gets the same answer.
  capture_tries integer not null default 0,
  -- Why the last call to PayPal did not go well.
  error text,
  -- When PayPal is asked again; null when nothing can change any more.
  due_at timestamptz,
  created_at timestamptz not null,
  credited_at timestamptz
) with (fillfactor = 80);
create index top_ups_by_organisation on top_ups (organisation_id, id);
create index top_ups_by_partner on top_ups (partner_id, id);
create index top_ups_due on top_ups (organisation_id, due_at) where due_at is not null;
create unique index top_ups_by_order on top_ups (paypal_account_id, order_id) where order_id is not null;
create unique index top_ups_by_capture on top_ups (paypal_account_id, capture_id) where capture_id is not null;
create unique index top_ups_by_request on top_ups (partner_id, request_key) where request_key is not null;

-- What went back to the payer: because staff said so here, or because it was refunded or reversed at PayPal.
create table top_up_refunds (
  id uuid primary key,
  organisation_id uuid not null,
  top_up_id uuid not null references top_ups,
  -- What PayPal calls it, once that is known.
  paypal_id text,
  origin text not null check (origin in ('staff', 'paypal')),
  is_reversal boolean not null default false,
  state text not null check (state in ('requested', 'pending', 'completed', 'failed')),
  amount_minor bigint not null check (amount_minor > 0),
  -- Counts what was booked: taken from the partner with the first, given back with the second, and so on.
  bookings integer not null default 0,
  reason text,
  request_key text,
  requested_by text not null,
  created_at timestamptz not null
);
create index top_up_refunds_by_top_up on top_up_refunds (top_up_id, id);
create unique index top_up_refunds_by_paypal on top_up_refunds (top_up_id, paypal_id) where paypal_id is not null;
create unique index top_up_refunds_by_request on top_up_refunds (top_up_id, request_key) where request_key is not null;

-- What staff have to look at: money at PayPal that was not credited, or something that is not what it claims to be.
create table payment_problems (
  id uuid primary key,
  organisation_id uuid not null,
  -- One problem of a kind about a thing.
  key text not null,
  kind text not null,
  what text not null,
  partner_id uuid references partners,
  top_up_id uuid references top_ups,
  -- How often it was met.
  count integer not null default 1,
  created_at timestamptz not null,
  last_at timestamptz not null,
  resolved_at timestamptz,
  resolved_by text,
  note text,
  unique (organisation_id, key)
);
create index payment_problems_by_organisation on payment_problems (organisation_id, id);
create index payment_problems_open on payment_problems (organisation_id, id) where resolved_at is null;

do $$
declare name text;
begin
  foreach name in array array['paypal_accounts', 'top_ups', 'top_up_refunds', 'payment_problems']
  loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy own_organisation on %I using (organisation_id = (select current_organisation()))', name);
    execute format('grant select, insert, update on %I to handoff_app', name);
  end loop;
end $$;

-- Whose it is that an address of ours, called by PayPal or by a payer's browser, speaks about.
create function find_paypal_account(account uuid) returns table (organisation_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select a.organisation_id from paypal_accounts a where a.id = account $$;

create function find_top_up(top_up uuid) returns table (organisation_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select t.organisation_id from top_ups t where t.id = top_up $$;

create function due_top_ups(now timestamptz) returns table (organisation_id uuid, due_since timestamptz)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select o.id, t.due_at
        from organisations o
        cross join lateral (select due_at from top_ups where top_ups.organisation_id = o.id and due_at <= now
                            order by due_at limit 1) t $$;

revoke execute on function find_paypal_account(uuid), find_top_up(uuid), due_top_ups(timestamptz) from public;
grant execute on function find_paypal_account(uuid), find_top_up(uuid), due_top_ups(timestamptz) to handoff_app;
