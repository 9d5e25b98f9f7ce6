/**
 * What a person has to confirm before a deal leaves for another organisation. Takes that organisation as it is known here,
 * and the name of the link.
 */
export function confirmationText(party: string, link: string): string {
  return [
    `All clients, contacts and deal data go to another organisation's system: that of ${party}, over ${link}.`,
    "Of fields and notes, those that are marked as shareable go.",
    "This cannot be undone.",
    `The privacy document must say that client data is shared with ${party}.`,
    "If that is so, send the request again with confirmed: true.",
  ].join(" ");
}
