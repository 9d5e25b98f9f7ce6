import type { Authentication, SendContext } from "./contract.ts";
import type { Failure } from "./http-exchange.ts";
import { failure } from "./http-exchange.ts";
import type { Token } from "./oauth2-token.ts";
import { accessToken } from "./oauth2-token.ts";
import { signWebhook } from "./sign-webhook.ts";
import { addUsernameToken } from "./username-token.ts";

/** What a request needs besides itself to be let in. */
export interface Credentials {
  readonly kind: "credentials";
  /** Take the place of headers of the same name. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The body to send, which WS-Security changes. */
  readonly body: string;
  /** The OAuth 2 token in use; null for the other kinds. */
  readonly token: Token | null;
}

/**
 * Takes the kind of authentication and the rendered body; gives the headers and the body that carry it. Fails with
 * `authentication` where the settings or the token server do not allow it; nothing has been sent to the partner then.
 */
export async function authenticate(
  authentication: Authentication,
  body: string,
  context: SendContext,
  timeoutMs: number,
): Promise<Credentials | Failure> {
  switch (authentication.type) {
    case "none":
      return credentials(body);
    case "basic":
      return basic(authentication.username, authentication.password, body);
    case "bearer":
      return credentials(body, [["authorization", `Bearer ${authentication.token}`]]);
    case "apiKey":
      return credentials(body, [[authentication.header, authentication.value]]);
    case "oauth2": {
      const token = await inTime(accessToken(authentication, context), timeoutMs);
      if (token.kind === "failure") return token;
      return { ...credentials(body, [["authorization", `Bearer ${token.accessToken}`]]), token };
    }
    case "usernameToken": {
      const secured = addUsernameToken(body, authentication, context.now());
      return secured.ok ? credentials(secured.envelope) : failure("authentication", secured.detail);
    }
    case "standardWebhooks": {
      const message = { id: context.idempotencyKey, sentAt: context.now(), body };
      return credentials(body, signWebhook(authentication.secret, message));
    }
  }
}

function credentials(body: string, headers: Credentials["headers"] = []): Credentials {
  return { kind: "credentials", headers, body, token: null };
}

function basic(username: string, password: string, body: string): Credentials | Failure {
  // RFC 7617 section 2: the first colon ends the user name.
  if (username.includes(":")) return failure("authentication", "A user name for basic authentication has no colon.");
  const encoded = Buffer.from(`${username}:${password}`, "utf8").toString("base64");
  return credentials(body, [["authorization", `Basic ${encoded}`]]);
}

/** The fetch goes on for whoever else waits for the same token. */
async function inTime(token: Promise<Token | Failure>, timeoutMs: number): Promise<Token | Failure> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Failure>((resolve) => {
    const detail = "The token address did not answer in time.";
    timer = setTimeout(() => resolve(failure("timeout", detail)), Math.max(0, timeoutMs));
  });
  return Promise.race([token, late]).finally(() => clearTimeout(timer));
}
