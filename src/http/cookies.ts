/** The value of a cookie in the header of that name; null where it is not there. */
export function readCookie(header: string | undefined, name: string): string | null {
  const start = `${name}=`;
  const found = (header ?? "")
    .split(";")
    .map((part) => part.trim())
    .find((part) => part.startsWith(start));
  return found === undefined ? null : found.slice(start.length);
}

/**
 * A cookie of this host alone, over TLS, for no script and from no other site. Its name has to begin with `__Host-`: then
 * browsers hold us to that (RFC 6265bis). With zero seconds the browser forgets it.
 */
export function hostCookie(name: `__Host-${string}`, value: string, maxAgeSeconds: number): string {
  return `${name}=${value}; Path=/; Max-Age=${maxAgeSeconds}; Secure; HttpOnly; SameSite=Strict`;
}
