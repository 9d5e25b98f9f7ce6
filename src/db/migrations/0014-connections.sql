-- Connected portals: one organisation refers clients to another of the same installation, as far as both agreed.

create table connections (
  id uuid primary key,
  -- Who refers, and to whom. Both see the row, and each writes its own part of it: guard_connection.
  from_organisation_id uuid not null references organisations,
  to_organisation_id uuid not null references organisations,
  -- What the two are called now, since neither sees the other's own row. Triggers keep them.
  from_name text not null,
  to_name text not null,
  -- The groups of fields that are carried, those of the contact always.
  permissions text[] not null check ('contact' = any(permissions)),
  -- Counts up with each change of the permissions: an approval is of what was seen.
  version integer not null default 1,
  state text not null default 'pending' check (state in ('pending', 'active', 'rejected', 'ended')),
  created_at timestamptz not null,
  created_by text not null,
  -- The request that is pending, or was decided last: the first one, or one for other permissions.
  requested_at timestamptz not null,
  requested_by text not null,
  decided_at timestamptz,
  decided_by text,
  -- Chosen by the receiver: where leads arrive, and whether it tells what becomes of them.
  stage_id uuid,
  reports_status boolean not null default false,
  ended_at timestamptz,
  ended_by text,
  ended_side text check (ended_side in ('from', 'to')),
  check (from_organisation_id <> to_organisation_id),
  check (state <> 'active' or stage_id is not null),
  check ((decided_at is null) = (decided_by is null)),
  check (state = 'ended' or (state in ('active', 'rejected')) = (decided_at is not null)),
  check ((state = 'ended') = (ended_at is not null) and (ended_at is null) = (ended_by is null)
    and (ended_at is null) = (ended_side is null))
);
create unique index connections_one_for_a_pair on connections (from_organisation_id, to_organisation_id)
  where state in ('pending', 'active');
create index connections_outgoing on connections (from_organisation_id, id);
create index connections_incoming on connections (to_organisation_id, id);

alter table connections enable row level security;
create policy either_side_sees on connections for select using
  ((select current_organisation()) in (from_organisation_id, to_organisation_id));
create policy sender_asks on connections for insert with check
  (from_organisation_id = (select current_organisation()));
create policy each_side_writes on connections for update using
  ((select current_organisation()) in (from_organisation_id, to_organisation_id));

-- Whose the row is, how they are called and who asked first is written once; a request begins as one.
grant select on connections to handoff_app;
grant insert (id, from_organisation_id, to_organisation_id, permissions, created_at, created_by, requested_at, requested_by)
  on connections to handoff_app;
grant update (permissions, version, state, requested_at, requested_by, decided_at, decided_by, stage_id, reports_status,
  ended_at, ended_by, ended_side) on connections to handoff_app;

create function name_connection() returns trigger
  language plpgsql security definer set search_path = public, pg_temp as $$
begin
  -- Locked, so that a change of the name comes before or after as a whole.
  select o.name into new.from_name from organisations o where o.id = new.from_organisation_id for share;
  select o.name into new.to_name from organisations o where o.id = new.to_organisation_id for share;
  return new;
end $$;
create trigger connections_named before insert on connections
  for each row execute function name_connection();

create function rename_connections() returns trigger
  language plpgsql security definer set search_path = public, pg_temp as $$
begin
  update connections set from_name = new.name where from_organisation_id = new.id;
  update connections set to_name = new.name where to_organisation_id = new.id;
  return null;
end $$;
create trigger organisations_renamed after update of name on organisations
  for each row when (old.name is distinct from new.name) execute function rename_connections();

-- What each side may do with the row, and which columns that writes. Whoever forgets a check above this meets it here.
create function guard_connection() returns trigger
  language plpgsql set search_path = public, pg_temp as $$
declare
  side text := case current_organisation() when old.from_organisation_id then 'from' when old.to_organisation_id then 'to' end;
  before jsonb := to_jsonb(old);
  changed text[] := array(select key from jsonb_each(to_jsonb(new)) as c (key, value) where value is distinct from before -> key);
  -- Under row-level security the receiver sees its own stages only.
  arrives boolean := side = 'to' and exists (select from stages where id = new.stage_id and (removed_at is null or id = old.stage_id));
  allowed text[] := case
    -- The sender asks for other permissions: from then on nothing is approved.
    when side = 'from' and old.state in ('pending', 'active') and new.state = 'pending' and new.version = old.version + 1
        and new.decided_at is null
      then array['permissions', 'version', 'state', 'requested_at', 'requested_by', 'decided_at', 'decided_by']
    -- The receiver approves or rejects.
    when side = 'to' and old.state = 'pending' and new.state = 'active' and arrives
      then array['state', 'decided_at', 'decided_by', 'stage_id', 'reports_status']
    when side = 'to' and old.state = 'pending' and new.state = 'rejected'
      then array['state', 'decided_at', 'decided_by']
    -- The receiver chooses anew where leads arrive, and what it tells.
    when side = 'to' and old.state = 'active' and new.state = 'active' and arrives
      then array['stage_id', 'reports_status']
    -- Either ends it; a request that is pending the receiver rejects.
    when new.state = 'ended' and new.ended_side = side
        and (old.state = 'active' or (old.state = 'pending' and side = 'from'))
      then array['state', 'ended_at', 'ended_by', 'ended_side']
    else '{}'
  end;
begin
  if not changed <@ allowed then
    raise exception 'this side may not change the connection so' using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
create trigger connections_guarded before update of permissions, version, state, requested_at, requested_by, decided_at,
    decided_by, stage_id, reports_status, ended_at, ended_by, ended_side on connections
  for each row execute function guard_connection();

-- Tells those of the receiver who may decide, and have come in, that a request is waiting: once until it was decided, however often
-- it changes. Where there are none, staff are told.
create function tell_of_request() returns trigger
  language plpgsql security definer set search_path = public, pg_temp as $$
begin
  with deciders as (
    select id, email from users
    where organisation_id = new.to_organisation_id and partner_id is null and role in ('owner', 'admin')
      and password_hash is not null and disabled_at is null
  )
  insert into alerts (id, organisation_id, key, kind, channel, recipient, detail, state, due_at, created_at)
  select new_id(), new.to_organisation_id, 'connection-requested-' || new.id || '-' || new.version || '-' || whom.name,
    'connection_requested', 'email', whom.email,
    jsonb_build_object('connection_id', new.id, 'organisation', new.from_name,
      'permissions', array_to_string(new.permissions, ', '), 'by', new.requested_by, 'is_change', (new.version > 1)::int),
    'due', new.requested_at, new.requested_at
  from (
    select d.id::text, d.email from deciders d
    union all
    select 'staff', o.staff_email from organisations o
      where o.id = new.to_organisation_id and o.staff_email is not null and not exists (select from deciders)
  ) whom (name, email);
  return null;
end $$;
create trigger connections_requested after insert on connections
  for each row execute function tell_of_request();
create trigger connections_requested_again after update of state on connections
  for each row when (old.state <> 'pending' and new.state = 'pending') execute function tell_of_request();

-- The permissions by which a referral over a connection was put together: it goes by no others.
alter table referrals add column connection_version integer;

-- Whose a portal code is. Of one that is nobody's there is nothing to tell.
create function find_portal(code text) returns table (organisation_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select o.id from organisations o where o.portal_code = code $$;

revoke execute on function name_connection(), rename_connections(), guard_connection(), tell_of_request(), find_portal(text)
  from public;
grant execute on function find_portal(text) to handoff_app;
