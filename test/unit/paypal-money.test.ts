import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { isCurrency } from "../../src/money.ts";
import { fromPayPalMoney, payPalCurrencies, toPayPalMoney, whyNotPayable } from "../../src/payments/paypal-money.ts";

describe("amounts as PayPal writes them", () => {
  test.each([
    [1250, "GBP", "12.50"],
    [5, "USD", "0.05"],
    [1250, "JPY", "1250"],
    [125_000, "HUF", "1250"],
    [125_000, "TWD", "1250"],
  ])("%d minor units of %s are %s", (amountMinor, currency, value) => {
    expect(toPayPalMoney(amountMinor, currency)).toEqual({ currency, value });
  });

  test.each([
    ["12.5", "GBP", 1250],
    ["12", "GBP", 1200],
    ["12.500", "GBP", 1250],
    ["1250.00", "JPY", 1250],
    ["1250", "HUF", 125_000],
    ["1250.50", "HUF", 125_050],
    ["12.501", "GBP", null],
    ["1250.5", "JPY", null],
    ["-12.50", "GBP", null],
    ["1,250.00", "GBP", null],
    ["1e3", "GBP", null],
    ["", "GBP", null],
    ["12.50 ", "GBP", null],
    ["99999999999999999999", "GBP", null],
    ["12.50", "XYZ", null],
  ])("%j of %s is read as %s", (value, currency, amountMinor) => {
    expect(fromPayPalMoney({ currency, value })).toBe(amountMinor);
  });

  test("of every currency that PayPal takes are read as what was written, exactly", () => {
    const amounts = fc.tuple(fc.constantFrom(...payPalCurrencies), fc.integer({ min: 1, max: 10 ** 12 }));
    fc.assert(
      fc.property(amounts, ([currency, amount]) => {
        const amountMinor = whyNotPayable(amount, currency) === null ? amount : amount * 100;
        expect(fromPayPalMoney(toPayPalMoney(amountMinor, currency))).toBe(amountMinor);
      }),
    );
    expect(payPalCurrencies.filter((currency) => !isCurrency(currency))).toEqual([]);
  });

  test("of a currency with three decimals, or another that PayPal does not take, are refused", () => {
    for (const currency of ["KWD", "BHD", "TND", "KRW"]) {
      expect(whyNotPayable(1_000, currency)).toBe(`cannot be paid in ${currency}, which PayPal does not take`);
    }
  });
});
