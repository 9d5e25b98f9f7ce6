/** Plots as SVG text: bars beside each other, and lines over a share from 0 to 1. Pure. */

export interface Bars {
  readonly title: string;
  readonly unit: string;
  readonly groups: readonly { readonly name: string; readonly values: Readonly<Record<string, number>> }[];
}

export interface Lines {
  readonly title: string;
  /** What the height means; it grows by tens, so that 5 ms and 500 ms can both be read. */
  readonly unit: string;
  readonly series: readonly {
    readonly name: string;
    readonly points: readonly (readonly [share: number, value: number])[];
  }[];
}

const width = 720;
const height = 360;
const margin = { left: 64, right: 16, top: 64, bottom: 56 };
const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
const colours = ["#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2"];

export function escapeXml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

/** A round number at or above `value`, so that the axis ends on a tick. */
export function niceCeiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 2.5, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

export function drawBars({ title, unit, groups }: Bars): string {
  const names = [...new Set(groups.flatMap((group) => Object.keys(group.values)))];
  const top = niceCeiling(Math.max(0, ...groups.flatMap((group) => Object.values(group.values))));
  const y = (value: number) => margin.top + inner.height * (1 - value / top);
  const groupWidth = inner.width / Math.max(1, groups.length);
  const barWidth = (groupWidth * 0.8) / Math.max(1, names.length);
  const bars = groups.flatMap((group, place) =>
    names.flatMap((name, column) => {
      const value = group.values[name];
      if (value === undefined) return [];
      const x = margin.left + groupWidth * (place + 0.1) + barWidth * column;
      const label = value >= 10 ? Math.round(value) : value.toFixed(2);
      return [
        `<rect x="${round(x)}" y="${round(y(value))}" width="${round(barWidth * 0.92)}" height="${round(y(0) - y(value))}" fill="${colours[column % colours.length]}"/>`,
        text(x + barWidth / 2, y(value) - 4, String(label), "middle", 11),
      ];
    }),
  );
  const labels = groups.map((group, place) =>
    text(margin.left + groupWidth * (place + 0.5), height - margin.bottom + 20, group.name, "middle"),
  );
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => tick(y(top * share), String(round(top * share))));
  return frame(title, unit, names, [...ticks, ...bars, ...labels]);
}

export function drawLines({ title, unit, series }: Lines): string {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value)).filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.max(0.1, Math.min(...values, 10))));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values, 1))));
  const y = (value: number) =>
    margin.top + inner.height * (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low));
  const x = (share: number) => margin.left + inner.width * share;
  const lines = series.map(({ points }, place) => {
    const path = points.map(([share, value]) => `${round(x(share))},${round(y(value))}`).join(" ");
    return `<polyline points="${path}" fill="none" stroke="${colours[place % colours.length]}" stroke-width="2"/>`;
  });
  const ticks = Array.from({ length: high - low + 1 }, (_, place) =>
    tick(y(10 ** (low + place)), String(10 ** (low + place))),
  );
  const labels = [0, 0.25, 0.5, 0.75, 0.99].map((share) =>
    text(x(share), height - margin.bottom + 20, `${share * 100} %`, "middle"),
  );
  return frame(
    title,
    unit,
    series.map(({ name }) => name),
    [...ticks, ...lines, ...labels],
  );
}

const round = (value: number) => Math.round(value * 100) / 100;

function text(x: number, y: number, words: string, anchor: "start" | "middle" | "end", size = 12): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" font-size="${size}">${escapeXml(words)}</text>`;
}

function tick(y: number, label: string): string {
  const line = `<line x1="${margin.left}" x2="${width - margin.right}" y1="${round(y)}" y2="${round(y)}" stroke="#ddd"/>`;
  return line + text(margin.left - 6, y + 4, label, "end");
}

function frame(title: string, unit: string, names: readonly string[], content: readonly string[]): string {
  let x = margin.left;
  const legend = names.map((name, place) => {
    const at = x;
    x += 28 + name.length * 7;
    return `<rect x="${at}" y="36" width="12" height="12" fill="${colours[place % colours.length]}"/>${text(at + 17, 46, name, "start")}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" fill="#222">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(margin.left, 22, `${title} (${unit})`, "start", 15),
    ...legend,
    ...content,
    "</svg>\n",
  ].join("\n");
}
