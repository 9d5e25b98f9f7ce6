import helmet from "@fastify/helmet";
import { type FastifyPluginAsync, fastify } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { alertRoutes, smsStatusRoutes } from "./alerts/alert-routes.ts";
import { campaignRoutes } from "./campaigns/campaign-routes.ts";
import { intakeKeyRoutes } from "./campaigns/intake-key-routes.ts";
import { incomingConnectionRoutes } from "./connections/incoming-routes.ts";
import { outgoingConnectionRoutes } from "./connections/outgoing-routes.ts";
import type { Context } from "./context.ts";
import { newId } from "./db/id.ts";
import { deliveryRoutes } from "./delivery/delivery-routes.ts";
import { answerErrors } from "./http/answer-errors.ts";
import type { Api } from "./http/api.ts";
import { authenticate } from "./http/authenticate.ts";
import { documentApi } from "./http/documentation.ts";
import { type HealthOptions, healthRoutes } from "./http/health-routes.ts";
import { logRequests } from "./http/log-requests.ts";
import { createRequestMetrics } from "./http/metrics.ts";
import { refuseOtherMethods } from "./http/refuse-methods.ts";
import { refuseUnstorableText } from "./http/refuse-unstorable-text.ts";
import { sendProblem } from "./http/send-problem.ts";
import { validatorCompiler } from "./http/validate.ts";
import { invoiceRoutes } from "./invoices/invoice-routes.ts";
import { statementRoutes } from "./invoices/statement-routes.ts";
import { billingRoutes } from "./leads/billing-routes.ts";
import { decisionRoutes } from "./leads/decision-routes.ts";
import { intakeRoutes } from "./leads/intake-routes.ts";
import { leadRoutes } from "./leads/lead-routes.ts";
import { returnRoutes } from "./leads/return-routes.ts";
import { reversalRoutes } from "./leads/reversal-routes.ts";
import { workRoutes } from "./leads/work-routes.ts";
import { ledgerRoutes } from "./ledger/ledger-routes.ts";
import { payoutRoutes } from "./ledger/payout-routes.ts";
import { offerPageRoutes } from "./offers/offer-page-routes.ts";
import { offerRoutes } from "./offers/offer-routes.ts";
import { transferCallbackRoutes, transferRoutes } from "./offers/transfer-routes.ts";
import { apiKeyRoutes } from "./organisations/api-key-routes.ts";
import { organisationRoutes } from "./organisations/organisation-routes.ts";
import { partnerRoutes } from "./partners/partner-routes.ts";
import { trialRoutes } from "./partners/trial-routes.ts";
import { wsdlRoutes } from "./partners/wsdl-routes.ts";
import { paymentSettingRoutes } from "./payments/payment-setting-routes.ts";
import { payPalRoutes } from "./payments/paypal-routes.ts";
import { topUpRoutes } from "./payments/top-up-routes.ts";
import { createGuesses } from "./people/guesses.ts";
import { pageRoutes } from "./people/page-routes.ts";
import { sessionRoutes } from "./people/session-routes.ts";
import { signInRoutes } from "./people/sign-in-routes.ts";
import { totpRoutes } from "./people/totp-routes.ts";
import { userRoutes } from "./people/user-routes.ts";
import { portalRoutes } from "./portal/portal-routes.ts";
import { formRoutes } from "./referrals/form-routes.ts";
import { inboundRoutes } from "./referrals/inbound-routes.ts";
import { outboundRoutes } from "./referrals/outbound-routes.ts";
import { referralRoutes } from "./referrals/referral-routes.ts";
import { sentReferralRoutes } from "./referrals/sent-referral-routes.ts";
import { statusCallbackRoutes } from "./referrals/status-callback-routes.ts";
import { referralStatusRoutes } from "./referrals/status-routes.ts";
import { reportRoutes } from "./reports/report-routes.ts";
import { workflowRoutes } from "./workflows/workflow-routes.ts";

/** A campaign with a thousand partners and long lists of postcodes in its filters fits into this. */
const bodyLimitBytes = 4 * 1024 * 1024;

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
    // Whom `request.ip` names: the one who calls, or whom such a proxy says that it calls for.
    trustProxy: [...context.config.trustedProxies],
    frameworkErrors: (_error, _request, reply) =>
      void sendProblem(reply, "route_not_found", { detail: "The address is not well-formed." }),
  }).withTypeProvider<ZodTypeProvider>();
  api.setValidatorCompiler(validatorCompiler);
  // What a handler gives is checked by its types; to check it again would cost each answer, and turn old rows into errors.
  api.setSerializerCompiler(() => (data) => JSON.stringify(data));
  api.decorateRequest("caller", null);
  api.decorateRequest("organisationId", null);

  const metrics = createRequestMetrics(context);
  answerErrors(api, context);
  logRequests(api, context, metrics);
  const isSecure = context.config.publicUrl.startsWith("https:");
  await api.register(helmet, {
    // Other names under the operator's domain are not ours to speak for.
    strictTransportSecurity: isSecure ? { includeSubDomains: false } : false,
    xFrameOptions: { action: "deny" },
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { "default-src": ["'none'"], "frame-ancestors": ["'none'"] },
    },
  });
  await documentApi(api);
  const refuseTheRest = refuseOtherMethods(api);
  refuseUnstorableText(api);
  healthRoutes(api, context, metrics, options);
  const offerPages: FastifyPluginAsync = async (scope) => offerPageRoutes(scope, context);
  await api.register(offerPages);
  const guesses = createGuesses(context);
  const signIn = (v1: Api) => signInRoutes(v1, context, guesses);
  const open = [
    ...[signIn, intakeRoutes, smsStatusRoutes, transferCallbackRoutes, payPalRoutes],
    ...[referralRoutes, formRoutes, statusCallbackRoutes],
  ];
  for (const routes of [guardedRoutes, ...open]) {
    const scope: FastifyPluginAsync = async (v1) => routes(v1, context);
    await api.register(scope, { prefix: "/v1" });
  }
  const pages: FastifyPluginAsync = async (scope) => pageRoutes(scope, context, guesses);
  await api.register(pages);
  refuseTheRest();
  return api;
}

/** Everything that takes an API key or a session. */
function guardedRoutes(v1: Api, context: Context): void {
  authenticate(v1, context);
  organisationRoutes(v1, context);
  apiKeyRoutes(v1, context);
  userRoutes(v1, context);
  sessionRoutes(v1, context);
  totpRoutes(v1, context);
  partnerRoutes(v1, context);
  trialRoutes(v1, context);
  wsdlRoutes(v1, context);
  ledgerRoutes(v1, context);
  payoutRoutes(v1, context);
  statementRoutes(v1, context);
  invoiceRoutes(v1, context);
  topUpRoutes(v1, context);
  paymentSettingRoutes(v1, context);
  campaignRoutes(v1, context);
  intakeKeyRoutes(v1, context);
  leadRoutes(v1, context);
  decisionRoutes(v1, context);
  reversalRoutes(v1, context);
  returnRoutes(v1, context);
  workRoutes(v1, context);
  billingRoutes(v1, context);
  deliveryRoutes(v1, context);
  offerRoutes(v1, context);
  transferRoutes(v1, context);
  outboundRoutes(v1, context);
  sentReferralRoutes(v1, context);
  outgoingConnectionRoutes(v1, context);
  incomingConnectionRoutes(v1, context);
  alertRoutes(v1, context);
  reportRoutes(v1, context);
  workflowRoutes(v1, context);
  inboundRoutes(v1, context);
  referralStatusRoutes(v1, context);
  portalRoutes(v1, context);
}
