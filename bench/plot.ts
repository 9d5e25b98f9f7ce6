/** Plots as SVG text: bars beside or upon each other, and lines over a share from 0 to 1. Pure. */

export interface Bars {
  readonly title: string;
  readonly unit: string;
  /** Upon each other, with their sum above, instead of beside each other. */
  readonly isStacked?: boolean;
  /** By tens instead of evenly, so that 5 and 5,000 can both be read. */
  readonly isLogarithmic?: boolean;
  readonly groups: readonly { readonly name: string; readonly values: Readonly<Record<string, number>> }[];
}

export interface Lines {
  readonly title: string;
  /** What the height means; it grows by tens, so that 5 ms and 500 ms can both be read. */
  readonly unit: string;
  /** What the share is a share of. */
  readonly shareOf: string;
  readonly series: readonly {
    readonly name: string;
    readonly points: readonly (readonly [share: number, value: number])[];
  }[];
}

const height = 400;
const margin = { left: 76, right: 24, top: 76, bottom: 60 };
const innerHeight = height - margin.top - margin.bottom;
const leastWidth = 760;
const groupWidth = { least: 70, perBar: 34 };
const colours = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#97bbf5", "#9c6b4e"];

export function escapeXml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

/** A round number at or above `value`, so that the axis ends on a tick. */
export function niceCeiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 2.5, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

/** A height axis: where a value stands, and the lines across. */
interface Axis {
  at(value: number): number;
  readonly ticks: readonly number[];
}

function evenAxis(highest: number): Axis {
  const top = niceCeiling(highest);
  // So that each tick is a round number too.
  const steps = Math.round((top / 10 ** Math.floor(Math.log10(top))) * 10) === 20 ? 4 : 5;
  return {
    at: (value) => margin.top + innerHeight * (1 - value / top),
    ticks: Array.from({ length: steps + 1 }, (_, place) => (top * place) / steps),
  };
}

function logAxis(values: readonly number[]): Axis {
  const above = values.filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(...above, 10)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...above, 1))));
  const steps = high - low > 3 ? [1] : [1, 2, 5];
  const ticks = Array.from({ length: high - low }, (_, place) =>
    steps.map((step) => step * 10 ** (low + place)),
  ).flat();
  const at = (value: number) =>
    margin.top + innerHeight * (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low));
  return { at, ticks: [...ticks, 10 ** high] };
}

export function drawBars({ title, unit, groups, isStacked = false, isLogarithmic = false }: Bars): string {
  const names = [...new Set(groups.flatMap((group) => Object.keys(group.values)))];
  const heights = groups.flatMap(({ values }) => {
    const all = Object.values(values);
    return isStacked ? [sumOf(all)] : all;
  });
  const axis = isLogarithmic ? logAxis(heights) : evenAxis(Math.max(0, ...heights));
  const bottom = margin.top + innerHeight;
  const columns = isStacked ? 1 : Math.max(1, names.length);
  const needed = groups.length * Math.max(groupWidth.least, columns * groupWidth.perBar);
  const width = Math.max(leastWidth, margin.left + margin.right + needed);
  const eachGroup = (width - margin.left - margin.right) / Math.max(1, groups.length);
  const eachBar = (eachGroup * 0.8) / columns;
  const bars = groups.flatMap(({ values }, place) => {
    const left = margin.left + eachGroup * (place + 0.1);
    let below = 0;
    const rectangles = names.flatMap((name, column) => {
      const value = values[name];
      if (value === undefined) return [];
      const [x, from] = isStacked ? [left, below] : [left + eachBar * column, 0];
      below += value;
      const [top, foot] = [axis.at(from + value), from === 0 ? bottom : axis.at(from)];
      const bar = `<rect x="${round(x)}" y="${round(top)}" width="${round(eachBar * 0.94)}" height="${round(foot - top)}" fill="${colourOf(column)}"/>`;
      return isStacked ? [bar] : [bar, text(x + eachBar * 0.47, top - 4, figure(value), "middle", 11)];
    });
    const sum = text(left + eachBar * 0.47, axis.at(below) - 4, figure(below), "middle", 11);
    return isStacked ? [...rectangles, sum] : rectangles;
  });
  const labels = groups.map(({ name }, place) =>
    words(margin.left + eachGroup * (place + 0.5), bottom + 18, name.split(", ")),
  );
  const content = [...axis.ticks.map((value) => tick(axis.at(value), figure(value), width)), ...bars, ...labels];
  return frame({ title, unit, names, width }, content);
}

/** The share is drawn so that 90 % and 99 % are as far apart as 0 % and 90 %: what is rare is what matters. */
export function drawLines({ title, unit, shareOf, series }: Lines): string {
  const axis = logAxis(series.flatMap(({ points }) => points.map(([, value]) => value)));
  const width = leastWidth;
  const mostShare = 0.995;
  const across = (share: number) => -Math.log10(1 - Math.min(share, mostShare)) / -Math.log10(1 - mostShare);
  const x = (share: number) => margin.left + (width - margin.left - margin.right) * across(share);
  const lines = series.map(({ points }, place) => {
    const path = points.map(([share, value]) => `${round(x(share))},${round(axis.at(value))}`).join(" ");
    return `<polyline points="${path}" fill="none" stroke="${colourOf(place)}" stroke-width="2"/>`;
  });
  const labels = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99].flatMap((share) => [
    `<line x1="${round(x(share))}" x2="${round(x(share))}" y1="${margin.top}" y2="${margin.top + innerHeight}" stroke="#eee"/>`,
    text(x(share), margin.top + innerHeight + 18, `${share * 100} %`, "middle"),
  ]);
  const caption = text(width - margin.right, height - 14, `share of ${shareOf} that took no longer`, "end");
  const names = series.map(({ name }) => name);
  const ticks = axis.ticks.map((value) => tick(axis.at(value), figure(value), width));
  return frame({ title, unit, names, width }, [...ticks, ...labels, ...lines, caption]);
}

const sumOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
const round = (value: number) => Math.round(value * 100) / 100;
const colourOf = (place: number) => colours[place % colours.length];

function figure(value: number): string {
  if (value >= 10) return Math.round(value).toLocaleString("en-GB");
  return String(value >= 1 ? Math.round(value * 10) / 10 : round(value));
}

function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end", size = 12): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" font-size="${size}">${escapeXml(content)}</text>`;
}

/** One line below the other. */
function words(x: number, y: number, lines: readonly string[]): string {
  return lines.map((line, place) => text(x, y + place * 15, line, "middle")).join("");
}

function tick(y: number, label: string, width: number): string {
  const line = `<line x1="${margin.left}" x2="${width - margin.right}" y1="${round(y)}" y2="${round(y)}" stroke="#ddd"/>`;
  return line + text(margin.left - 6, y + 4, label, "end");
}

interface Frame {
  readonly title: string;
  readonly unit: string;
  readonly names: readonly string[];
  readonly width: number;
}

function frame({ title, unit, names, width }: Frame, content: readonly string[]): string {
  let x = margin.left;
  const legend = names.map((name, place) => {
    const at = x;
    x += 32 + name.length * 7;
    return `<rect x="${at}" y="34" width="12" height="12" fill="${colourOf(place)}"/>${text(at + 17, 44, name, "start")}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" fill="#222">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(margin.left, 22, title, "start", 15),
    text(margin.left, margin.top - 8, unit, "end", 11),
    ...legend,
    ...content,
    "</svg>\n",
  ].join("\n");
}
