import type { FastifyReply } from "fastify";
import { z } from "zod";
import type { Context } from "../context.ts";
import type { Api } from "../http/api.ts";
import { escapeHtml, htmlPage, htmlPagePolicy } from "../http/html-page.ts";
import type { Guesses } from "./guesses.ts";
import { longestPassword, shortestPassword } from "./password-rules.ts";
import { setPasswordByToken } from "./set-password.ts";
import { type FoundToken, findUserToken, type TokenPurpose } from "./user-tokens.ts";

/** Two passwords and their names, percent-encoded. */
const formLimitBytes = 8 * 1024;

const style =
  "body{font:16px/1.5 sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem;color:#1f2933}" +
  "label{display:block;margin-top:1rem}input{font:inherit;width:100%;padding:.4rem;box-sizing:border-box}" +
  "button{font:inherit;margin-top:1.5rem;padding:.5rem 1.5rem}[role=alert]{color:#b42318}";

const contentSecurityPolicy = htmlPagePolicy(style);

const tokenParams = z.object({ token: z.string().max(200) });
const formSchema = z.object({ password: z.string().max(1000), again: z.string().max(1000) });

/**
 * The pages that mailed links lead to, without scripts, so that a password can be set where there is nothing but a browser.
 * Register in a scope of its own, which takes forms, outside of what `authenticate` guards. Refusals are pages too.
 */
export function pageRoutes(api: Api, context: Context, guesses: Guesses): void {
  api.addContentTypeParser(
    "application/x-www-form-urlencoded",
    { parseAs: "string", bodyLimit: formLimitBytes },
    async (_request: unknown, body: string) => Object.fromEntries(new URLSearchParams(body)),
  );
  setPasswordPage(api, context, guesses, "/invitation/:token", "invitation");
  setPasswordPage(api, context, guesses, "/reset/:token", "password_reset");
}

function setPasswordPage(api: Api, context: Context, guesses: Guesses, url: string, purpose: TokenPurpose): void {
  const schema = { hide: true, params: tokenParams };
  api.get(url, { schema }, async (request, reply) => {
    const refused = guesses.refuse(request, reply);
    if (refused !== null) return refused;
    const found = await findUserToken(context, request.params.token, purpose);
    if (found === null) guesses.note(request, false);
    return found === null ? sendGone(reply) : sendPage(reply, 200, formPage(found, purpose, null));
  });

  api.post(url, { schema }, async (request, reply) => {
    const refused = guesses.refuse(request, reply);
    if (refused !== null) return refused;
    const { token } = request.params;
    const form = formSchema.safeParse(request.body);
    const found = await findUserToken(context, token, purpose);
    if (found === null) guesses.note(request, false);
    if (found === null) return sendGone(reply);
    const { password, again } = form.success ? form.data : { password: "", again: "" };
    if (password !== again) return sendPage(reply, 422, formPage(found, purpose, "The two passwords differ."));
    const result = await setPasswordByToken(context, purpose, token, password);
    switch (result.kind) {
      case "set":
        return sendPage(reply, 200, donePage(found));
      case "token_gone":
        return sendGone(reply);
      case "password_refused":
        return sendPage(reply, 422, formPage(found, purpose, `The password ${result.problem}.`));
    }
  });
}

function sendPage(reply: FastifyReply, status: number, page: string): FastifyReply {
  return reply
    .code(status)
    .header("content-security-policy", contentSecurityPolicy)
    .header("cache-control", "no-store")
    .header("referrer-policy", "no-referrer")
    .type("text/html; charset=utf-8")
    .send(page);
}

function sendGone(reply: FastifyReply): FastifyReply {
  const text = "<p>It was used already, or it is too old. Ask for another one.</p>";
  return sendPage(reply, 410, pageOf("This link is not good any more", text));
}

function formPage({ organisationName, email }: FoundToken, purpose: TokenPurpose, problem: string | null): string {
  const title = purpose === "invitation" ? `Welcome to ${organisationName}` : "Set another password";
  return pageOf(
    title,
    `<p>Choose a password for <strong>${escapeHtml(email)}</strong> at ${escapeHtml(organisationName)}: at least ${shortestPassword}
characters. Several words in a row are good, and easy to remember.</p>
${problem === null ? "" : `<p role="alert">${escapeHtml(problem)}</p>`}
<form method="post">
<input type="hidden" name="username" autocomplete="username" value="${escapeHtml(email)}">
<label>Password <input type="password" name="password" autocomplete="new-password" required minlength="${shortestPassword}" maxlength="${longestPassword}"></label>
<label>The same again <input type="password" name="again" autocomplete="new-password" required minlength="${shortestPassword}" maxlength="${longestPassword}"></label>
<button>Set the password</button>
</form>`,
  );
}

function donePage({ email, organisationName }: FoundToken): string {
  const text = `<p>You can now sign in as <strong>${escapeHtml(email)}</strong> at ${escapeHtml(organisationName)}.</p>`;
  return pageOf("Your password is set", text);
}

/** `body` is HTML; `title` is text. */
function pageOf(title: string, body: string): string {
  return htmlPage(style, title, body);
}
