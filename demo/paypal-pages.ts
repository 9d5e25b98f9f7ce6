import { escapeMarkup } from "./partner-formats.ts";
import type { Books, Capture, Order } from "./paypal-books.ts";

/** The pages of the demo's PayPal. Everything on them came from outside and is escaped. */

const head = (title: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { border-top: 1px solid #ccc; padding: .3rem .6rem; text-align: left }
button { font: inherit; margin: .2rem .4rem .2rem 0; padding: .3rem .8rem } form { display: inline }
</style>
</head>
`;

/** Where a payer approves a payment, or does not. */
export function approvalPage(books: Books, order: Order): string {
  const amount = escapeMarkup(`${order.amount.value} ${order.amount.currency_code}`);
  const button = (choice: string, words: string) => `<button name="choice" value="${choice}">${words}</button>`;
  const isPaid = books.capturesOf(order.id).length > 0;
  const choices = [
    button("at_once", "Pay now"),
    button("for_review", "Pay, and have PayPal check it first"),
    button("refused", "Pay with a card that is refused"),
    button("cancel", "Cancel and go back"),
  ];
  return `${head("PayPal of the demo")}<body>
<h1>${amount}</h1>
<p>${escapeMarkup(order.description)}</p>
<p>This stands for PayPal. No money moves.</p>
${isPaid ? "<p>This is paid.</p>" : `<form method="post">${choices.join("\n")}</form>`}
</body>
</html>
`;
}

/** All payments, and what PayPal or the seller may do with each in PayPal's own dashboard. */
export function paymentsPage(books: Books): string {
  const rows = [...books.captures.values()].reverse().slice(0, 50).map(row);
  return `${head("PayPal of the demo")}<body>
<h1>Payments at the demo's PayPal</h1>
<table>
<tr><th>Payment</th><th>Amount</th><th>Status</th><th></th></tr>
${rows.join("\n")}
</table>
</body>
</html>
`;
}

function row({ id, amount, status }: Capture): string {
  const acts =
    status === "PENDING"
      ? [["complete", "Complete it"] as const, ["decline", "Decline it"] as const]
      : status === "COMPLETED" || status === "PARTIALLY_REFUNDED"
        ? [["refund", "Refund it"] as const, ["reverse", "Reverse it"] as const]
        : [];
  const buttons = acts.map(([act, words]) => `<button name="act" value="${act}">${words}</button>`).join("");
  const form = `<form method="post" action="/act"><input type="hidden" name="capture" value="${id}">${buttons}</form>`;
  return `<tr><td>${id}</td><td>${escapeMarkup(`${amount.value} ${amount.currency_code}`)}</td><td>${status}</td><td>${form}</td></tr>`;
}
