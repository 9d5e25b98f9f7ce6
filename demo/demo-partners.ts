import { DateTime } from "luxon";
import { soapAction } from "./partner-formats.ts";
import type { DemoReceivers } from "./receivers.ts";

const timeZone = "Europe/London";

/** What the demo partners have in common: London, pounds, and credit for the first day. */
const shared = { timeZone, currency: "GBP", leadValue: 1250, creditLimit: 500_000 };

const soapBody = `<SubmitLead xmlns="urn:demo-partner">
  <firstName>{{ lead.first_name }}</firstName>
  <lastName>{{ lead.last_name }}</lastName>
  <email>{{ lead.email }}</email>
  <phone>{{ lead.phone }}</phone>
  <postcode>{{ lead.postcode }}</postcode>
  <comments>{{ lead.comments }}</comments>
</SubmitLead>`;

const xmlBody = `<?xml version="1.0" encoding="UTF-8"?>
<lead id="{{ lead.id }}">
  <name first="{{ lead.first_name }}" last="{{ lead.last_name }}"/>
  <firstName>{{ lead.first_name }}</firstName>
  <email>{{ lead.email }}</email>
  <phone>{{ lead.phone }}</phone>
  <postcode>{{ lead.postcode }}</postcode>
  <comments>{{ lead.comments }}</comments>
</lead>`;

const jsonBody = `{
  "firstName": "{{ lead.first_name }}",
  "lastName": "{{ lead.last_name }}",
  "email": {{ lead.email }},
  "phone": {{ lead.phone }},
  "postcode": {{ lead.postcode }},
  "homeowner": {{ lead.homeowner }},
  "comments": {{ lead.comments }}
}`;

const xmlAnswer = {
  success: { path: "//status", equals: "accepted" },
  reason: "//reason",
  reference: "//reference",
};

/**
 * One partner for each way of delivery, and one that is closed until two hours from now and is waited for. That one takes no
 * leads from SW, so that a lead sent by the printed command is delivered at once.
 */
export const notFromSouthWest = { not: { field: "postcode", op: "startsWith", value: "SW" } };

/** The demo's partners, as documents. */
export function demoPartners({ partnerUrls }: DemoReceivers, now: Date): readonly Record<string, unknown>[] {
  const json = {
    method: "json",
    url: partnerUrls.json,
    body: jsonBody,
    success: { path: "$.outcome", equals: "success" },
    reason: "$.reason",
    reference: "$.lead.id",
  };
  return [
    { ...shared, name: "Acme Cover", internet: json },
    {
      ...shared,
      name: "Beech Insurance",
      internet: { method: "xml", url: partnerUrls.xml, body: xmlBody, ...xmlAnswer },
    },
    {
      ...shared,
      name: "Cedar Mutual",
      limits: { day: 20 },
      internet: { method: "soap11", url: partnerUrls.soap11, action: soapAction, body: soapBody, ...xmlAnswer },
    },
    {
      ...shared,
      name: "Dunlin Brokers",
      contact: { email: "desk@dunlin.test", phone: "+447700900123" },
      alerts: { leadReferredSms: true },
      internet: { method: "soap12", url: partnerUrls.soap12, action: soapAction, body: soapBody, ...xmlAnswer },
    },
    {
      ...shared,
      name: "Elm & Daughters",
      internet: {
        method: "post",
        url: partnerUrls.post,
        fields: [
          ["firstName", "{{ lead.first_name }}"],
          ["lastName", "{{ lead.last_name }}"],
          ["email", "{{ lead.email }}"],
          ["phone", "{{ lead.phone }}"],
          ["postcode", "{{ lead.postcode }}"],
          ["comments", "{{ lead.comments }}"],
        ],
        success: { contains: "ACCEPTED" },
      },
    },
    { ...shared, name: "Foxglove Direct", email: { to: ["leads@foxglove.test"] } },
    { ...shared, name: "Gannet (closed now)", internet: json, whenClosed: "hold", schedule: openLater(now) },
  ];
}

/** Open for half an hour, two hours from now, on whatever weekday that is. */
function openLater(now: Date): Record<string, unknown> {
  const from = DateTime.fromJSDate(now, { zone: timeZone }).plus({ hours: 2 }).startOf("minute");
  const to = from.plus({ minutes: 30 });
  const weekday = from.setLocale("en").toFormat("ccc").toLowerCase();
  return { [weekday]: [{ from: from.toFormat("HH:mm"), to: to.toFormat("HH:mm") }] };
}
