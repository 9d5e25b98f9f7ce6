/** What trying to send an alert came to. `code` may be logged; `reason` is for the organisation's eyes and may name people. */
export type AlertOutcome =
  | { readonly kind: "sent"; readonly code: null; readonly providerId: string | null; readonly segments: number | null }
  | { readonly kind: "retry" | "failed"; readonly code: string; readonly reason: string };

export function retryLater(code: string, reason: string): AlertOutcome {
  return { kind: "retry", code, reason };
}

export function failForGood(code: string, reason: string): AlertOutcome {
  return { kind: "failed", code, reason };
}
