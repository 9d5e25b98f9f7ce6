import { createHash } from "node:crypto";

/** The few pages that people get without a console: plain HTML with one style and no scripts. */

/** `body` is HTML; `title` is text. */
export function htmlPage(style: string, title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
${body}
</body>
</html>
`;
}

/**
 * What a browser may do with such a page (Content-Security-Policy): nothing is loaded but its own style, nothing runs, its form
 * goes back to where it came from, and only these sites may show it within theirs.
 */
export function htmlPagePolicy(style: string, sites: readonly string[] = []): string {
  return [
    "default-src 'none'",
    `style-src 'sha256-${createHash("sha256").update(style).digest("base64")}'`,
    "form-action 'self'",
    "base-uri 'none'",
    `frame-ancestors ${sites.length === 0 ? "'none'" : sites.join(" ")}`,
  ].join("; ");
}

const references: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text as it may stand in an element or in a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => references[character] ?? "");
}
