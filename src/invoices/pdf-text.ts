import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { create, type Font } from "fontkit";

/** What text in a PDF is set in: fonts that have its characters, and the direction in which it runs. */

/** The fonts of one weight; the first one that has a character shows it. */
export interface FontSet {
  readonly fonts: readonly { readonly name: string; readonly data: Buffer; readonly font: Font }[];
}

export interface Fonts {
  readonly regular: FontSet;
  readonly bold: FontSet;
}

const require = createRequire(import.meta.url);

/**
 * DejaVu Sans, which has Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew and Arabic letters, and after it the fonts
 * that the operator put into `folder`, in the order of their names, for all else.
 */
export async function loadFonts(folder: string): Promise<Fonts> {
  const names = await readdir(folder).catch(() => []);
  const own = names.filter((name) => /\.(ttf|otf)$/i.test(name)).sort();
  const others = await Promise.all(own.map(async (name) => openFont(name, await readFile(join(folder, name)))));
  const withOthers = (name: string): FontSet => ({ fonts: [ownFont(name), ...others.flat()] });
  return { regular: withOthers("DejaVuSans"), bold: withOthers("DejaVuSans-Bold") };
}

const remembered = new Map<string, FontSet["fonts"][number]>();

function ownFont(name: string): FontSet["fonts"][number] {
  const known = remembered.get(name);
  if (known !== undefined) return known;
  const [opened] = openFont(name, readFileSync(require.resolve(`dejavu-fonts-ttf/ttf/${name}.ttf`)));
  if (opened === undefined) throw new Error(`${name} of dejavu-fonts-ttf cannot be read.`);
  remembered.set(name, opened);
  return opened;
}

/** None where the file holds no single font. */
function openFont(name: string, data: Buffer): FontSet["fonts"] {
  try {
    const font = create(data);
    return "hasGlyphForCodePoint" in font ? [{ name, data, font }] : [];
  } catch {
    return [];
  }
}

/** A part of a line that one font shows, from left to right or from right to left as a whole. */
export interface Run {
  readonly text: string;
  readonly font: string;
  readonly isRightToLeft: boolean;
}

const rightToLeft = /\p{Script=Hebrew}|\p{Script=Arabic}|\p{Script=Syriac}|\p{Script=Thaana}|\p{Script=Nko}/u;
/** What goes on in the direction of what is before and after it. Digits do not: they run from left to right everywhere. */
const neutral = /[\s\p{P}\p{Mn}]/u;

/**
 * Cuts a line into runs. What no font has is left to the first, which shows a box. Right-to-left words next to each other
 * make one run, so that they are read in their order.
 */
export function cutIntoRuns(text: string, { fonts }: FontSet): readonly Run[] {
  const characters = [...text.normalize("NFC")];
  const directions = directionsOf(characters);
  const runs: { text: string; font: string; isRightToLeft: boolean }[] = [];
  characters.forEach((character, index) => {
    const codePoint = character.codePointAt(0) ?? 0;
    const isRightToLeft = directions[index] === true;
    const last = runs.at(-1);
    const has = (name: string) => fonts.find((one) => one.name === name)?.font.hasGlyphForCodePoint(codePoint) === true;
    // What goes before decides for what every font has, such as blanks: fewer runs.
    const found =
      last !== undefined && has(last.font)
        ? last.font
        : (fonts.find(({ name }) => has(name))?.name ?? fonts[0]?.name ?? "");
    if (last !== undefined && last.font === found && last.isRightToLeft === isRightToLeft) last.text += character;
    else runs.push({ text: character, font: found, isRightToLeft });
  });
  return runs;
}

/** Whether each character belongs to a stretch that runs from right to left. */
function directionsOf(characters: readonly string[]): readonly boolean[] {
  const strong = characters.map((character) =>
    rightToLeft.test(character) ? true : neutral.test(character) ? null : false,
  );
  return strong.map((direction, index) => {
    if (direction !== null) return direction;
    const before = strong.slice(0, index).findLast((other) => other !== null) ?? false;
    const after = strong.slice(index + 1).find((other) => other !== null) ?? false;
    return before && after;
  });
}
