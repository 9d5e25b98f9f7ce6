import { DateTime } from "luxon";
import type { DeliveryState } from "../db/tables.ts";
import { escapeHtml, htmlPage, htmlPagePolicy } from "../http/html-page.ts";
import { formatMoney } from "../money.ts";
import type { AnswerOfferResult } from "./answer-offer.ts";
import type { OfferView } from "./present-offer.ts";

/** What a partner sees behind the link to an offer: plain pages without scripts, of which only a button does anything. */

const style = `body { font: 16px/1.5 sans-serif; max-width: 36rem; margin: 2rem auto; padding: 0 1rem; color: #1f2933 }
table { border-collapse: collapse } th { text-align: left; padding: 4px 16px 4px 0; vertical-align: top } td { padding: 4px 0 }
button { font: inherit; padding: 8px 24px; margin: 16px 8px 0 0; cursor: pointer }`;

export const pagePolicy = htmlPagePolicy(style);

export interface Page {
  readonly status: number;
  readonly html: string;
}

/** The link was not made by us, or what it was for is nowhere to be found. */
export const wrongLinkPage: Page = {
  status: 404,
  html: document("This link is not right", [
    "It was cut off or changed on the way. Please open it again from the message, whole.",
  ]),
};

/** What the link shows when it is looked at, which changes nothing. */
export function offerPage(offer: OfferView, now: Date): Page {
  const isOpen = offer.state === "offered" && offer.until > now;
  return isOpen ? { status: 200, html: openPage(offer) } : { status: 200, html: closedPage(offer) };
}

/** What follows a button. */
export function answeredPage(result: AnswerOfferResult, offer: OfferView): Page {
  switch (result.kind) {
    case "accepted":
      return {
        status: 200,
        html: document("Thank you", ["You have accepted the lead. It is being delivered to you as usual."]),
      };
    case "declined":
      return { status: 200, html: document("Thank you", ["You have declined the lead. It costs you nothing."]) };
    case "already":
      return { status: 409, html: closedPage(offer) };
    case "expired":
      return { status: 410, html: closedPage({ ...offer, state: "expired" }) };
    case "not_found":
      return wrongLinkPage;
  }
}

function openPage(offer: OfferView): string {
  const { organisationName, campaignName, partnerName, priceMinor, currency, preview } = offer;
  const price = priceMinor === 0 ? "nothing" : `up to ${formatMoney(priceMinor, currency)}`;
  const rows = preview.map(({ label, text }) => `<tr><th>${escapeHtml(label)}</th><td>${escapeHtml(text)}</td></tr>`);
  const empty = "<p>Nothing of it is shown before you accept it.</p>";
  const shown = rows.length === 0 ? empty : `<table>${rows.join("")}</table>`;
  return page(
    `A lead for ${partnerName}`,
    `<p>${escapeHtml(organisationName)} offers you a lead from ${escapeHtml(campaignName)}, received ${instant(offer.receivedAt, offer)}.</p>
${shown}
<p>It costs you ${escapeHtml(price)}. You can accept it until <strong>${instant(offer.until, offer)}</strong>; then it goes to others.</p>
<form method="post">
<button name="answer" value="accept">Accept</button>
<button name="answer" value="decline">Decline</button>
</form>`,
  );
}

function closedPage(offer: OfferView): string {
  const [title, text] = closedWords(offer);
  return document(title, [text]);
}

function closedWords(offer: OfferView): readonly [title: string, text: string] {
  const answered = offer.answeredAt === null ? "" : ` on ${instant(offer.answeredAt, offer)}`;
  const late = "The time to answer is over";
  switch (offer.state satisfies DeliveryState) {
    case "offered":
    case "expired":
      return [late, `The lead could be accepted until ${instant(offer.until, offer)}. It has gone on to others.`];
    case "declined":
      return ["Declined", `You declined this lead${answered}.`];
    case "cancelled":
      return ["Taken back", "The offer was taken back. The lead costs you nothing."];
    case "returned":
      return ["Returned", `You accepted this lead${answered}, and it was returned.`];
    case "rejected":
    case "failed":
      return [
        "Not delivered",
        `You accepted this lead${answered}, and it could not be delivered. It costs you nothing.`,
      ];
    default:
      return ["Accepted", `You accepted this lead${answered}. There is nothing more to do here.`];
  }
}

function instant(at: Date, { timeZone }: OfferView): string {
  return escapeHtml(
    `${DateTime.fromJSDate(at, { zone: timeZone }).setLocale("en").toFormat("d MMMM yyyy, HH:mm")} (${timeZone})`,
  );
}

/** Paragraphs are our own words, or escaped already. */
function document(title: string, paragraphs: readonly string[]): string {
  return page(title, paragraphs.map((text) => `<p>${text}</p>`).join("\n"));
}

function page(title: string, body: string): string {
  return htmlPage(style, title, body);
}
