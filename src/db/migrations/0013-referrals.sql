-- Access referrals, the sending half: over which links a lead goes to another organisation, and what became of each.

-- A link to another organisation's inbound, by its address and key. Workflow and stage are named without foreign keys: one that is
-- gone offers nothing any more.
create table outbounds (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  name text not null,
  url text not null,
  key_encrypted text not null,
  workflow_id uuid not null,
  stage_id uuid not null,
  enabled boolean not null,
  -- How the other side named itself when it last answered at this address.
  remote_organisation text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  -- Kept for what went over it; its key is gone.
  deleted_at timestamptz
);
create index outbounds_by_organisation on outbounds (organisation_id, id) where deleted_at is null;
create index outbounds_by_stage on outbounds (stage_id) where deleted_at is null;

-- One lead on its way to another organisation, over an outbound or a connection.
create table referrals (
  id uuid primary key,
  organisation_id uuid not null,
  lead_id uuid not null references leads,
  outbound_id uuid references outbounds,
  connection_id uuid,
  link_id uuid not null generated always as (coalesce(outbound_id, connection_id)) stored,
  -- The link and the other side as they were called, and where the link led, when this was confirmed.
  link_name text not null,
  remote_organisation text,
  url text,
  state text not null check (state in ('due', 'sent', 'refused', 'failed', 'cancelled')),
  -- due: when it is tried next, or, while it is being tried, when the worker that does is given up.
  due_at timestamptz,
  claim_token uuid,
  -- Set while it is being tried. Found set by a later claim, the worker died and the referral may have arrived.
  sending_since timestamptz,
  attempt_count integer not null default 0,
  -- Attempts since it was made or retried by hand, and since when: from these come the next try and the end of trying.
  tries integer not null default 0,
  retry_since timestamptz not null,
  may_have_arrived boolean not null default false,
  -- What goes, exactly as it was confirmed; the same with every attempt. Null once the lead is erased.
  content jsonb,
  -- With this the other side signs what it tells us of the lead.
  status_key_encrypted text not null,
  -- What the other side calls the lead.
  received_as text,
  reason text,
  -- What became of it there.
  status text check (status in ('accepted', 'won', 'lost')),
  status_reason text,
  status_at timestamptz,
  status_sequence bigint,
  confirmed_by text not null,
  created_at timestamptz not null,
  finished_at timestamptz,
  check (num_nonnulls(outbound_id, connection_id) = 1),
  check ((state = 'due') = (due_at is not null))
) with (fillfactor = 80);
create index referrals_by_organisation on referrals (organisation_id, id);
create index referrals_by_state on referrals (organisation_id, state, id);
create index referrals_by_lead on referrals (lead_id, id);
create index referrals_by_link on referrals (link_id, id);
create index referrals_due on referrals (organisation_id, link_id, due_at) where state = 'due';
-- A lead goes over a link once; after a refusal, or where it was never sent, it may go again.
create unique index referrals_once on referrals (lead_id, link_id) where state in ('due', 'sent', 'failed');

create table referral_attempts (
  referral_id uuid not null references referrals,
  number integer not null,
  organisation_id uuid not null,
  started_at timestamptz not null,
  duration_ms integer not null,
  outcome text not null check (outcome in ('sent', 'refused', 'trouble', 'cancelled', 'interrupted')),
  reason text,
  may_have_arrived boolean not null,
  status integer,
  -- Masked: { headers, body, truncated }. What was sent is the referral's content.
  response jsonb,
  retry_at timestamptz,
  primary key (referral_id, number)
);

do $$
declare name text;
begin
  foreach name in array array['outbounds', 'referrals', 'referral_attempts']
  loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy own_organisation on %I using (organisation_id = (select current_organisation()))', name);
    execute format('grant select, insert, update on %I to handoff_app', name);
  end loop;
end $$;

-- Links over which something is due.
create function due_referrals(now timestamptz) returns table (organisation_id uuid, link_id uuid, due_since timestamptz)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select r.organisation_id, r.link_id, min(r.due_at) from referrals r
        where r.state = 'due' and r.due_at <= now group by r.organisation_id, r.link_id $$;

-- Whose it is that another organisation tells us of.
create function find_referral(referral uuid) returns table (organisation_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select r.organisation_id from referrals r where r.id = referral $$;

revoke execute on function due_referrals(timestamptz), find_referral(uuid) from public;
grant execute on function due_referrals(timestamptz), find_referral(uuid) to handoff_app;
