-- The people behind an organisation and behind its partners, how they get in, and what a key may do.

create table users (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  -- Of a partner's people; null: of the organisation's own.
  partner_id uuid references partners,
  email text not null,
  name text not null,
  phone text,
  -- Of staff.
  role text check (role in ('owner', 'admin', 'agent', 'viewer')),
  -- Of a partner's people: { level, mayAccept, ... }.
  access jsonb,
  -- argon2id; null until the invitation is accepted.
  password_hash text,
  -- Encrypted. Counts once it was confirmed by a code.
  totp_secret text,
  totp_confirmed_at timestamptz,
  -- The last time step (RFC 6238) whose code was taken: no code is taken twice.
  totp_last_step bigint,
  disabled_at timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  check ((partner_id is null) = (role is not null)),
  check ((partner_id is null) = (access is null))
);
create unique index users_by_email on users (organisation_id, lower(email));
create index users_by_organisation on users (organisation_id, id);
create index users_by_partner on users (partner_id, id) where partner_id is not null;
create index users_with_email on users (lower(email));

create table recovery_codes (
  user_id uuid not null references users,
  organisation_id uuid not null references organisations,
  code_hash bytea not null,
  used_at timestamptz,
  primary key (user_id, code_hash)
);

-- Signed in, in one browser. The token itself is never kept: the first 8 bytes of its SHA-256 find the row, the whole is
-- compared in constant time.
create table sessions (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  user_id uuid not null references users,
  token_lookup bytea not null unique,
  token_hash bytea not null,
  browser text,
  address text,
  created_at timestamptz not null,
  last_seen_at timestamptz not null,
  ends_at timestamptz not null,
  ended_at timestamptz
);
create index sessions_by_user on sessions (user_id, id);

-- Invitations and password resets: single use, known by the SHA-256 of what was mailed.
create table user_tokens (
  id uuid primary key,
  organisation_id uuid not null references organisations,
  user_id uuid not null references users,
  purpose text not null check (purpose in ('invitation', 'password_reset')),
  token_lookup bytea not null unique,
  token_hash bytea not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  used_at timestamptz
);
create index user_tokens_by_user on user_tokens (user_id, id);

-- Tries to sign in that did not succeed, by a keyed hash of what was tried: the account need not exist.
create table sign_in_tries (
  key bytea primary key,
  wrong_count integer not null,
  wait_until timestamptz not null,
  tried_at timestamptz not null
);
create index sign_in_tries_by_time on sign_in_tries (tried_at);

-- What a key may do; null: all that staff may.
alter table api_keys add column scopes jsonb;

do $$
declare name text;
begin
  foreach name in array array['users', 'recovery_codes', 'sessions', 'user_tokens']
  loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy own_organisation on %I using (organisation_id = (select current_organisation()))', name);
    execute format('grant select, insert, update on %I to handoff_app', name);
  end loop;
end $$;
grant delete on recovery_codes to handoff_app;
-- Nobody's rows: reached through named functions alone.
alter table sign_in_tries enable row level security;
create policy nobody on sign_in_tries using (false);
grant select on sign_in_tries to handoff_app;
grant select on sign_in_tries to handoff_app;

create function find_session(lookup bytea) returns table (organisation_id uuid, session_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select s.organisation_id, s.id from sessions s where s.token_lookup = lookup $$;

create function find_user_token(lookup bytea) returns table (organisation_id uuid, user_token_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select t.organisation_id, t.id from user_tokens t where t.token_lookup = lookup $$;

-- Who is meant by an email, given in lower case, in the organisation of this portal code or, where that is null, in any.
create function find_users_by_email(wanted_email text, wanted_code text, with_password boolean)
  returns table (organisation_id uuid, user_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select u.organisation_id, u.id from users u join organisations o on o.id = u.organisation_id
        where lower(u.email) = wanted_email and (wanted_code is null or o.portal_code = wanted_code)
          and u.disabled_at is null and (u.password_hash is not null or not with_password)
        order by u.id limit 20 $$;

-- Counts a try before it is looked at, so that many at the same time are no way round. Gives until when to wait where it
-- comes too early: then it is not to be looked at. From the fifth on, each has the next one wait twice as long, from 1 s to
-- 15 min; a day without a try is a new beginning.
create function begin_sign_in_try(tried bytea, at timestamptz) returns table (wait_until timestamptz)
  language plpgsql volatile security definer set search_path = public, pg_temp
  as $$
begin
  delete from sign_in_tries s where s.key in (
    select f.key from sign_in_tries f where f.tried_at < at - interval '1 day' order by f.tried_at limit 10 for update skip locked);
  insert into sign_in_tries as s (key, wrong_count, wait_until, tried_at) values (tried, 1, at, at)
    on conflict (key) do update set wrong_count = s.wrong_count + 1, tried_at = at,
      wait_until = at + make_interval(secs => case when s.wrong_count < 4 then 0 else least(900, 2 ^ least(s.wrong_count - 4, 20)) end)
    where s.wait_until <= at;
  if not found then
    return query select s.wait_until from sign_in_tries s where s.key = tried;
  end if;
end $$;

-- Forgets the tries of who got in, or takes one back that was neither right nor wrong.
create function end_sign_in_try(tried bytea, was_right boolean) returns boolean
  language plpgsql volatile security definer set search_path = public, pg_temp
  as $$
begin
  if was_right then
    delete from sign_in_tries s where s.key = tried;
  else
    update sign_in_tries s set wrong_count = s.wrong_count - 1, wait_until = s.tried_at where s.key = tried and s.wrong_count > 0;
  end if;
  return found;
end $$;

revoke execute on function find_session(bytea), find_user_token(bytea), find_users_by_email(text, text, boolean),
  begin_sign_in_try(bytea, timestamptz), end_sign_in_try(bytea, boolean) from public;
grant execute on function find_session(bytea), find_user_token(bytea), find_users_by_email(text, text, boolean),
  begin_sign_in_try(bytea, timestamptz), end_sign_in_try(bytea, boolean) to handoff_app;
