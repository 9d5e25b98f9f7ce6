-- Deliveries are listed by state too. Most are delivered or under way, and found in passing; the rare states have an index,
-- which a lead that is simply delivered never enters.
create index deliveries_by_state on deliveries (organisation_id, state, id) where state not in ('sending', 'delivered');
drop index deliveries_uncertain;
