import { z } from "zod";
import { readWsdl } from "../channels/read-wsdl.ts";
import type { Context } from "../context.ts";
import { type Api, problems } from "../http/api.ts";
import { sendProblem } from "../http/send-problem.ts";

/** A WSDL of 2 MiB as a JSON string. */
const bodyLimitBytes = 3 * 1024 * 1024;

/** Each reading is a thread with memory of its own. */
const mostAtOnce = 2;
const retryAfterSeconds = 5;

const wsdlSchema = z
  .strictObject({
    text: z.string().min(1).optional().meta({ description: "the WSDL itself" }),
    url: z.string().min(1).max(4_096).optional().meta({ description: "where it lies" }),
  })
  .refine(({ text, url }) => (text === undefined) !== (url === undefined), "must have either text or url");

const operationAnswer = z.object({
  name: z.string(),
  method: z.enum(["soap11", "soap12"]),
  url: z.string(),
  action: z.string(),
  body: z.string().meta({ description: "the envelope, with a variable in every place that takes a value" }),
});

/** Tools that help to set a partner up. */
export function wsdlRoutes(api: Api, context: Context): void {
  let underWay = 0;
  api.post(
    "/tools/wsdl",
    {
      config: { permission: "partners.change" },
      bodyLimit: bodyLimitBytes,
      schema: {
        tags: ["Tools"],
        summary: "The operations of a WSDL, each as delivery settings to fill in",
        body: wsdlSchema,
        response: { 200: z.object({ operations: z.array(operationAnswer) }), ...problems },
      },
    },
    async (request, reply) => {
      if (underWay >= mostAtOnce) {
        reply.header("retry-after", String(retryAfterSeconds));
        return sendProblem(reply, "rate_limited", {
          detail: `Other WSDLs are being read; try again in ${retryAfterSeconds} s.`,
        });
      }
      const { text, url } = request.body;
      underWay += 1;
      try {
        const { allowHosts } = context.config;
        const read = await readWsdl(text === undefined ? { url: url ?? "" } : { text }, { allowHosts });
        if (read.ok) return { operations: [...read.operations] };
        const field = { field: text === undefined ? "url" : "text", code: "unreadable", message: read.reason };
        return sendProblem(reply, "invalid_body", { fields: [field] });
      } finally {
        underWay -= 1;
      }
    },
  );
}
