/** What an operator has to know of the errors that do occur (https://www.twilio.com/docs/api/errors). */
const reasons: Readonly<Record<number, string>> = {
  20003: "Twilio did not accept TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN.",
  20429: "Twilio takes no more messages at the moment.",
  21210: "TWILIO_CALLER is not a number that this Twilio account may call from.",
  21211: "The number is not a valid phone number.",
  21215: "The Twilio account may not call this country.",
  21408: "The Twilio account may not send to this country.",
  21606: "TWILIO_FROM is not a number that can send SMS.",
  21610: "The recipient has unsubscribed by replying STOP.",
  21612: "TWILIO_FROM cannot send to this number.",
  21614: "The number is not a mobile number.",
  21659: "TWILIO_FROM is not a number of this Twilio account.",
  21660: "TWILIO_FROM is not a number of this Twilio account.",
  30003: "The phone cannot be reached: switched off, out of range, or not able to receive SMS.",
  30004: "The recipient blocks the message.",
  30005: "The number is not known or no longer in use.",
  30006: "The number is a landline, or its network cannot be reached.",
  30007: "The network filtered the message out as unwanted.",
  30008: "The network did not deliver the message and did not say why.",
  30034: "The number in TWILIO_FROM is not registered for sending to the USA (A2P 10DLC).",
};

const longestMessage = 300;

/** Takes Twilio's error code and message, either of which may be absent. Gives one or two plain sentences with the code. */
export function explainTwilioError(code: number | null, message: string | null): string {
  const known = code === null ? undefined : reasons[code];
  const given = message === null ? undefined : `Twilio says: ${message.slice(0, longestMessage)}`;
  const reason = known ?? given ?? "Twilio did not say why.";
  return code === null ? reason : `${reason} (Twilio error ${code})`;
}
