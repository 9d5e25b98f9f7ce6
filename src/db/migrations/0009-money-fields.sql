-- Which fields of a campaign's leads are money: what prints them for people has to know their decimals.
alter table campaigns add column money_fields jsonb not null
  generated always as (jsonb_path_query_array(fields, '$[*] ? (@.type == "money")')) stored;
