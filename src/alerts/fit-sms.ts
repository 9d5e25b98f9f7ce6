import { SegmentedMessage } from "sms-segments-calculator";

/** Text as it goes to the SMS service, and what it is charged as. */
export interface SmsText {
  readonly body: string;
  readonly segments: number;
}

/** Nobody reads a longer alert, and each segment costs. */
const maximumSegments = 4;

/** What four segments of a longer text hold beside their headers: septets of GSM-7, or UTF-16 units of any other text. */
const maximumUnits = { "GSM-7": 4 * 153, "UCS-2": 4 * 67 };

/** More never fits, and counting takes time that grows with the square of the length. */
const maximumLength = 700;

const mark = "...";

/**
 * Makes any text fit for an SMS and counts its segments. Typographic characters that have a plain counterpart (curly
 * quotes, dashes, odd blanks) become plain, because a single one would turn the whole text into UCS-2 with 70 characters
 * to a segment instead of 160; letters and emoji stay as they are, and cost that. A text of more than four segments is
 * cut between characters, never inside one, and ends in `...`.
 */
export function fitSms(text: string): SmsText {
  // An accent apart from its letter would count as another alphabet; half a surrogate pair is no character at all.
  const regular = text
    .normalize("NFC")
    .replace(/\p{Zs}/gu, " ")
    .slice(0, maximumLength)
    .replace(/\p{Surrogate}/gu, "\ufffd");
  const whole = new SegmentedMessage(regular, "auto", true);
  const kept = charactersThatFit(whole);
  for (let message = whole; ; kept.pop()) {
    if (message.segmentsCount <= maximumSegments) return toSmsText(message);
    message = new SegmentedMessage(kept.join("").trimEnd() + mark, "auto", true);
  }
}

/** Almost: a character that would be torn by the end of a segment moves on to the next and leaves a gap. */
function charactersThatFit(message: SegmentedMessage): string[] {
  const most = maximumUnits[message.encodingName] - mark.length;
  let units = 0;
  const end = message.encodedChars.findIndex((character) => {
    units += character.codeUnits.length;
    return units > most;
  });
  return message.graphemes.slice(0, end === -1 ? undefined : end);
}

/** The graphemes are what was counted, with the replacements made: the service has nothing left to replace. */
function toSmsText(message: SegmentedMessage): SmsText {
  return { body: message.graphemes.join(""), segments: message.segmentsCount };
}
