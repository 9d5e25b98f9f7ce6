import { domainToASCII } from "node:url";
import { isSupportedCountry, parsePhoneNumberFromString } from "libphonenumber-js";
import type { FieldValue } from "../channels/contract.ts";
import { moneyDecimals } from "../channels/money-fields.ts";
import { type Field, foldCase } from "./fields.ts";

export const problemCodes = [
  "required",
  "wrong_type",
  "too_long",
  "invalid_email",
  "invalid_phone",
  "invalid_date",
  "invalid_number",
  "out_of_range",
  "too_many_decimals",
  "invalid_boolean",
  "not_a_choice",
  "invalid_postcode",
  "extra_too_large",
  "extra_too_deep",
] as const;
export type ProblemCode = (typeof problemCodes)[number];

export type Reading = { readonly value: FieldValue } | { readonly code: ProblemCode; readonly message: string };

/** No value but a text can be as long as this. */
const maxGivenLength = 1_000;

/**
 * The value that a campaign keeps of what was given for one field: null where an optional field is absent. What each
 * type takes is told at `normaliseFields`.
 */
export function readField(field: Field, raw: unknown): Reading {
  const given = typeof raw === "string" ? cleanText(raw).trim() : raw;
  if (given === undefined || given === null || given === "") {
    return field.required ? { code: "required", message: "must be given" } : { value: null };
  }
  if (typeof given !== "string" && typeof given !== "number" && typeof given !== "boolean") {
    return { code: "wrong_type", message: "must be one value, not a list or an object" };
  }
  if (field.type === "boolean") return readBoolean(given);
  if (typeof given === "boolean") return { code: "wrong_type", message: "must be a text or a number" };
  if (field.type === "number") return readNumber(field, given);
  if (field.type === "money") return readMoney(field, given);
  const text = String(given);
  if (field.type === "text") return readText(field, text);
  if (text.length > maxGivenLength) {
    return { code: "too_long", message: `must be at most ${maxGivenLength} characters` };
  }
  switch (field.type) {
    case "email":
      return readEmail(text);
    case "phone":
      return readPhone(field, text);
    case "date":
      return readDate(field, text);
    case "choice":
      return readChoice(field, text);
    case "postcode":
      return readPostcode(field, text);
  }
}

type FieldOf<T extends Field["type"]> = Extract<Field, { type: T }>;

const plainText = /^[\x20-\x7e\n\t]*$/;
const controlsBesidesTabAndLineFeed = /[^\P{Cc}\n\t]/gu;
const halvesOfCharacters = /\p{Cs}/gu;

/** NFC, line ends as line feeds, and nothing that PostgreSQL or XML would choke on: no NUL, no half of a character. */
export function cleanText(text: string): string {
  if (plainText.test(text)) return text;
  return text
    .replace(/\r\n?/g, "\n")
    .replace(controlsBesidesTabAndLineFeed, "")
    .replace(halvesOfCharacters, "\ufffd")
    .normalize("NFC");
}

const defaultMaxLength = 5_000;

function readText(field: FieldOf<"text">, text: string): Reading {
  const maxLength = field.maxLength ?? defaultMaxLength;
  // Counted as a person counts only where it matters: an emoji is two code units and one character.
  const tooLong = text.length > maxLength && (text.length > 2 * maxLength || [...text].length > maxLength);
  return tooLong ? { code: "too_long", message: `must be at most ${maxLength} characters` } : { value: text };
}

/** RFC 5321: 64 octets before the @, 254 in all. Quoted local parts and address literals are left out on purpose. */
const localPart = /^[\p{L}\p{N}!#$%&'*+/=?^_`{|}~-]+(\.[\p{L}\p{N}!#$%&'*+/=?^_`{|}~-]+)*$/u;
const domainName = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+(?=[^.]*[a-z])[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$/;
const notAnEmail = { code: "invalid_email", message: "must be an e-mail address, such as ann@example.com" } as const;

function readEmail(text: string): Reading {
  const at = text.lastIndexOf("@");
  const local = text.slice(0, at);
  const written = text.slice(at + 1).toLowerCase();
  const domain = plainText.test(written) ? written : domainToASCII(written);
  if (at < 1 || local.length > 64 || local.length + 1 + domain.length > 254) return notAnEmail;
  if (!localPart.test(local) || !domainName.test(domain)) return notAnEmail;
  return { value: `${local}@${domain}` };
}

function readPhone(field: FieldOf<"phone">, text: string): Reading {
  const country = field.country !== undefined && isSupportedCountry(field.country) ? field.country : undefined;
  // Without a country there is no national prefix that 00 could belong to.
  const written = country === undefined ? text.replace(/^00/, "+") : text;
  const number = parsePhoneNumberFromString(written, {
    extract: false,
    ...(country !== undefined && { defaultCountry: country }),
  });
  // Possible, not valid: which ranges are in use changes faster than the library, and a lead lost to that is lost.
  if (number === undefined || !number.isPossible() || /^0*$/.test(number.nationalNumber)) {
    const hint = country === undefined ? "with its country code" : `of ${country}, or with a country code`;
    return { code: "invalid_phone", message: `must be a telephone number ${hint}, such as +442079460000` };
  }
  return { value: number.number };
}

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const monthName =
  "(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)";
const isoDate = /^(\d{4})-(\d{1,2})-(\d{1,2})([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s?(Z|[+-]\d{2}(:?\d{2})?)?)?$/i;
const yearFirst = /^(\d{4})([/.])(\d{1,2})\2(\d{1,2})$/;
const onlyDigits = /^(\d{4})(\d{2})(\d{2})$/;
const yearLast = /^(\d{1,2})([-/. ])(\d{1,2})\2(\d{4})$/;
const dayThenName = new RegExp(`^(\\d{1,2})(?:st|nd|rd|th)?[-/. ]+${monthName}[-/., ]+(\\d{4})$`, "i");
const nameThenDay = new RegExp(`^${monthName}[-/. ]+(\\d{1,2})(?:st|nd|rd|th)?[-/., ]+(\\d{4})$`, "i");

function readDate(field: FieldOf<"date">, text: string): Reading {
  const found = [...new Set(readingsOfDate(field, text))];
  if (found.length === 1 && found[0] !== undefined) return { value: found[0] };
  const message =
    found.length === 0
      ? "must be a date that exists, such as 2026-12-25"
      : `could be ${found.join(" or ")}: write it as YYYY-MM-DD`;
  return { code: "invalid_date", message };
}

/** Every date that the text may mean, in ISO form: more than one for 03/04/2026 where the field names no order. */
function readingsOfDate(field: FieldOf<"date">, text: string): string[] {
  const iso = isoDate.exec(text);
  if (iso !== null) return dateOf(iso[1], iso[2], iso[3]);
  const first = yearFirst.exec(text);
  if (first !== null) return dateOf(first[1], first[3], first[4]);
  const digits = onlyDigits.exec(text);
  if (digits !== null) return dateOf(digits[1], digits[2], digits[3]);
  const dayName = dayThenName.exec(text);
  if (dayName !== null) return dateOf(dayName[3], monthNumber(dayName[2]), dayName[1]);
  const nameDay = nameThenDay.exec(text);
  if (nameDay !== null) return dateOf(nameDay[3], monthNumber(nameDay[1]), nameDay[2]);
  const last = yearLast.exec(text);
  if (last === null) return [];
  const dayFirst = field.format === "mdy" || field.format === "ymd" ? [] : dateOf(last[4], last[3], last[1]);
  const monthFirst = field.format === "dmy" || field.format === "ymd" ? [] : dateOf(last[4], last[1], last[3]);
  return [...dayFirst, ...monthFirst];
}

function monthNumber(name = ""): string {
  return String(months.indexOf(name.slice(0, 3).toLowerCase()) + 1);
}

/** The date in ISO form, or nothing where the calendar has no such date or it lies outside 1800 to 2200. */
function dateOf(year = "", month = "", day = ""): string[] {
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  const exists = date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
  return exists && Number(year) >= 1800 && Number(year) <= 2200 ? [date.toISOString().slice(0, 10)] : [];
}

/** 1234.5, or 1,234.5 with the thousands set off; never 1.234,5, which would be another number to somebody else. */
const decimal = /^([+-]?)(\d+|\d{1,3}(?:,\d{3})+)?(?:\.(\d+))?$/;
const notANumber = { code: "invalid_number", message: "must be a number, such as 1234.50" } as const;

function readDecimal(text: string) {
  const [found, sign, whole = "", fraction = ""] = (text.length <= maxGivenLength && decimal.exec(text)) || [];
  if (found === undefined || whole + fraction === "") return null;
  return { sign: sign === "-" ? "-" : "", whole: whole.replaceAll(",", "") || "0", fraction };
}

function readNumber(field: FieldOf<"number">, given: string | number): Reading {
  const parts = typeof given === "number" ? null : readDecimal(given);
  if (typeof given === "string" && parts === null) return notANumber;
  const written = parts === null ? String(given) : `${parts.sign}${parts.whole}.${parts.fraction}`;
  const value = exactNumber(written);
  if (value === null) {
    return Math.abs(Number(written)) <= Number.MAX_SAFE_INTEGER
      ? { code: "too_many_decimals", message: "has more decimals than a number can hold" }
      : { code: "out_of_range", message: `must be between ±${Number.MAX_SAFE_INTEGER}` };
  }
  return withinLimits(field, value);
}

function withinLimits(field: FieldOf<"number" | "money">, value: number): Reading {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = field;
  const unit = field.type === "money" ? " minor units" : "";
  if (value < min) return { code: "out_of_range", message: `must be at least ${min}${unit}` };
  if (value > max) return { code: "out_of_range", message: `must be at most ${max}${unit}` };
  return { value };
}

/** The number that a decimal literal names; null where JavaScript would round it, and for an integer beyond 2^53 - 1. */
export function exactNumber(literal: string): number | null {
  const value = Number(literal);
  if (!(Math.abs(value) <= Number.MAX_SAFE_INTEGER)) return null;
  if (value === 0) return /[1-9]/.test(literal.replace(/e.*/i, "")) ? null : 0;
  return literal.length <= 15 || digitsOf(literal) === digitsOf(String(value)) ? value : null;
}

/** The significant digits of a decimal literal and the power of ten they stand for. */
function digitsOf(literal: string): string {
  const [mantissa = "", exponent = "0"] = literal.toLowerCase().replace(/^[+-]/, "").split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const digits = (whole + fraction).replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  return `${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}

const currencySigns: Readonly<Record<string, string>> = { GBP: "£", EUR: "€", USD: "$", CAD: "$", AUD: "$", NZD: "$" };

function readMoney(field: FieldOf<"money">, given: string | number): Reading {
  const decimals = moneyDecimals(field);
  const text = typeof given === "number" ? plainDecimal(given) : withoutCurrency(field, given);
  const parts = readDecimal(text);
  if (parts === null) return { ...notANumber, message: "must be an amount of money, such as 1234.50" };
  if (parts.fraction.length > decimals) {
    return { code: "too_many_decimals", message: `must have at most ${decimals} decimals` };
  }
  const minor = Number(`${parts.sign}${parts.whole}${parts.fraction.padEnd(decimals, "0")}`);
  if (!Number.isSafeInteger(minor)) {
    return { code: "out_of_range", message: `must be between ±${Number.MAX_SAFE_INTEGER} minor units` };
  }
  return withinLimits(field, minor === 0 ? 0 : minor);
}

/** JavaScript writes 1e21 and 1e-7 with an exponent. */
function plainDecimal(value: number): string {
  const text = String(value);
  if (!text.includes("e")) return text;
  return Math.abs(value) < 1 ? value.toFixed(20) : BigInt(value).toString();
}

/** The sign or the name of the field's own currency may stand before or after the amount; another's may not. */
function withoutCurrency(field: FieldOf<"money">, text: string): string {
  if (field.currency === undefined) return text;
  const marks = [field.currency, currencySigns[field.currency] ?? field.currency];
  const upper = text.toUpperCase();
  for (const mark of marks) {
    if (upper.startsWith(mark)) return text.slice(mark.length).trim();
    if (upper.endsWith(mark)) return text.slice(0, -mark.length).trim();
  }
  return text;
}

const booleans = new Map<unknown, boolean>([
  ...["true", "yes", "y", "1", "on"].map((word) => [word, true] as const),
  ...["false", "no", "n", "0", "off"].map((word) => [word, false] as const),
]);

function readBoolean(given: string | number | boolean): Reading {
  const value = booleans.get(String(given).toLowerCase());
  return value === undefined ? { code: "invalid_boolean", message: "must be yes or no" } : { value };
}

function readChoice(field: FieldOf<"choice">, text: string): Reading {
  const folded = foldCase(text);
  const choice = field.choices.find((declared) => foldCase(declared) === folded);
  if (choice !== undefined) return { value: choice };
  const shown = field.choices.slice(0, 20).join(", ");
  const more = field.choices.length > 20 ? ` and ${field.choices.length - 20} more` : "";
  return { code: "not_a_choice", message: `must be one of ${shown}${more}` };
}

/** BS 7666; GIR 0AA is the one exception to the pattern. */
const postcodeOfGreatBritain =
  /^(GIR|[A-PR-UWYZ]\d{1,2}|[A-PR-UWYZ][A-HK-Y]\d{1,2}|[A-PR-UWYZ]\d[A-HJKPSTUW]|[A-PR-UWYZ][A-HK-Y]\d[ABEHMNPRVWXY])(\d[ABD-HJLNP-UW-Z]{2})$/;
const zipCode = /^(\d{5})-?(\d{4})?$/;
const anyPostcode = /^[\p{L}\p{N}](?:[\p{L}\p{N} -]{0,14}[\p{L}\p{N}])?$/u;

function readPostcode(field: FieldOf<"postcode">, text: string): Reading {
  const upper = text.toUpperCase();
  if (field.country === "GB") {
    const [, outward, inward] = postcodeOfGreatBritain.exec(upper.replace(/\s+/g, "")) ?? [];
    return outward === undefined
      ? notAPostcode("of Great Britain, such as SW1A 1AA")
      : { value: `${outward} ${inward}` };
  }
  if (field.country === "US") {
    const [, five, four] = zipCode.exec(upper.replace(/\s+/g, "")) ?? [];
    if (five === undefined) return notAPostcode("of the United States, such as 90210 or 90210-1234");
    return { value: four === undefined ? five : `${five}-${four}` };
  }
  const spaced = upper.replace(/\s+/g, " ");
  return anyPostcode.test(spaced) ? { value: spaced } : notAPostcode("of letters and digits, at most 16 characters");
}

function notAPostcode(kind: string): Reading {
  return { code: "invalid_postcode", message: `must be a postcode ${kind}` };
}
