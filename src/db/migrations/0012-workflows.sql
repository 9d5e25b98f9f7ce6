-- Where a lead stands in the organisation's own process, and leads that other organisations refer here.

create table workflows (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  name text not null,
  -- Whose fields the leads have that arrive in it.
  campaign_id uuid not null references campaigns,
  -- Owns what arrives, unless the sender's owner has a user of the same email here, and is told of it.
  owner_id uuid not null references users,
  alert_sms boolean not null default false,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create index workflows_by_organisation on workflows (organisation_id, id);

create table stages (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  workflow_id uuid not null references workflows,
  name text not null,
  position integer not null,
  -- Taken away. No lead stands in it; what still names it is refused.
  removed_at timestamptz
);
create index stages_by_workflow on stages (workflow_id, position);

alter table leads
  -- Without foreign keys: each change would look up and lock a row. Both are read in the transaction that writes them.
  add column stage_id uuid,
  add column owner_id uuid,
  -- Goes to partners by hand only: it came from another organisation or for a stage of a workflow, and nobody asked for a sale.
  add column by_hand boolean not null default false;
create index leads_by_stage on leads (organisation_id, stage_id, id) where stage_id is not null;
create index leads_by_owner on leads (organisation_id, owner_id, id) where owner_id is not null;

create table lead_notes (
  id uuid primary key,
  organisation_id uuid not null,
  lead_id uuid not null references leads,
  written_at timestamptz not null,
  written_by text not null,
  text text not null,
  -- Goes along when the lead is referred to another organisation.
  shareable boolean not null
);
create index lead_notes_by_lead on lead_notes (lead_id, id);

-- Where referrals from other organisations come in.
create table inbounds (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  name text not null,
  workflow_id uuid not null references workflows,
  stage_id uuid not null references stages,
  enabled boolean not null,
  -- Whether referrers hear what became of what they sent.
  reports_status boolean not null,
  -- The SHA-256 of the key, compared in constant time; and the key itself, encrypted, to be shown again. Without it, deleted.
  key_hash bytea not null,
  key_encrypted text,
  -- The form that other sites may show: { sites, title }; null: there is none. Its token stands in those sites, and is no secret.
  form jsonb,
  form_token text not null unique,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  deleted_at timestamptz
);
create index inbounds_by_organisation on inbounds (organisation_id, id);
create index inbounds_by_stage on inbounds (stage_id);

-- Who has used an inbound.
create table inbound_referrers (
  inbound_id uuid not null references inbounds,
  organisation_id uuid not null references organisations,
  -- As they say themselves.
  referrer text not null,
  installation text not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  referral_count integer not null,
  primary key (inbound_id, referrer, installation)
) with (fillfactor = 80);

-- A lead that was referred here: by whom, over what, and what its sender is told.
create table arrivals (
  id uuid primary key,
  organisation_id uuid not null,
  lead_id uuid not null references leads,
  inbound_id uuid references inbounds,
  connection_id uuid,
  referral_id uuid not null,
  -- A keyed hash of the lead as it was sent; null once erased.
  content_hash bytea,
  referrer text not null,
  installation text not null,
  sender_lead_id text not null,
  referred_at timestamptz not null,
  referred_by text not null,
  -- Keys of fields that had no place here.
  kept_aside jsonb not null,
  -- Where the sender hears what became of it, and what that is signed with, encrypted; null: it does not want to.
  status_url text,
  status_key_encrypted text,
  status text check (status in ('accepted', 'won', 'lost')),
  status_reason text,
  status_at timestamptz,
  status_sequence integer not null default 0,
  arrived_at timestamptz not null,
  check ((inbound_id is null) <> (connection_id is null)),
  -- Sent again, over whatever link, it is the same.
  unique (organisation_id, referral_id)
);
create index arrivals_by_lead on arrivals (lead_id);

-- What a sender is to be told: each change of status once, in order.
create table status_callbacks (
  id uuid primary key,
  organisation_id uuid not null,
  arrival_id uuid not null references arrivals,
  sequence integer not null,
  status text not null check (status in ('accepted', 'won', 'lost')),
  reason text,
  reported_at timestamptz not null,
  state text not null check (state in ('due', 'sent', 'failed')),
  -- The next attempt, or, while one is under way, when the worker that makes it is given up.
  due_at timestamptz,
  attempt_count integer not null default 0,
  error text,
  finished_at timestamptz,
  unique (arrival_id, sequence)
) with (fillfactor = 80);
create index status_callbacks_due on status_callbacks (organisation_id, due_at) where state = 'due';

do $$
declare name text;
begin
  foreach name in array array['workflows', 'stages', 'lead_notes', 'inbounds', 'inbound_referrers', 'arrivals', 'status_callbacks']
  loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy own_organisation on %I using (organisation_id = (select current_organisation()))', name);
    execute format('grant select, insert, update on %I to handoff_app', name);
  end loop;
end $$;
-- What staff wrote about a person goes when the person's data does.
grant delete on lead_notes to handoff_app;

create function find_inbound(inbound uuid) returns table (organisation_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select i.organisation_id from inbounds i where i.id = inbound $$;

create function find_inbound_form(token text) returns table (organisation_id uuid, inbound_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select i.organisation_id, i.id from inbounds i where i.form_token = token $$;

create function due_statuses(now timestamptz) returns table (organisation_id uuid, due_since timestamptz)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select o.id, c.due_at
        from organisations o
        -- Of one referral only the first that is due: the next waits for it.
        cross join lateral (select due_at from status_callbacks d where d.organisation_id = o.id and d.state = 'due'
                              and d.due_at <= now and not exists (select from status_callbacks e
                                where e.arrival_id = d.arrival_id and e.sequence < d.sequence and e.state = 'due')
                            order by due_at limit 1) c $$;

revoke execute on function find_inbound(uuid), find_inbound_form(text), due_statuses(timestamptz) from public;
grant execute on function find_inbound(uuid), find_inbound_form(text), due_statuses(timestamptz) to handoff_app;
