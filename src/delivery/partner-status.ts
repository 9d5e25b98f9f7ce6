/** What a partner may say that became of a lead. A lead of which it has said nothing is new. */
export const partnerStatuses = ["new", "contacted", "qualified", "won", "lost"] as const;
export type PartnerStatus = (typeof partnerStatuses)[number];
