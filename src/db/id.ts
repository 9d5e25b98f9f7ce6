import { v7 } from "uuid";

/** A new id. Version 7 (RFC 9562), so that ids sort by the time they were made: lists page by id and indexes stay dense. */
export function newId(): string {
  return v7();
}
