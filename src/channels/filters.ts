import { createHash } from "node:crypto";
import { type PhoneNumber, parsePhoneNumberFromString } from "libphonenumber-js";
import { filters as builtIn, toValue } from "liquidjs";
import { DateTime } from "luxon";
import { currencyDecimals, isCurrency, withDecimals } from "../money.ts";
import { Decimal } from "./places.ts";

type Filter = (value: unknown, ...parameters: readonly unknown[]) => unknown;

/** A template uses a filter wrongly, whatever the lead: the message says what is allowed. */
export class FilterError extends Error {}

/** What LiquidJS brings and a partner's format needs. Absent from this list, among others: everything that escapes. */
const textFilters = [
  "upcase",
  "downcase",
  "capitalize",
  "strip",
  "lstrip",
  "rstrip",
  "squish",
  "strip_newlines",
  "replace",
  "replace_first",
  "remove",
  "truncate",
  "truncatewords",
  "slice",
  "split",
  "first",
  "last",
  "base64_encode",
] as const;

const numberFilters = ["plus", "minus", "times", "divided_by", "modulo", "round", "ceil", "floor", "abs"] as const;

/** These make something of nothing, and so are given a null as it is. */
const otherFilters = ["default", "append", "prepend", "size", "join"] as const;

const ownFilters: Readonly<Record<string, Filter>> = {
  at_least: number((value, bound) => Math.max(value, bound)),
  at_most: number((value, bound) => Math.min(value, bound)),
  digits: (value) => String(value).replace(/\D/g, ""),
  sha256: (value) => createHash("sha256").update(String(value)).digest("hex"),
  md5: (value) => createHash("md5").update(String(value)).digest("hex"),
  money,
  phone,
  date,
};

/**
 * Every filter a template can use, by name. A null stays null through all but `default`, `append`, `prepend`, `size`
 * and `join`, so that an absent field is still absent at the end; a filter on numbers gives null for what is none.
 */
export const templateFilters: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ...textFilters.map((name): [string, Filter] => [name, keepNull(library(name))]),
  ...numberFilters.map((name): [string, Filter] => [name, keepNull(onlyNumbers(library(name)))]),
  ...otherFilters.map((name): [string, Filter] => [name, library(name)]),
  ...Object.entries(ownFilters).map(([name, filter]): [string, Filter] => [name, keepNull(filter)]),
]);

function library(name: string): Filter {
  const filter = builtIn[name];
  if (typeof filter !== "function") throw new Error(`LiquidJS has no filter ${name} any more: take it off the list.`);
  return filter;
}

function keepNull(filter: Filter): Filter {
  return function (this: unknown, value, ...parameters) {
    return toValue(value) == null ? null : filter.call(this, value, ...parameters);
  };
}

function onlyNumbers(filter: Filter): Filter {
  return function (this: unknown, value, ...parameters) {
    return toNumber(value) === null ? null : filter.call(this, toNumber(value), ...parameters);
  };
}

function number(calculate: (value: number, parameter: number) => number): Filter {
  return onlyNumbers((value, parameter) => calculate(Number(value), toNumber(parameter) ?? Number.NaN));
}

function toNumber(value: unknown): number | null {
  const text = String(value).trim();
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : null;
}

/** Minor units to an amount: `1250 | money` is 12.50; the decimal places are a number or those of a currency code. */
function money(value: unknown, places: unknown = 2): Decimal | null {
  const decimals = typeof places === "string" ? currencyPlaces(places) : places;
  if (typeof decimals !== "number" || !Number.isInteger(decimals) || decimals < 0 || decimals > 4)
    throw new FilterError("money takes a number of decimal places from 0 to 4, or a currency code such as GBP");
  const minor = toNumber(value);
  if (minor === null || !Number.isSafeInteger(minor)) return null;
  return new Decimal(withDecimals(minor, decimals));
}

function currencyPlaces(currency: string): number | undefined {
  return isCurrency(currency) ? currencyDecimals(currency) : undefined;
}

const phoneFormats: Readonly<Record<string, (phone: PhoneNumber) => string>> = {
  e164: (phone) => phone.number,
  international: (phone) => phone.formatInternational(),
  national: (phone) => phone.formatNational(),
  country: (phone) => phone.country ?? "",
  country_code: (phone) => phone.countryCallingCode,
};

/** A number in E.164 in another notation; text that is no such number stays as it is. */
function phone(value: unknown, format: unknown = "e164"): string {
  const write = phoneFormats[String(format)];
  if (write === undefined)
    throw new FilterError(`phone takes one of ${Object.keys(phoneFormats).join(", ")}, not ${String(format)}`);
  const parsed = parsePhoneNumberFromString(String(value));
  return parsed === undefined ? String(value) : write(parsed);
}

/** The directives of strftime, each as Luxon writes it. */
const directives: Readonly<Record<string, string>> = {
  Y: "yyyy",
  y: "yy",
  m: "MM",
  d: "dd",
  e: "d",
  B: "MMMM",
  b: "MMM",
  A: "cccc",
  a: "ccc",
  j: "ooo",
  H: "HH",
  I: "hh",
  M: "mm",
  S: "ss",
  L: "SSS",
  p: "a",
  z: "ZZZ",
  s: "X",
  F: "yyyy-MM-dd",
  T: "HH:mm:ss",
};

/**
 * An ISO 8601 date or instant in another notation and, if it has a time, in another zone (UTC unless one is named).
 * Text that is no such date stays as it is.
 */
function date(value: unknown, format: unknown = "%Y-%m-%d", zone: unknown = "UTC"): string {
  const text = String(value);
  const parsed = DateTime.fromISO(text, { zone: "utc", locale: "en" });
  const shown = /^\d{4}-\d\d-\d\d$/.test(text) ? parsed : parsed.setZone(String(zone));
  if (shown.invalidReason === "unsupported zone")
    throw new FilterError(`date takes a time zone such as Europe/London, not ${String(zone)}`);
  return parsed.isValid ? strftime(shown, String(format)) : text;
}

function strftime(moment: DateTime, format: string): string {
  return format.replace(/%(-?)(.?)/g, (_, unpadded: string, directive: string) => {
    if (directive === "%") return "%";
    const token = directives[directive];
    if (token === undefined)
      throw new FilterError(`date does not know %${directive}; it knows ${Object.keys(directives).join(", ")}`);
    const written = moment.toFormat(token);
    return unpadded === "" ? written : written.replace(/^0+(?=\d)/, "");
  });
}
