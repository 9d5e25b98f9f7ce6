import { z } from "zod";
import type { Context } from "../context.ts";
import { inOrganisation } from "../db/database.ts";
import { type Api, problems } from "../http/api.ts";
import { changeBy } from "../http/change-by.ts";
import { sendProblem } from "../http/send-problem.ts";
import { beginTotp, confirmTotp, renewRecoveryCodes, stopTotp } from "./own-totp.ts";
import { givenPasswordSchema } from "./password-rules.ts";
import { proveIdentity } from "./prove-identity.ts";
import { refuseProof, sendWait } from "./refuse-try.ts";
import { signedInOf } from "./signed-in.ts";

const tags = ["Signing in"];

const codeSchema = z.string().min(1).max(100);
const recoveryAnswer = z.object({
  recoveryCodes: z.array(z.string()).meta({ description: "each signs in once, in place of a code of the app" }),
});

/** One's own authenticator app. Register where `authenticate` guards. */
export function totpRoutes(api: Api, context: Context): void {
  beginRoute(api, context);
  confirmRoute(api, context);
  stopRoutes(api, context);
}

function beginRoute(api: Api, context: Context): void {
  api.post(
    "/session/totp",
    {
      config: { permission: "signed_in" },
      schema: {
        tags,
        summary: "Set up an authenticator app",
        description: "Gives what the app reads, once. It counts when a code of the app confirms it.",
        body: z.strictObject({ password: givenPasswordSchema }),
        response: {
          201: z.object({ secret: z.string(), uri: z.string().meta({ description: "for a QR code" }) }),
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const signedIn = signedInOf(request);
      const proof = await proveIdentity(context, signedIn, { ...request.body, code: null }, false);
      if (proof.kind !== "proven") return refuseProof(reply, proof);
      const totp = await beginTotp(context, signedIn);
      if (totp === null)
        return sendProblem(reply, "totp_state", { detail: "One is set up already: switch it off first." });
      reply.header("cache-control", "no-store");
      return reply.code(201).send(totp);
    },
  );
}

function confirmRoute(api: Api, context: Context): void {
  api.post(
    "/session/totp/confirm",
    {
      config: { permission: "signed_in" },
      schema: {
        tags,
        summary: "Have the authenticator app count from now on",
        description: "Shows ten recovery codes, here and never again.",
        body: z.strictObject({ code: codeSchema }),
        response: { 200: recoveryAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const result = await confirmTotp(context, signedInOf(request), request.body.code);
      switch (result.kind) {
        case "confirmed":
          reply.header("cache-control", "no-store");
          return { recoveryCodes: [...result.recoveryCodes] };
        case "wait":
          return sendWait(reply, result.seconds);
        case "wrong_code":
          return sendProblem(reply, "not_proven");
        case "nothing_to_confirm":
          return sendProblem(reply, "totp_state", { detail: "None is waiting to be confirmed." });
      }
    },
  );
}

function stopRoutes(api: Api, context: Context): void {
  const body = z.strictObject({ password: givenPasswordSchema, code: codeSchema });

  api.post(
    "/session/totp/off",
    {
      config: { permission: "signed_in" },
      schema: {
        tags,
        summary: "Switch your authenticator app off",
        body,
        response: { 204: z.undefined(), ...problems },
      },
    },
    async (request, reply) => {
      const signedIn = signedInOf(request);
      const proof = await proveIdentity(context, signedIn, request.body, true);
      if (proof.kind !== "proven") return refuseProof(reply, proof);
      const isStopped = await inOrganisation(context.database, signedIn.organisationId, async (transaction) =>
        stopTotp(transaction, changeBy(context, request), signedIn.userId),
      );
      return isStopped ? reply.code(204).send() : sendProblem(reply, "totp_state", { detail: "None is set up." });
    },
  );

  api.post(
    "/session/recovery-codes",
    {
      config: { permission: "signed_in" },
      schema: {
        tags,
        summary: "Get new recovery codes",
        description: "Shows ten, here and never again. The old ones are none any more.",
        body,
        response: { 200: recoveryAnswer, ...problems },
      },
    },
    async (request, reply) => {
      const signedIn = signedInOf(request);
      const proof = await proveIdentity(context, signedIn, request.body, true);
      if (proof.kind !== "proven") return refuseProof(reply, proof);
      const recoveryCodes = await renewRecoveryCodes(context, signedIn);
      if (recoveryCodes === null)
        return sendProblem(reply, "totp_state", { detail: "No authenticator app is set up." });
      reply.header("cache-control", "no-store");
      return { recoveryCodes: [...recoveryCodes] };
    },
  );
}
