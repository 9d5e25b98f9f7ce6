type Detail = Readonly<Record<string, unknown>>;

/**
 * What happened to a referral of a deal, in words: to whom it goes, over which link and under which id, as far as that is still
 * known. Gives null for events of other kinds.
 */
export function tellReferral(kind: string, actor: string, detail: Detail): string | null {
  const words = wordsFor(kind, detail);
  if (words === null) return null;
  const who = actor === "system" ? "" : ` (${actor})`;
  return `${words}${who}${toldOf(detail, "reason", (reason) => `: ${reason}`)}`.replace(/\.?$/, ".");
}

function wordsFor(kind: string, detail: Detail): string | null {
  const organisation = textOf(detail, "organisation") ?? "another organisation";
  const over = toldOf(detail, "link", (link) => ` over “${link}”`);
  const as = toldOf(detail, "referralId", (id) => `, as referral ${id}`);
  const there = toldOf(detail, "receivedAs", (id) => `, is ${id} there`);
  switch (kind) {
    case "deal_referred":
      return `It was referred to ${organisation}${over}${as}`;
    case "deal_sent":
      return `The referral arrived at ${organisation}${over}${there}${as}`;
    case "deal_refused":
      return `The referral${over} was refused${as}`;
    case "deal_failed":
      return `The referral${over} could not be sent${as}`;
    case "deal_cancelled":
      return `The referral${over} was not sent${as}`;
    case "deal_retried":
      return `The referral${over} is tried again${as}`;
    case "deal_status":
      return `What became of the referral${over}${toldOf(detail, "status", (status) => `: ${status}`)}${as}`;
    default:
      return null;
  }
}

function toldOf(detail: Detail, key: string, tell: (text: string) => string): string {
  const text = textOf(detail, key);
  return text === null ? "" : tell(text);
}

function textOf(detail: Detail, key: string): string | null {
  const value = detail[key];
  return typeof value === "string" ? value : null;
}
