import { pipeline } from "node:stream/promises";
import { constants, createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from "node:zlib";
import iconv from "iconv-lite";

/** From the bytes of an answer to its text: decompressed, decoded, and no more of it than is kept. */

export interface AnswerBytes {
  readonly bytes: Buffer;
  /** The answer was longer than these bytes. */
  readonly cut: boolean;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** How much is kept, both of the decompressed bytes and of the text as UTF-8. */
  readonly maxBytes: number;
}

export interface AnswerText {
  readonly body: string;
  readonly truncated: boolean;
  /** Why the text cannot be relied on; null where it can. */
  readonly unreadable: string | null;
}

/** Gives the text; where it cannot be decompressed or decoded, says why in `unreadable` and gives what can be shown. */
export async function readAnswer(answer: AnswerBytes): Promise<AnswerText> {
  const unpacked = await decompress(answer);
  if (!unpacked.ok) return { body: "", truncated: answer.cut, unreadable: unpacked.reason };
  const { text, unreadable } = decode(unpacked.bytes, unpacked.cut, answer.headers["content-type"] ?? "");
  const kept = keepBytes(text, answer.maxBytes);
  return { body: kept, truncated: unpacked.cut || kept.length < text.length, unreadable };
}

type Unpacked =
  | { readonly ok: true; readonly bytes: Buffer; readonly cut: boolean }
  | { readonly ok: false; readonly reason: string };

/** More layers than a sane server applies; each could be a bomb inside a bomb. */
const maxEncodings = 2;

async function decompress(answer: AnswerBytes): Promise<Unpacked> {
  const named = (answer.headers["content-encoding"] ?? "").toLowerCase().split(",");
  const encodings = named.map((name) => name.trim()).filter((name) => name !== "" && name !== "identity");
  if (encodings.length > maxEncodings) return { ok: false, reason: "The answer is compressed too many times over." };
  let unpacked: Unpacked = { ok: true, bytes: answer.bytes, cut: answer.cut };
  // Listed in the order in which they were applied (RFC 9110 section 8.4).
  for (const encoding of encodings.reverse()) {
    // A HEAD, 204 or 304 answer names an encoding and has no body.
    if (!unpacked.ok || unpacked.bytes.length === 0) return unpacked;
    unpacked = await unpack(unpacked.bytes, encoding, unpacked.cut, answer.maxBytes);
  }
  return unpacked;
}

async function unpack(bytes: Buffer, encoding: string, cut: boolean, maxBytes: number): Promise<Unpacked> {
  const stream = decompressor(encoding, bytes, cut);
  if (stream === null) return { ok: false, reason: `The answer is compressed in a way we do not know (${encoding}).` };
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    await pipeline([bytes], stream, async (output: AsyncIterable<Buffer>) => {
      for await (const chunk of output) {
        chunks.push(chunk);
        size += chunk.length;
        // Leaving the loop destroys the stream: what a bomb would still unpack to is never made.
        if (size > maxBytes) return;
      }
    });
  } catch {
    if (size <= maxBytes) return { ok: false, reason: `The answer is not valid ${encoding}.` };
  }
  return { ok: true, bytes: Buffer.concat(chunks).subarray(0, maxBytes), cut: cut || size > maxBytes };
}

function decompressor(encoding: string, bytes: Buffer, cut: boolean) {
  // Where we stopped reading ourselves, the missing end is not the sender's mistake.
  const zlib = { finishFlush: cut ? constants.Z_SYNC_FLUSH : constants.Z_FINISH };
  if (encoding === "gzip" || encoding === "x-gzip") return createGunzip(zlib);
  if (encoding === "br") {
    return createBrotliDecompress({
      finishFlush: cut ? constants.BROTLI_OPERATION_FLUSH : constants.BROTLI_OPERATION_FINISH,
    });
  }
  // "deflate" means zlib, but some servers send it bare; a zlib stream begins with compression method 8.
  if (encoding === "deflate") return ((bytes[0] ?? 0) & 0x0f) === 8 ? createInflate(zlib) : createInflateRaw(zlib);
  return null;
}

interface Decoded {
  readonly text: string;
  readonly unreadable: string | null;
}

function decode(bytes: Buffer, cut: boolean, contentType: string): Decoded {
  const charset = charsetOf(bytes, contentType);
  if (charset === "utf-8" || charset === "utf-16le" || charset === "utf-16be") {
    return decodeUnicode(bytes, charset, cut);
  }
  if (!iconv.encodingExists(charset)) {
    return { text: bytes.toString("utf8"), unreadable: `The answer's character set is not known (${charset}).` };
  }
  const text = iconv.decode(bytes, charset);
  return { text, unreadable: !cut && text.includes("\ufffd") ? `The answer is not valid ${charset}.` : null };
}

function decodeUnicode(bytes: Buffer, charset: string, cut: boolean): Decoded {
  try {
    // As a stream, a character that was cut in two at the end is left out rather than taken for a mistake.
    return { text: new TextDecoder(charset, { fatal: true }).decode(bytes, { stream: cut }), unreadable: null };
  } catch {
    return { text: new TextDecoder(charset).decode(bytes), unreadable: `The answer is not valid ${charset}.` };
  }
}

/** What servers say and what they mean (WHATWG Encoding standard): ISO 8859-1 is sent as Windows-1252. */
const aliases: Readonly<Record<string, string>> = {
  utf8: "utf-8",
  "utf-16": "utf-16le",
  "us-ascii": "windows-1252",
  ascii: "windows-1252",
  latin1: "windows-1252",
  "iso-8859-1": "windows-1252",
  "iso8859-1": "windows-1252",
};

/** A byte order mark decides, then Content-Type, then the XML declaration (RFC 7303 section 3), then UTF-8. */
function charsetOf(bytes: Buffer, contentType: string): string {
  const mark = bytes.subarray(0, 3).toString("hex");
  if (mark === "efbbbf") return "utf-8";
  if (mark.startsWith("fffe")) return "utf-16le";
  if (mark.startsWith("feff")) return "utf-16be";
  const declared = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(contentType)?.[1];
  const start = bytes.subarray(0, 200).toString("latin1");
  // UTF-16 without a mark: the declaration itself is in it.
  if (start.startsWith("<\0?\0")) return "utf-16le";
  if (start.startsWith("\0<\0?")) return "utf-16be";
  const inProlog = /^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([^"']+)["']/i.exec(start)?.[1];
  // A declaration that can be read byte by byte is not UTF-16, whatever it says (.NET writes this into UTF-8).
  const prolog = inProlog?.toLowerCase().startsWith("utf-16") ? "utf-8" : inProlog;
  const named = (declared ?? prolog ?? "utf-8").toLowerCase();
  return aliases[named] ?? named;
}

/** The beginning of a text, as much as fits into so many bytes of UTF-8, never half a character. */
function keepBytes(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text;
  const bytes = Buffer.from(text).subarray(0, maxBytes);
  return new TextDecoder("utf-8").decode(bytes, { stream: true });
}
