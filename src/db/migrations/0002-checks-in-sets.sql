-- A foreign key looks its row up, and locks it, once for each row that is written: a fifth of what a lead cost the database.
-- The tables that every lead writes to many times are checked otherwise. Nothing they name is ever deleted (the application
-- may not), and what they name was read, and often locked, in the same transaction.

-- Every entry has its transaction and its account: the trigger checks all entries of a statement at once.
alter table entries drop constraint entries_transaction_id_fkey, drop constraint entries_account_id_fkey;
create or replace function book_entries() returns trigger
  language plpgsql security definer set search_path = public, pg_temp as $$
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
  update accounts c set balance_minor = c.balance_minor + s.amount_minor
    from (select account_id, sum(amount_minor) as amount_minor from added group by account_id) s
    where c.id = s.account_id;
  return null;
end $$;

alter table leads drop constraint leads_campaign_id_fkey, drop constraint leads_intake_key_id_fkey,
  drop constraint leads_introducer_id_fkey;
alter table lead_keys drop constraint lead_keys_lead_id_fkey;
alter table decisions drop constraint decisions_lead_id_fkey;
alter table deliveries drop constraint deliveries_lead_id_fkey, drop constraint deliveries_partner_id_fkey;
alter table attempts drop constraint attempts_delivery_id_fkey;
