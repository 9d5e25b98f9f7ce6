import helmet from "@fastify/helmet";
import { fastify } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Context } from "./context.ts";
import { newId } from "./db/id.ts";
import { answerErrors } from "./http/answer-errors.ts";
import type { Api } from "./http/api.ts";
import { authenticate } from "./http/authenticate.ts";
import { documentApi } from "./http/documentation.ts";
import { type HealthOptions, healthRoutes } from "./http/health-routes.ts";
import { logRequests } from "./http/log-requests.ts";
import { createRequestMetrics } from "./http/metrics.ts";
import { refuseOtherMethods } from "./http/refuse-methods.ts";
import { refuseUnstorableText } from "./http/refuse-unstorable-text.ts";
import { validatorCompiler } from "./http/validate.ts";
import { ledgerRoutes } from "./ledger/ledger-routes.ts";
import { organisationRoutes } from "./organisations/organisation-routes.ts";
import { partnerRoutes } from "./partners/partner-routes.ts";

/** A settings document with hundreds of partners in its routing fits into this. */
const bodyLimitBytes = 1024 * 1024;

/** A request that has not come in whole by then is dropped. */
const requestTimeoutMs = 60_000;

/** A process refuses to start while migrations are pending. */
const alreadyMigrated: HealthOptions = { pendingMigrations: async () => [] };

/** Builds the HTTP application; listening is the caller's. Close it before the context. */
export async function buildApp(context: Context, options: HealthOptions = alreadyMigrated): Promise<Api> {
  const api: Api = fastify({
    // The log line of a request is ours: Fastify's own has the whole address in it.
    logger: false,
    genReqId: () => newId(),
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: "idle",
  }).withTypeProvider<ZodTypeProvider>();
  api.setValidatorCompiler(validatorCompiler);
  // What a handler gives is checked by its types; to check it again would cost each answer, and turn old rows into errors.
  api.setSerializerCompiler(() => (data) => JSON.stringify(data));
  api.decorateRequest("caller", null);

  const metrics = createRequestMetrics(context);
  answerErrors(api, context);
  logRequests(api, context, metrics);
  await api.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { "default-src": ["'none'"], "frame-ancestors": ["'none'"] },
    },
  });
  await documentApi(api, context);
  const refuseTheRest = refuseOtherMethods(api);
  refuseUnstorableText(api);
  healthRoutes(api, context, metrics, options);
  await api.register(
    async (v1: Api) => {
      authenticate(v1, context);
      organisationRoutes(v1, context);
      partnerRoutes(v1, context);
      ledgerRoutes(v1, context);
    },
    { prefix: "/v1" },
  );
  refuseTheRest();
  return api;
}
