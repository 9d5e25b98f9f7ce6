/** Keeps the newest values, at most `limit`: a receiver that runs for weeks must not grow. */
export class Newest<T> {
  readonly #limit: number;
  readonly #values: T[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(value: T): void {
    this.#values.push(value);
    // Trimmed in strides: shifting a long array at every addition is slow.
    if (this.#values.length >= this.#limit * 2) {
      this.#values.splice(0, this.#values.length - this.#limit);
    }
  }

  /** Oldest first. */
  list(): readonly T[] {
    return this.#values.slice(-this.#limit);
  }
}
