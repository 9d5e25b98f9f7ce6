-- Returns: partners give leads back, for a reason, as far as was agreed.

-- What a return may be for: [{ code, text }].
alter table organisations add column return_reasons jsonb not null default '[
  {"code": "wrong_contact", "text": "The contact details are wrong"},
  {"code": "duplicate", "text": "We have this person already"},
  {"code": "outside_filter", "text": "Not what was agreed: area, product or age"},
  {"code": "not_genuine", "text": "Not a genuine enquiry"},
  {"code": "no_interest", "text": "Not interested any more"}
]';

-- What was agreed about returns; null: the partner returns nothing by itself.
alter table partners add column return_policy jsonb;

alter table deliveries
  -- When the partner accepted. Stays, whatever becomes of the sale.
  add column sold_at timestamptz,
  -- When the sale was taken back: what was paid of it went back to the partner.
  add column reversed_at timestamptz;
update deliveries d set
  sold_at = coalesce((select min(t.occurred_at) from transactions t where t.delivery_id = d.id and t.kind = 'post'),
    case when d.state = 'delivered' then d.finished_at end, d.created_at),
  reversed_at = case when d.state = 'returned' then d.finished_at end
  where d.state in ('delivered', 'returned') or d.redelivery_of = 'delivered';
-- The leads of which a partner may return a share.
create index deliveries_sold on deliveries (partner_id, sold_at) where sold_at is not null;

create table returns (
  id uuid primary key,
  organisation_id uuid not null,
  delivery_id uuid not null references deliveries,
  lead_id uuid not null references leads,
  partner_id uuid not null references partners,
  -- Of the delivery: the month in which the return counts.
  sold_at timestamptz not null,
  state text not null check (state in ('open', 'accepted', 'declined')),
  -- From the organisation's list, with its words as they were; and what the partner wrote.
  reason_code text,
  reason_text text,
  comment text,
  -- What stood against it and was overridden by staff.
  overridden jsonb not null default '[]',
  -- What accepting it does, as agreed when it was asked for. reroute_hours: how old the lead may be to be offered to others.
  place text not null check (place in ('give_back', 'keep')),
  cost text not null check (cost in ('as_agreed', 'reverse', 'keep')),
  reroute_hours integer,
  asked_at timestamptz not null,
  asked_by text not null,
  decided_at timestamptz,
  decided_by text,
  note text,
  check ((state = 'open') = (decided_at is null))
);
-- A sale is returned once; after one that was declined staff may let there be another.
create unique index returns_one_each on returns (delivery_id) where state <> 'declined';
create index returns_by_lead on returns (lead_id, id);
create index returns_by_organisation on returns (organisation_id, id);
create index returns_by_state on returns (organisation_id, state, id);
create index returns_by_partner on returns (partner_id, id);
create index returns_counted on returns (partner_id, sold_at) where state <> 'declined';

alter table returns enable row level security;
create policy own_organisation on returns using (organisation_id = (select current_organisation()));
grant select, insert, update on returns to handoff_app;
