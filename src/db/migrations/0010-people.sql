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

-- Wrong tries to sign in, by a keyed hash of what was tried: the account need not exist.
create table sign_in_tries (
  key bytea primary key,
  wrong_count integer not null,
  wait_until timestamptz not null,
  tried_at timestamptz not null
);

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

create function find_session(lookup bytea) returns table (organisation_id uuid, session_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select s.organisation_id, s.id from sessions s where s.token_lookup = lookup $$;

create function find_user_token(lookup bytea) returns table (organisation_id uuid, user_token_id uuid)
  language sql stable security definer set search_path = public, pg_temp
  as $$ select t.organisation_id, t.id from user_tokens t where t.token_lookup = lookup $$;

revoke execute on function find_session(bytea), find_user_token(bytea) from public;
grant execute on function find_session(bytea), find_user_token(bytea) to handoff_app;
