import { randomUUID } from "node:crypto";
import fastify from "fastify";
import { Pool } from "undici";
import { z } from "zod";
import { openQueueBackend } from "../queues/connection.ts";
import { createPool } from "../src/db/database.ts";
import { concurrency, type Mix, mixes, mixNames, pathOf, timeoutMs } from "./mixes.ts";

/**
 * What a user would write instead of Handoff: Fastify takes the lead, one insert, one BullMQ job, one POST, one update.
 * No checks, no limits, no money, no record of the exchange. Leads of a mix come to /leads/<mix>.
 */

const { DATABASE_URL, REDIS_URL, PORT, PARTNERS, ROLE } = z
  .object({
    DATABASE_URL: z.string(),
    REDIS_URL: z.string().optional(),
    PORT: z.coerce.number(),
    /** Where all partners' addresses begin. */
    PARTNERS: z.url(),
    ROLE: z.enum(["intake", "work"]),
  })
  .parse(process.env);

const leadSchema = z.object({
  n: z.string(),
  first_name: z.string(),
  last_name: z.string(),
  email: z.string(),
  phone: z.string(),
  postcode: z.string(),
  comments: z.string(),
});
type Lead = z.infer<typeof leadSchema>;
const jobSchema = z.object({ id: z.string(), mix: z.enum(mixNames), lead: leadSchema });
const pathSchema = jobSchema.pick({ mix: true });

const database = createPool(DATABASE_URL, "owner", 20);
const queues = openQueueBackend({
  redisUrl: REDIS_URL,
  createPool: (size) => createPool(DATABASE_URL, "queue", size),
  prefix: "bare",
  onError: (error) => process.stderr.write(`${error.message}\n`),
});

async function takeIn(): Promise<void> {
  const queue = queues.openQueue("leads");
  const api = fastify();
  api.post("/leads/:mix", async (request, reply) => {
    const { mix } = pathSchema.parse(request.params);
    const lead = leadSchema.parse(request.body);
    const id = randomUUID();
    await database.query("insert into bare_leads (id, mix, fields) values ($1, $2, $3)", [id, mix, lead]);
    await queue.add("send", { id, mix, lead }, {});
    return reply.code(201).send({ id });
  });
  await api.listen({ port: PORT, host: "127.0.0.1" });
}

function work(): void {
  const { origin, pathname } = new URL(PARTNERS);
  const partners = new Pool(origin, { connections: concurrency, pipelining: 1 });
  queues.openWorker("leads", concurrency, async (data) => {
    const { id, mix, lead } = jobSchema.parse(data);
    const state = (await send(partners, pathname, mixes[mix], lead)) ? "delivered" : "failed";
    await database.query("update bare_leads set state = $2 where id = $1", [id, state]);
  });
}

async function send(partners: Pool, base: string, mix: Mix, lead: Lead): Promise<boolean> {
  try {
    const answer = await partners.request({
      method: "POST",
      path: base + pathOf(mix, Number(lead.n) % mix.partnerCount),
      headers: { "content-type": mix.format === "json" ? "application/json" : "application/soap+xml" },
      body: mix.format === "json" ? toJson(lead) : toSoap(lead),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await answer.body.text();
    return answer.statusCode === 200 && /success|accepted/.test(text);
  } catch {
    return false;
  }
}

function toJson({ n, first_name, last_name, email, phone, postcode, comments }: Lead): string {
  return JSON.stringify({ n, firstName: first_name, lastName: last_name, email, phone, postcode, comments });
}

function toSoap({ n, first_name, last_name, email, phone, postcode, comments }: Lead): string {
  const element = (name: string, value: string) =>
    `<${name}>${value.replace(/&/g, "&amp;").replace(/</g, "&lt;")}</${name}>`;
  const fields = { n, firstName: first_name, lastName: last_name, email, phone, postcode, comments };
  const inner = Object.entries(fields).map(([name, value]) => element(name, value));
  return `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><SubmitLead xmlns="urn:example">${inner.join("")}</SubmitLead></s:Body></s:Envelope>`;
}

if (ROLE === "intake") await takeIn();
else work();
process.stdout.write("ready\n");
process.on("SIGTERM", () => process.exit());
